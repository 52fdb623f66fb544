//! An [`Error`] → `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): the one place.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::event::Rejection;
use shared::problem::{Problem, ProblemType};

use crate::proxy::Proxy;
use crate::spool::PutError;

/// When to try again after a fault of ours, in seconds.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("60");

/// Why a request is refused or fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    Rejected(Rejection),
    /// The body is not declared as JSON.
    NotJson,
    /// The body did not arrive in time.
    TooSlow,
    /// The body did not arrive whole.
    CutOff,
    NotFound,
    MethodNotAllowed,
    NotStored(PutError),
    Panicked,
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<PutError> for Error {
    fn from(error: PutError) -> Self {
        Self::NotStored(error)
    }
}

impl Error {
    /// The problem, and its name in the metrics.
    fn problem(self) -> (Problem, &'static str) {
        let (kind, detail) = match self {
            Self::Rejected(rejection) => return (rejection.problem(), rejection.label()),
            Self::NotJson => (ProblemType::UNSUPPORTED_MEDIA_TYPE, Some("Send it as `application/json`.")),
            Self::TooSlow => (ProblemType::REQUEST_TIMEOUT, None),
            Self::CutOff => (ProblemType::MALFORMED_JSON, Some("The body did not arrive whole.")),
            Self::NotFound => (ProblemType::NOT_FOUND, None),
            Self::MethodNotAllowed => (ProblemType::METHOD_NOT_ALLOWED, None),
            Self::NotStored(PutError::Full) => (ProblemType::STORAGE_FULL, None),
            Self::NotStored(PutError::Fault) => (ProblemType::UNAVAILABLE, None),
            Self::Panicked => (ProblemType::INTERNAL, None),
        };
        let label = if matches!(self, Self::CutOff) { "cut-off" } else { kind.slug };
        (Problem::new(kind, detail.map(str::to_owned)), label)
    }
}

/// The name of the problem that is answered, for the middleware.
#[derive(Clone, Copy, Debug)]
struct Label(&'static str);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (problem, label) = self.problem();
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::INSUFFICIENT_STORAGE {
            response.headers_mut().insert(RETRY_AFTER, TRY_AGAIN);
        }
        response.extensions_mut().insert(Label(label));
        response
    }
}

/// Counts each problem.
pub(crate) async fn count_problems(State(proxy): State<Proxy>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(Label(label)) = response.extensions().get() {
        proxy.metrics().rejected(label);
    }
    response
}
