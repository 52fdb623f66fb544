//! `POST …/v1/analytics/event`: bytes of an app → an entry on disk, or a reason why not.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use shared::event::{Event, Rejection};

use super::problem::Error;
use crate::proxy::Proxy;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes one event from an app. The answer says that it is stored, not that the vendor has it, and it is the same if the
/// operator's policy lets nothing out of it.
pub(super) async fn post_event(
    State(proxy): State<Proxy>,
    ValidEvent(event): ValidEvent,
) -> Result<StatusCode, Error> {
    proxy.take(event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A body that is an event.
pub(super) struct ValidEvent(Event);

impl<S: Send + Sync> FromRequest<S> for ValidEvent {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            return Err(Error::NotJson);
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let bytes = body.map_err(|_| Error::TooSlow)?.map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Rejection::TooLarge.into()
            }
            _ => Error::CutOff,
        })?;
        Ok(Self(Event::from_json(&bytes)?))
    }
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split_once(';').map_or(declared, |(essence, _)| essence).trim();
    essence.eq_ignore_ascii_case("application/json")
}
