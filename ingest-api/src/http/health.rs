//! Whether the service lives, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{Error, Services};
use crate::open_windows::OpenWindows;

/// `GET /healthz`: the process answers.
pub(super) async fn get_health() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// How long an answer about readiness stands: it costs some queries, and anybody may ask.
const STANDS: Duration = Duration::from_secs(1);

/// When it was looked, and what is wrong.
type Found = (Timestamp, Result<(), String>);

/// What was found last. Whoever asks while it is being found out waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<Found>>>);

/// `GET /readyz`: the database answers, and the keys of the open windows are here; or were, less than a second ago.
pub(super) async fn get_readiness(State(services): State<Arc<Services>>) -> Result<StatusCode, Error> {
    let mut last = services.readiness.0.lock().await;
    let now = services.clock.now();
    let stands = |then: Timestamp| Duration::try_from(now.duration_since(then)).is_ok_and(|age| age < STANDS);
    let found = match last.take() {
        Some((then, found)) if stands(then) => (then, found),
        _ => {
            let found = OpenWindows::check(&services.keys, &services.database, now).await;
            (now, found.map_err(|error| error.to_string()))
        }
    };
    let (_, found) = last.insert(found);
    found.clone().map(|()| StatusCode::NO_CONTENT).map_err(Error::Fault)
}
