//! The body of a batch → its events, each valid or rejected. Pure.
//!
//! A batch is a JSON array of events, or `application/x-ndjson` with one event per line.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::event::Event;

use super::validate::{Rejection, ValidReport};

/// The most events that a batch may have.
pub const MAX_BATCH: usize = 1_000;

/// How a body encodes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// JSON: one event, or an array of them.
    Json,
    /// Newline-delimited JSON: one event per line.
    NdJson,
}

impl MediaType {
    /// Both media types.
    pub const ALL: [Self; 2] = [Self::Json, Self::NdJson];

    /// Its name in a `Content-Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
        }
    }
}

/// The events of a batch.
#[derive(Debug)]
pub struct Batch {
    /// The valid ones, which count.
    pub reports: Vec<ValidReport>,
    /// The indexes of the others, from zero, and why they are rejected.
    pub rejected: Vec<(usize, Rejection)>,
}

/// Why a whole batch is rejected.
#[derive(Clone, Copy, Debug)]
pub enum NotABatch {
    /// It is not an array, or not JSON.
    Malformed {
        /// The line of the error, from 1.
        line: usize,
        /// The column of the error, from 1.
        column: usize,
    },
    /// It has more than [`MAX_BATCH`] events.
    TooMany,
}

impl NotABatch {
    /// The name of the reason, for metrics; the same as for single events.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_json",
            Self::TooMany => "too_large",
        }
    }
}

impl Batch {
    /// Reads a batch.
    ///
    /// # Errors
    /// [`NotABatch`] if the whole batch is rejected.
    pub fn read(media_type: MediaType, body: &[u8]) -> Result<Self, NotABatch> {
        let at_once = match media_type {
            MediaType::Json => array_of_events(body),
            MediaType::NdJson => None,
        };
        let events = match at_once {
            Some(events) => events,
            None => one_by_one(media_type, body)?,
        };
        let mut batch = Self { reports: Vec::with_capacity(events.len()), rejected: Vec::new() };
        for (index, event) in events.into_iter().enumerate() {
            match event {
                Ok(report) => batch.reports.push(report),
                Err(rejection) => batch.rejected.push((index, rejection)),
            }
        }
        Ok(batch)
    }
}

/// The events of a batch, in order.
type Events = Vec<Result<ValidReport, Rejection>>;

/// Splits a body, then reads each event by itself. Counts the events before it reads the first.
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

/// The fast path: reads an array of valid events in one pass. `None` for any other body, which [`one_by_one`]
/// then reads to say what is wrong.
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

/// The elements of an array. Beyond the limit, it keeps only one more: a body may have a million.
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

    /// An event of about this many bytes.
    fn event(bytes: usize) -> String {
        let name = "x".repeat(bytes.saturating_sub(90));
        format!(
            r#"{{"name":"{name}","origin":{{"pod":{{"domain_hash":"bfabc37432958b06","user_hash":"19a124bd2f89edfe"}}}}}}"#
        )
    }

    /// Bodies that are a batch, or almost one.
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
