//! The routes. There are no others: this is not a relay.

mod event;
mod health;
mod policy;
mod problem;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, Method};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use shared::event::MAX_EVENT_BYTES;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};

use self::problem::Error;
use crate::proxy::Proxy;

/// How long a browser may cache the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7_200);

/// What apps reach.
pub(crate) fn router(proxy: Proxy, base_path: &str) -> Router {
    // Apps run in browsers too, on origins that the Pod does not know. No answer depends on who asks.
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
        .layer(DefaultBodyLimit::max(MAX_EVENT_BYTES))
        .layer(CatchPanicLayer::custom(|_| Error::Panicked.into_response()))
        .layer(middleware::from_fn_with_state(proxy.clone(), problem::count_problems))
        .layer(cors)
        .with_state(proxy)
}

/// What the operator's monitoring reaches.
pub(crate) fn metrics_router(proxy: Proxy) -> Router {
    Router::new()
        .route("/metrics", get(get_metrics))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .fallback(async || Error::NotFound)
        .with_state(proxy)
}

async fn get_metrics(State(proxy): State<Proxy>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], proxy.render_metrics())
}
