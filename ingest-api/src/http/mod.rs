//! The routes of the service, and the limits in front of all of them.

mod blocking;
mod conditional;
mod health;
mod insights;
mod login;
mod login_throttle;
mod openapi;
mod page_cache;
mod pages;
mod problem;
mod query;
mod reader;
mod readiness;
mod render_queue;
mod reports;
mod services;
mod session_cookie;
mod source;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, header};
use axum::routing::{get, post};
use shared::event::MAX_EVENT_BYTES;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

use crate::metrics::Metrics;

pub use login::login_path;
pub(crate) use login_throttle::LoginThrottle;
pub(crate) use page_cache::PageCache;
pub(crate) use readiness::Readiness;
pub(crate) use render_queue::RenderQueue;
pub(crate) use services::Services;

/// The longest batch, in bytes after inflation.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How many batches are read at a time. Times the bound above, this is the memory that senders can make us
/// use.
pub(crate) const MAX_BATCHES: usize = 32;
/// How long a request may take to arrive and be answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Every route except the metrics.
pub(crate) fn router(services: Arc<Services>, base_path: &str) -> Router {
    // A browser app without a Pod reports from a page of another origin.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::POST])
        .allow_headers([header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_secs(86_400));
    // One layer of many parts, because axum allocates for each layer and request.
    let around = |max_bytes: usize| {
        ServiceBuilder::new()
            .layer(cors.clone())
            .map_response(problem::log_fault)
            .layer(CatchPanicLayer::custom(problem::panicked))
            .layer(HandleErrorLayer::new(problem::timed_out))
            .timeout(REQUEST_TIMEOUT)
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .layer(DefaultBodyLimit::max(max_bytes))
    };
    // The fallbacks come before the layers, so that they see preflight requests too.
    let event = post(reports::post_event).fallback(problem::method_not_allowed);
    let events = post(reports::post_events).fallback(problem::method_not_allowed);
    let intake = Router::new()
        .route(
            &format!("{base_path}/v1/analytics/event"),
            event.layer::<_, Infallible>(around(MAX_EVENT_BYTES)),
        )
        .route(
            &format!("{base_path}/v1/analytics/events"),
            events.layer::<_, Infallible>(around(MAX_BATCH_BYTES)),
        );
    let reading = Router::new()
        .route("/", get(pages::get_overview))
        .route("/insights/{insight}", get(pages::get_insight_page))
        .route("/methodology", get(pages::get_methodology))
        .route("/assets/{file}", get(pages::get_asset))
        .route(
            "/login",
            get(login::get_login)
                .post(login::post_login)
                .layer::<_, Infallible>(DefaultBodyLimit::max(login::MAX_FORM_BYTES)),
        )
        .route("/logout", post(login::post_logout))
        .route("/v1/insights", get(insights::list_insights))
        .route("/v1/insights/{insight}", get(insights::get_insight))
        .route("/openapi.json", get(openapi::get_openapi))
        .route("/healthz", get(health::get_health))
        .route("/readyz", get(health::get_readiness))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found);
    let reading = reading
        .layer(
            ServiceBuilder::new()
                .layer(axum::middleware::from_fn(problem::log_faults))
                .layer(CatchPanicLayer::custom(problem::panicked))
                .layer(HandleErrorLayer::new(problem::timed_out))
                .timeout(REQUEST_TIMEOUT),
        )
        .layer(axum::middleware::from_fn(pages::show_problems))
        .layer(axum::middleware::map_response(harden));
    intake.merge(reading).with_state(services)
}

/// The route of the metrics, which have a listener of their own.
pub(crate) fn metrics_router(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(move || async move { metrics.render() }))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
}

/// Headers for browsers: they guess no type, allow no frame, tell other sites nothing and send forms only to
/// us.
async fn harden(mut response: axum::response::Response) -> axum::response::Response {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: browsers would then hide from us which site sent a form.
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            // No script and no inline style. Style sheet and pictures come from here.
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(axum::http::HeaderValue::from_static(value));
    }
    response
}
