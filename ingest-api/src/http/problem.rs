//! Errors → `application/problem+json` (RFC 9457), all of them here.

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::problem::{Problem, ProblemType};

use super::conditional::VARY;
use crate::intake::{Rejection, WriteError};
use crate::store::StoreError;

/// How long a sender should wait before it tries again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Everything that a handler can fail with.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request is wrong; the answer says how.
    Problem(Problem),
    /// Something of ours failed; the cause is logged and not sent.
    Fault(String),
    /// Reports could not be written.
    Write(WriteError),
    /// Too many readers wait for answers already.
    Busy,
    /// A browser has to log in first, and then comes back to this path.
    LogIn(String),
    /// One network sent too much.
    TooMany {
        /// How long it has to wait.
        wait: Duration,
        /// What it sent too much of.
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

    /// A wrong parameter.
    pub(crate) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::problem(ProblemType::INVALID_QUERY, detail)
    }

    /// A token, session or login that is not even looked up.
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
                "Send fewer or smaller events; the size counts after decompression.",
            ),
            _ => Self::problem(
                ProblemType::MALFORMED_JSON,
                "The body ended early, or could not be decompressed.",
            ),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => respond(problem),
            // A 5xx has no detail: its cause is ours.
            Self::Fault(cause) => {
                let mut response = later();
                response.extensions_mut().insert(Fault(cause));
                response
            }
            // The writer has logged the cause once for all requests of the group.
            Self::Write(WriteError::Overloaded | WriteError::Unavailable) | Self::Busy => later(),
            Self::LogIn(next) => {
                let headers = [(header::LOCATION, login_page_for(&next))];
                (StatusCode::SEE_OTHER, headers, [(header::CACHE_CONTROL, "no-store")], [VARY])
                    .into_response()
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

/// The path of the login page that leads back to `next`.
fn login_page_for(next: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("/login?{query}")
}

fn later() -> Response {
    let mut response = respond(Problem::new(ProblemType::UNAVAILABLE, None));
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

fn respond(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // The middleware that turns problems into pages needs it.
    let mut response = (status, Json(problem.clone())).into_response();
    response.extensions_mut().insert(problem);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Logs each fault once, and of its request only method and route.
pub(super) async fn log_faults(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let response = next.run(request).await;
    if let Some(Fault(cause)) = response.extensions().get() {
        tracing::error!(%method, route = route.as_ref().map_or("none", |path| path.as_str()), %cause, "a request failed");
    }
    response
}

/// The same for intake, where it must be cheap: the writer logs its own faults, so only a panic is left.
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
    Error::problem(ProblemType::METHOD_NOT_ALLOWED, "The header `Allow` lists the supported methods.")
}

/// The body did not arrive in time. Waiting for a commit or for the render queue ends sooner, with 503.
pub(super) async fn timed_out(_: tower::BoxError) -> Error {
    Error::problem(ProblemType::REQUEST_TIMEOUT, "Try again over a better connection, or with fewer events.")
}

pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    let mut response = respond(Problem::new(ProblemType::INTERNAL, None));
    response.extensions_mut().insert(Fault("a handler panicked".to_owned()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_survives_the_query() {
        let path = login_page_for("/v1/insights/pods?window=week&format=csv");
        assert_eq!(path, "/login?next=%2Fv1%2Finsights%2Fpods%3Fwindow%3Dweek%26format%3Dcsv");
    }
}
