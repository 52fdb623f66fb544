//! Whether the service lives, and whether it can do its work.

use axum::extract::State;
use axum::http::StatusCode;

use super::{Error, Services};

/// `GET /healthz`: the process answers.
pub(super) async fn get_health() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /readyz`: the database answers too.
pub(super) async fn get_readiness(State(services): State<Services>) -> Result<StatusCode, Error> {
    services.database.ping().await?;
    Ok(StatusCode::NO_CONTENT)
}
