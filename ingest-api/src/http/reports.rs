//! Intake: `POST …/v1/analytics/event` and `…/events`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use shared::event::Event;
use shared::problem::{Problem, ProblemType};
use tokio::sync::OwnedSemaphorePermit;

use super::{Error, Services, aside};
use crate::intake::limits::TooMuch;
use crate::intake::{MAX_BATCH, Rejection, ValidReport, WriteError};
use crate::limits::Source;

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
    let Read { reports, rejected, _place } = read(media_type, body, place)
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

/// The events of a batch.
#[derive(Debug)]
struct Read {
    reports: Vec<ValidReport>,
    /// The places of the others, counted from zero, and why they are not counted.
    rejected: Vec<(usize, Rejection)>,
    _place: Place,
}

/// Reads a batch, which takes a millisecond, where no other request waits for it. It keeps its place until then, also if the
/// sender has gone away.
async fn read(media_type: MediaType, body: Bytes, place: Place) -> Result<Result<Read, NotABatch>, Error> {
    let read = move || {
        let at_once = match media_type {
            MediaType::Json => array_of_events(&body),
            MediaType::NdJson => None,
        };
        let events = match at_once {
            Some(events) => events,
            None => one_by_one(media_type, &body)?,
        };
        let mut read =
            Read { reports: Vec::with_capacity(events.len()), rejected: Vec::new(), _place: place };
        for (index, event) in events.into_iter().enumerate() {
            match event {
                Ok(report) => read.reports.push(report),
                Err(rejection) => read.rejected.push((index, rejection)),
            }
        }
        Ok(read)
    };
    aside(read).await
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

/// What a body can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MediaType {
    Json,
    NdJson,
}

impl MediaType {
    const ALL: [Self; 2] = [Self::Json, Self::NdJson];

    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
        }
    }
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

/// Why no event of a batch is counted.
#[derive(Clone, Copy, Debug)]
enum NotABatch {
    Malformed { line: usize, column: usize },
    TooMany,
}

impl NotABatch {
    /// As for single events.
    fn label(self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_json",
            Self::TooMany => "too_large",
        }
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

/// What is in a batch, in its order.
type Events = Vec<Result<ValidReport, Rejection>>;

/// Takes a body apart, and reads each event by itself. How many there are is known before the first one is read.
fn one_by_one(media_type: MediaType, body: &[u8]) -> Result<Events, NotABatch> {
    let events = match media_type {
        MediaType::Json => array(body)?,
        MediaType::NdJson => lines(body),
    };
    if events.len() > MAX_BATCH {
        return Err(NotABatch::TooMany);
    }
    Ok(events.into_iter().map(ValidReport::from_json).collect())
}

/// The events of an array that holds nothing else, and not too many, read in one go, and none of them twice. `None` for any
/// other body: what is wrong with it is for [`one_by_one`] to say.
fn array_of_events(body: &[u8]) -> Option<Events> {
    /// RFC 8259, section 2.
    fn trimmed(text: &str) -> &str {
        text.trim_start_matches([' ', '\t', '\n', '\r'])
    }
    let mut rest = trimmed(std::str::from_utf8(body).ok()?).strip_prefix('[')?;
    let mut events = Vec::new();
    loop {
        let (event, after) = Event::first_of(trimmed(rest))?;
        events.push(ValidReport::check(event));
        rest = trimmed(after);
        match rest.strip_prefix(',') {
            Some(next) if events.len() < MAX_BATCH => rest = next,
            Some(_) => return None,
            None => return trimmed(rest.strip_prefix(']')?).is_empty().then_some(events),
        }
    }
}

fn array(body: &[u8]) -> Result<Vec<&[u8]>, NotABatch> {
    let Array(events) = serde_json::from_slice(body)
        .map_err(|error| NotABatch::Malformed { line: error.line(), column: error.column() })?;
    Ok(events.into_iter().map(|event| event.get().as_bytes()).collect())
}

fn lines(body: &[u8]) -> Vec<&[u8]> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.take(MAX_BATCH + 1).collect()
}

/// What stands in an array. Of those that are too many, one is kept: a body may have a million.
struct Array<'b>(Vec<&'b RawValue>);

impl<'de> Deserialize<'de> for Array<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Array<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Array<'de>, A::Error> {
                let mut kept = Vec::new();
                while let Some(item) = items.next_element()? {
                    if kept.len() <= MAX_BATCH {
                        kept.push(item);
                    }
                }
                Ok(Array(kept))
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An event of about so many bytes.
    fn event(bytes: usize) -> String {
        let name = "x".repeat(bytes.saturating_sub(90));
        format!(
            r#"{{"name":"{name}","origin":{{"pod":{{"domain_hash":"bfabc37432958b06","user_hash":"19a124bd2f89edfe"}}}}}}"#
        )
    }

    /// Bodies that are a batch, or nearly one.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let longest = shared::event::MAX_EVENT_BYTES;
        let item = prop_oneof![
            6 => Just(event(100)),
            1 => (longest - 8..longest + 8).prop_map(event),
            1 => prop::sample::select(vec![
                "{}", r#"{"origin":{}}"#, r#"{"origin":{"pod":{"domain_hash":"x"}}}"#, "1", "null", "[]", "", "{", "\"x\"",
                r#"{"origin":{"app":{"version":1}}}"#, r#"[null,["f4ce232118cee9d2"]]"#,
            ]).prop_map(str::to_owned),
        ];
        let between = || {
            prop::sample::select(vec!["", "", "", "", " ", "\t\r\n", "\u{c}", "\u{a0}", "\u{feff}", ",", "]"])
        };
        let odd_end = prop_oneof![
            6 => Just(&b"]"[..]),
            1 => prop::sample::select(vec![&b""[..], b"] ", b"]\n", b"]]", b"] x", b"],", b"\xff]", b"]\xff"]),
        ];
        let begin = prop::sample::select(vec!["[", "[", "[", " [", "", "[[", "\u{feff}["]);
        (begin, prop::collection::vec((between(), item, between()), 0..5), odd_end).prop_map(
            |(begin, items, end)| {
                let items: Vec<String> =
                    items.into_iter().map(|(before, item, after)| format!("{before}{item}{after}")).collect();
                [begin.as_bytes(), items.join(",").as_bytes(), end].concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_batch_that_is_read_in_one_go_is_what_it_is_one_by_one(body in bodies()) {
            if let Some(events) = array_of_events(&body) {
                prop_assert_eq!(events, one_by_one(MediaType::Json, &body).unwrap());
            }
        }
    }

    #[test]
    fn a_valid_batch_is_read_in_one_go_and_one_that_has_too_many_is_not_read_at_all() {
        let batch = |number: usize| format!("[{}]", vec![event(100); number].join(" , "));
        assert_eq!(array_of_events(batch(MAX_BATCH).as_bytes()).unwrap().len(), MAX_BATCH);
        let many = [batch(MAX_BATCH + 1), format!("[{}1]", "1,".repeat(1_000_000))];
        for body in many {
            assert!(array_of_events(body.as_bytes()).is_none());
            assert_eq!(array(body.as_bytes()).unwrap().len(), MAX_BATCH + 1);
            assert!(matches!(one_by_one(MediaType::Json, body.as_bytes()), Err(NotABatch::TooMany)));
        }
        let many = "1\n".repeat(1_000_000);
        assert_eq!(lines(many.as_bytes()).len(), MAX_BATCH + 1);
        assert!(matches!(one_by_one(MediaType::NdJson, many.as_bytes()), Err(NotABatch::TooMany)));
    }
}
