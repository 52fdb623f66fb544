//! Intake: `POST …/v1/analytics/event` and `…/events`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Serialize;
use shared::problem::{Problem, ProblemType};
use tokio::sync::OwnedSemaphorePermit;

use super::blocking::aside;
use super::problem::Error;
use super::services::Services;
use crate::intake::batch::{Batch, MAX_BATCH, MediaType, NotABatch};
use crate::intake::limits::TooMuch;
use crate::intake::{Rejection, ValidReport, WriteError};
use crate::rates::Source;

/// What became of a batch.
#[derive(Debug, Serialize)]
pub(super) struct BatchAnswer {
    /// How many events are committed.
    accepted: usize,
    /// Those that are not, and never will be.
    rejected: Vec<RejectedEvent>,
}

#[derive(Debug, Serialize)]
struct RejectedEvent {
    /// Its place in the batch, counted from zero.
    index: usize,
    problem: Problem,
}

/// `POST …/v1/analytics/event`: counts one event. 204 when it is committed.
pub(super) async fn post_event(
    State(services): State<Arc<Services>>,
    Admitted(source): Admitted,
    declared: Declared,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Error> {
    declared.one_of(&[MediaType::Json]).inspect_err(|_| unsupported(&services))?;
    let body = body.inspect_err(|rejection| unreadable(&services, rejection))?;
    let report = ValidReport::from_json(&body).inspect_err(|rejection| count(&services, *rejection))?;
    write(&services, source, vec![report]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/v1/analytics/events`: counts many events at once, a JSON array or one event a line. 200 when those that are
/// not rejected are committed, all of them together.
pub(super) async fn post_events(
    State(services): State<Arc<Services>>,
    Admitted(source): Admitted,
    place: Place,
    declared: Declared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<BatchAnswer>, Error> {
    let media_type =
        declared.one_of(&[MediaType::Json, MediaType::NdJson]).inspect_err(|_| unsupported(&services))?;
    let body = body.inspect_err(|rejection| unreadable(&services, rejection))?;
    let (Batch { reports, rejected }, _place) = read(media_type, body, place)
        .await?
        .inspect_err(|wrong| services.metrics.report_rejected(wrong.label()))?;
    let rejected = rejected.into_iter().map(|(index, rejection)| {
        count(&services, rejection);
        RejectedEvent { index, problem: rejection.problem() }
    });
    let rejected = rejected.collect();
    let accepted = reports.len();
    write(&services, source, reports).await?;
    Ok(Json(BatchAnswer { accepted, rejected }))
}

/// One of the places for batches, of which there are few: each may hold as much memory as a batch is long. It is taken
/// before the body is read.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl FromRequestParts<Arc<Services>> for Place {
    type Rejection = Error;

    async fn from_request_parts(_: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let place = Arc::clone(&services.places).try_acquire_owned();
        place.map(Self).map_err(|_| {
            services.metrics.reports_refused("overloaded", 1);
            Error::Write(WriteError::Overloaded)
        })
    }
}

/// Reads a batch, which takes a millisecond, on a thread where no other request waits for it. It keeps its place until
/// then, even if the sender has gone away.
async fn read(
    media_type: MediaType,
    body: Bytes,
    place: Place,
) -> Result<Result<(Batch, Place), NotABatch>, Error> {
    aside(move || Batch::read(media_type, &body).map(|batch| (batch, place))).await
}

/// A request that its network may make. Whatever is over the limit is refused before its body is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted(Source);

impl FromRequestParts<Arc<Services>> for Admitted {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let Ok(source) = Source::from_request_parts(parts, services).await;
        take_request(services, source)?;
        Ok(Self(source))
    }
}

/// Takes one request of those that a network may make.
///
/// # Errors
/// 429 if there were too many.
pub(super) fn take_request(services: &Services, source: Source) -> Result<(), Error> {
    match &services.limits {
        Some(limits) => limits.take_request(source).map_err(|much| limited(services, much)),
        None => Ok(()),
    }
}

fn limited(services: &Services, TooMuch { limit, wait }: TooMuch) -> Error {
    services.metrics.request_limited(limit.label());
    match wait {
        Some(wait) => Error::TooMany { wait, detail: limit.detail() },
        None => Error::problem(ProblemType::BODY_TOO_LARGE, limit.never()),
    }
}

async fn write(services: &Services, source: Source, reports: Vec<ValidReport>) -> Result<(), Error> {
    if let Some(limits) = &services.limits {
        limits.take_reports(source, &reports).map_err(|much| limited(services, much))?;
    }
    let n = reports.len();
    let written = services.writer.write(reports).await;
    match written {
        Ok(()) => services.metrics.reports_accepted(n),
        Err(WriteError::Overloaded) => services.metrics.reports_refused("overloaded", n),
        Err(WriteError::Unavailable) => services.metrics.reports_refused("unavailable", n),
    }
    Ok(written?)
}

fn count(services: &Services, rejection: Rejection) {
    services.metrics.report_rejected(rejection.label());
}

fn unsupported(services: &Services) {
    services.metrics.report_rejected("unsupported_media_type");
}

fn unreadable(services: &Services, rejection: &BytesRejection) {
    let is_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
    services.metrics.report_rejected(if is_large { "too_large" } else { "unreadable" });
}

/// What the body of a request is declared to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    media_type: Option<MediaType>,
    /// In a way that we do not know.
    is_encoded: bool,
}

impl<S: Sync> FromRequestParts<S> for Declared {
    type Rejection = Infallible;

    // A handler that takes the headers would be given a copy of them.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // What could be inflated has lost its header on the way here.
        let is_encoded =
            parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        let declared = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let declared = declared.and_then(|value| value.split(';').next()).unwrap_or("").trim();
        let media_type = MediaType::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(declared));
        Ok(Self { media_type, is_encoded })
    }
}

impl Declared {
    /// The media type of the body, without parameters, if it is one of those that are taken.
    fn one_of(self, taken: &[MediaType]) -> Result<MediaType, Error> {
        if self.is_encoded {
            let detail = "A body may be compressed by gzip or zstd.";
            return Err(Error::problem(ProblemType::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        self.media_type.filter(|media_type| taken.contains(media_type)).ok_or_else(|| {
            let taken: Vec<_> = taken.iter().map(|media_type| media_type.as_str()).collect();
            Error::problem(ProblemType::UNSUPPORTED_MEDIA_TYPE, format!("Send {}.", taken.join(" or ")))
        })
    }
}

impl From<NotABatch> for Error {
    fn from(wrong: NotABatch) -> Self {
        match wrong {
            NotABatch::Malformed { line, column } => {
                let detail = format!(
                    "A batch is a JSON array of events, or as application/x-ndjson one event a line; this is none from line {line}, column {column} on."
                );
                Self::problem(ProblemType::MALFORMED_JSON, detail)
            }
            NotABatch::TooMany => {
                let detail = format!("A batch has at most {MAX_BATCH} events.");
                Self::problem(ProblemType::BODY_TOO_LARGE, detail)
            }
        }
    }
}
