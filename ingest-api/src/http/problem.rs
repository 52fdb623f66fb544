//! Errors → `application/problem+json` (RFC 9457). The one place that does it.

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::problem::{Problem, ProblemType};

use super::login;
use crate::intake::{Rejection, WriteError};
use crate::open_windows::WindowError;
use crate::store::StoreError;

/// What a sender is told to wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Everything that a handler can fail with.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request is wrong; the sender is told how.
    Problem(Problem),
    /// Something of ours failed; the cause is logged, and not told.
    Fault(String),
    /// Reports could not be written.
    Write(WriteError),
    /// Too many wait for answers already.
    Busy,
    /// A browser is to log in first, and then to come back to this path.
    LogIn(String),
    /// Too much was asked for from one network.
    TooMany {
        /// How long it is to wait.
        wait: Duration,
        /// What there was too much of.
        detail: &'static str,
    },
}

/// Carries the cause of a fault to the middleware that logs it.
#[derive(Clone)]
struct Fault(String);

impl Error {
    /// A problem with an explanation.
    pub(crate) fn problem(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self::Problem(Problem::new(kind, Some(detail.into())))
    }

    /// A token, a session or a login that is not even looked at.
    pub(crate) fn too_many_attempts(wait: Duration) -> Self {
        Self::TooMany { wait, detail: "There were too many attempts." }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Problem(rejection.problem())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<WindowError> for Error {
    fn from(error: WindowError) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::problem(
                ProblemType::BODY_TOO_LARGE,
                "Send fewer or smaller events; a size counts after inflation.",
            ),
            _ => Self::problem(
                ProblemType::MALFORMED_JSON,
                "The body could not be read to its end, or not be inflated.",
            ),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => respond(problem),
            // A 5xx has no detail: its cause is ours, and stays with us.
            Self::Fault(cause) => {
                let mut response = later();
                response.extensions_mut().insert(Fault(cause));
                response
            }
            // The writer has logged the cause, once for all requests of the group.
            Self::Write(WriteError::Overloaded | WriteError::Unavailable) | Self::Busy => later(),
            Self::LogIn(next) => {
                let headers = [
                    (header::LOCATION, login::path_to(&next)),
                    (header::CACHE_CONTROL, "no-store".to_owned()),
                    (header::VARY, "Accept, Authorization, Cookie".to_owned()),
                ];
                (StatusCode::SEE_OTHER, headers).into_response()
            }
            Self::TooMany { wait, detail } => {
                let mut response =
                    respond(Problem::new(ProblemType::TOO_MANY_REQUESTS, Some(detail.to_owned())));
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
                response
            }
        }
    }
}

fn later() -> Response {
    let mut response = respond(Problem::new(ProblemType::UNAVAILABLE, None));
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn respond(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // For the middleware that makes a page of it.
    let mut response = (status, Json(problem.clone())).into_response();
    response.extensions_mut().insert(problem);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Logs each fault once, with nothing of the request but its method and route.
pub(super) async fn log_faults(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let response = next.run(request).await;
    if let Some(Fault(cause)) = response.extensions().get() {
        tracing::error!(%method, route = route.as_ref().map_or("none", |path| path.as_str()), %cause, "a request failed");
    }
    response
}

/// Likewise where reports are taken, for less: there, nothing fails that the writer has not logged, but a handler that panics.
pub(super) fn log_fault<B>(response: axum::http::Response<B>) -> axum::http::Response<B> {
    if let Some(Fault(cause)) = response.extensions().get() {
        tracing::error!(route = "intake", %cause, "a request failed");
    }
    response
}

pub(super) async fn not_found() -> Error {
    Error::problem(ProblemType::NOT_FOUND, "No route has this path.")
}

pub(super) async fn method_not_allowed() -> Error {
    Error::problem(ProblemType::METHOD_NOT_ALLOWED, "The header `Allow` names what is supported.")
}

/// The body has not arrived in time: waiting for a commit, or for one's turn to have something made, ends sooner, with 503.
pub(super) async fn timed_out(_: tower::BoxError) -> Error {
    Error::problem(ProblemType::REQUEST_TIMEOUT, "Try again over a better connection, or with fewer events.")
}

pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    let mut response = respond(Problem::new(ProblemType::INTERNAL, None));
    response.extensions_mut().insert(Fault("a handler panicked".to_owned()));
    response
}
