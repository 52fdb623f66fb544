//! Whether the service lives, and whether it can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::problem::Error;
use super::services::Services;

/// `GET /healthz`: the process answers.
pub(super) async fn get_health() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /readyz`: the database answers, and the keys of the open windows are here. The result may be a second
/// old.
pub(super) async fn get_readiness(State(services): State<Arc<Services>>) -> Result<StatusCode, Error> {
    let Services { readiness, keys, database, clock, .. } = &*services;
    readiness.check(keys, database, clock.now()).await.map_err(Error::Fault)?;
    Ok(StatusCode::NO_CONTENT)
}
