//! The bare server: parses posted events with axum's JSON extractor on the default runtime, and stores
//! nothing.

use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// An event, declared as simply as possible.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, and thrown away")]
struct Event {
    name: Option<String>,
    proxied: Option<bool>,
    origin: Origin,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, and thrown away")]
struct Origin {
    app: Option<App>,
    pod: Pod,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, and thrown away")]
struct App {
    name: Option<String>,
    version: Option<String>,
    platform: Option<String>,
    user_preferred_locales: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "parsed, and thrown away")]
struct Pod {
    domain_hash: String,
    user_hash: Option<String>,
}

#[derive(Debug, Serialize)]
struct BatchAnswer {
    accepted: usize,
}

/// Serves until the process is ended.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let one = async |Json(_): Json<Event>| StatusCode::NO_CONTENT;
    let many = async |Json(events): Json<Vec<Event>>| Json(BatchAnswer { accepted: events.len() });
    let router = Router::new()
        .route("/_api/cloud/v1/analytics/event", post(one))
        .route("/_api/cloud/v1/analytics/events", post(many))
        .layer(DefaultBodyLimit::max(2 * 1024 * 1024));
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        anyhow::Ok(axum::serve(listener, router).await?)
    })
}
