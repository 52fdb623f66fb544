//! `POST …/v1/analytics/event`: bytes of an app → an entry on disk, or a reason why not.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use shared::event::{Event, MAX_EVENT_BYTES, Rejection};

use super::problem::Error;
use crate::app::App;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes one event from an app. The answer says that it is safe, not that the vendor has it, and it is the same
/// if the operator's policy lets nothing out of it.
pub(super) async fn post_event(
    State(app): State<App>,
    ValidEvent(event): ValidEvent,
) -> Result<StatusCode, Error> {
    app.take(event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A body that is an event.
pub(super) struct ValidEvent(Event);

impl<S: Sync> FromRequest<S> for ValidEvent {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::NotJson);
        }
        let bytes = tokio::time::timeout(PATIENCE, read(request.into_body())).await;
        Ok(Self(Event::from_json(&bytes.map_err(|_| Error::TooSlow)??)?))
    }
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split_once(';').map_or(declared, |(essence, _)| essence).trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The whole body, if it is not longer than an event.
async fn read(body: Body) -> Result<Vec<u8>, Error> {
    use hyper::body::Body as _;

    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame.map_err(|_| Error::CutOff)?.into_data() {
            if bytes.len() + data.len() > MAX_EVENT_BYTES {
                return Err(Rejection::TooLarge.into());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
