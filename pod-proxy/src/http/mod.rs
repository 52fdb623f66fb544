//! The routes. What is not here is not there: this is no relay.

mod event;
mod health;
mod policy;
pub(crate) mod problem;
pub(crate) mod server;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};

use self::problem::Error;
use crate::app::App;

/// How long a browser may remember what it may send.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7_200);

/// What apps reach.
pub(crate) fn router(app: App, base_path: &str) -> Router {
    // Apps run in browsers too, on origins that the Pod does not know. Nothing here depends on who asks.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([CONTENT_TYPE])
        .max_age(PREFLIGHT_AGE);
    Router::new()
        .route(&format!("{base_path}/v1/analytics/event"), post(event::post_event))
        .route(&format!("{base_path}/v1/analytics/policy"), get(policy::get_policy))
        .route("/healthz", get(health::get_health))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .fallback(async || Error::NotFound)
        .layer(CatchPanicLayer::custom(|_| Error::Panicked.into_response()))
        .layer(middleware::from_fn_with_state(app.clone(), problem::count_problems))
        .layer(cors)
        .with_state(app)
}

/// What whoever watches the proxy reaches.
pub(crate) fn metrics_router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(get_metrics))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .fallback(async || Error::NotFound)
        .with_state(app)
}

/// The counters in the text format of Prometheus.
async fn get_metrics(State(app): State<App>) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let (held, bounds, metrics) = (app.held(), app.live().config.quota, app.metrics());
    for (gauge, value) in [
        (&metrics.spool_entries, held.entries),
        (&metrics.spool_bytes, held.bytes),
        (&metrics.spool_max_entries, bounds.max_entries),
        (&metrics.spool_max_bytes, bounds.max_bytes),
    ] {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
