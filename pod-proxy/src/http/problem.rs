//! An [`Error`] → `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): the one place.

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shared::event::Rejection;
use shared::problem::{Problem, ProblemType};

use crate::app::App;
use crate::spool::KeepError;

/// When to try again after a fault of ours, in seconds.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("60");

/// Why a request is not answered with what was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    /// It is not an event.
    Rejected(Rejection),
    /// It is not declared as JSON.
    NotJson,
    /// The body did not arrive in time.
    TooSlow,
    /// The body did not arrive whole.
    CutOff,
    /// There is no such route.
    NotFound,
    /// The route has no such method.
    MethodNotAllowed,
    /// It was not kept.
    NotKept(KeepError),
    /// A defect of ours.
    Panicked,
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<KeepError> for Error {
    fn from(error: KeepError) -> Self {
        Self::NotKept(error)
    }
}

impl Error {
    fn problem(self) -> Problem {
        let (kind, detail) = match self {
            Self::Rejected(rejection) => return rejection.problem(),
            Self::NotJson => (ProblemType::UNSUPPORTED_MEDIA_TYPE, Some("Send it as `application/json`.")),
            Self::TooSlow => (ProblemType::REQUEST_TIMEOUT, None),
            Self::CutOff => (ProblemType::MALFORMED_JSON, Some("The body did not arrive whole.")),
            Self::NotFound => (ProblemType::NOT_FOUND, None),
            Self::MethodNotAllowed => (ProblemType::METHOD_NOT_ALLOWED, None),
            Self::NotKept(KeepError::Full) => (ProblemType::STORAGE_FULL, None),
            Self::NotKept(KeepError::Fault) => (ProblemType::UNAVAILABLE, None),
            Self::Panicked => (ProblemType::INTERNAL, None),
        };
        Problem::new(kind, detail.map(str::to_owned))
    }
}

/// Marks an answer as a problem, for the middleware.
#[derive(Clone, Copy, Debug)]
struct Answered(Error);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::INSUFFICIENT_STORAGE {
            headers.insert(RETRY_AFTER, TRY_AGAIN);
        }
        response.extensions_mut().insert(Answered(self));
        response
    }
}

/// Counts each problem, and logs a fault that lasts once an hour.
pub(crate) async fn count_problems(
    State(app): State<App>,
    request: Request<axum::body::Body>,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if let Some(Answered(error)) = response.extensions().get() {
        app.metrics().rejected(slug(*error));
        if let Error::NotKept(reason) = *error
            && app.is_complaint_due(reason)
        {
            tracing::error!(%reason, "events are not kept; how many is in the metrics");
        }
    }
    response
}

/// The stable name of the problem, for metrics.
fn slug(error: Error) -> &'static str {
    match error {
        Error::Rejected(rejection) => rejection.label(),
        Error::NotJson => ProblemType::UNSUPPORTED_MEDIA_TYPE.slug,
        Error::TooSlow => ProblemType::REQUEST_TIMEOUT.slug,
        Error::CutOff => "cut-off",
        Error::NotFound => ProblemType::NOT_FOUND.slug,
        Error::MethodNotAllowed => ProblemType::METHOD_NOT_ALLOWED.slug,
        Error::NotKept(KeepError::Full) => ProblemType::STORAGE_FULL.slug,
        Error::NotKept(KeepError::Fault) => ProblemType::UNAVAILABLE.slug,
        Error::Panicked => ProblemType::INTERNAL.slug,
    }
}
