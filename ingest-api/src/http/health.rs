//! Whether the service lives, and whether it can do its work.

use axum::extract::State;
use axum::http::StatusCode;

use super::{Error, Services};
use crate::open_windows::OpenWindows;

/// `GET /healthz`: the process answers.
pub(super) async fn get_health() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /readyz`: the database answers, and the keys of the open windows are here.
pub(super) async fn get_readiness(State(services): State<Services>) -> Result<StatusCode, Error> {
    OpenWindows::check(&services.keys, &services.database, services.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
