use std::os::unix::fs::PermissionsExt;

use shared::domain::Domain;
use shared::event::{Event, Observed};
use shared::policy::Policy;
use shared::pseudonym::Salt;
use shared::version::Version;

use super::*;
use crate::config::MIN_SENT_BYTES;
use crate::facts::PodFacts;
use crate::filter::{PodReport, Report, filter, outgoing};
use crate::forward::MAX_BATCH;

const LARGE: u64 = 1 << 20;

fn event() -> FilteredEvent {
    let facts = PodFacts::of(Domain::parse("example.org").unwrap()).with_accounts(Some(33));
    filter(&Policy::default(), &facts, Report::Pod(PodReport::Daily)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open(folder: &Path, max_bytes: u64) -> Arc<SentLog> {
    Arc::new(SentLog::new(folder, max_bytes))
}

/// Records a request of so many events.
fn record(log: &Arc<SentLog>, second: i64, events: usize) -> Record {
    log.record(&encode(at(second), &vec![event(); events]).unwrap()).unwrap()
}

/// A request that leaves and is answered.
fn send(log: &Arc<SentLog>, second: i64, answer: &str) {
    let mut record = record(log, second, 1);
    record.leaves();
    record.answered(answer);
}

fn answers(folder: &Path) -> Vec<String> {
    read(folder, 1_000).unwrap().into_iter().map(|line| line.answer).collect()
}

#[test]
fn what_left_is_read_back_word_for_word_the_latest_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = record(&open(folder.path(), LARGE), 1, 2);
    two.leaves();
    two.answered("taken");
    send(&open(folder.path(), LARGE), 2, "refused");
    assert_eq!(answers(folder.path()), ["taken", "taken", "refused"]);
    let lines = read(folder.path(), 10).unwrap();
    assert_eq!(lines[2].at, "1970-01-01T00:00:02Z");
    assert_eq!(lines[2].event.get(), serde_json::to_string(&event()).unwrap());
    assert_eq!(read(folder.path(), 1).unwrap()[0].answer, "refused");
    let mode = fs::metadata(folder.path().join(NEWER)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_request_is_in_the_log_before_it_leaves_and_not_any_more_if_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), LARGE);
    send(&log, 1, "taken");
    let waits = record(&log, 2, 3);
    assert_eq!(answers(folder.path()), ["taken", "unknown", "unknown", "unknown"]);
    drop(waits);
    assert_eq!(answers(folder.path()), ["taken"]);
    let mut unreachable = record(&log, 3, 1);
    unreachable.leaves();
    unreachable.nothing_left();
    assert_eq!(answers(folder.path()), ["taken"]);
    let mut cut_off = record(&log, 4, 1);
    cut_off.leaves();
    drop(cut_off);
    send(&log, 5, "too_many_requests");
    assert_eq!(answers(folder.path()), ["taken", "interrupted", "too_many_requests"]);
}

#[test]
fn a_request_that_did_not_leave_takes_none_out_that_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), LARGE);
    let waits = record(&log, 1, 1);
    send(&log, 2, "taken");
    drop(waits);
    send(&log, 3, "refused");
    assert_eq!(answers(folder.path()), ["taken", "refused"]);
}

#[test]
fn after_a_kill_what_may_have_left_is_unknown_and_what_was_not_written_to_its_end_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), LARGE);
    send(&log, 1, "taken");
    std::mem::forget(record(&log, 2, 1));
    let whole = fs::read(folder.path().join(NEWER)).unwrap();
    let third = encode(at(3), &[event(), event()]).unwrap();
    // A kill at any byte of the third.
    for written in 0..third.len() {
        fs::write(folder.path().join(NEWER), [&whole[..], &third[..written]].concat()).unwrap();
        assert_eq!(answers(folder.path())[..2], ["taken", "unknown"], "{written}");
        send(&open(folder.path(), LARGE), 4, "refused");
        assert_eq!(answers(folder.path()), ["taken", "unknown", "refused"], "{written}");
    }
    // An answer that was half written, in a power cut.
    let mut torn = whole.clone();
    let end = torn.len();
    torn[end - ANSWER_BYTES + ANSWER.len()..end - 20].fill(0);
    fs::write(folder.path().join(NEWER), torn).unwrap();
    send(&open(folder.path(), LARGE), 4, "refused");
    assert_eq!(answers(folder.path()), ["taken", "unknown", "refused"]);
}

#[test]
fn what_cannot_be_written_down_is_an_error_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 2_000);
    send(&log, 1, "taken");
    let error = log.record(&encode(at(2), &vec![event(); 100]).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    // The other file cannot be created.
    let gone = folder.path().join("gone");
    assert_eq!(open(&gone, LARGE).record(b"").unwrap_err().kind(), ErrorKind::NotFound);
    send(&log, 3, "taken");
    assert_eq!(answers(folder.path()), ["taken", "taken"]);
}

#[test]
fn the_two_files_together_never_have_more_than_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 4_000);
    for second in 0..100 {
        send(&log, second, "taken");
        let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
        assert!(size(NEWER) + size(OLDER) <= 4_000);
    }
    let lines = read(folder.path(), 1_000).unwrap();
    assert!(lines.len() > 5);
    assert_eq!(lines.last().unwrap().at, at(99).to_string());
}

#[test]
fn the_largest_request_has_room_in_the_smallest_log() {
    let label = "a".repeat(63);
    let domain = [label.as_str(), label.as_str(), label.as_str(), &label[..61]].join(".");
    let facts = PodFacts::of(Domain::parse(&domain).unwrap())
        .with_version(Some(Observed::from(Version::parse("999.999.999-alpha.99"))))
        .with_accounts(Some(u32::MAX));
    let document = shared::config::parse_toml("[vendor_analytics]\npreset = 'all'").unwrap();
    let policy = shared::policy::Policy::resolve(&document).unwrap();
    let largest = serde_json::json!({ "origin": {
        "app": { "name": "prose-app-windows", "version": "999.999.999-alpha.99", "platform": "dragonfly-aarch64",
                 "user_preferred_locales": vec!["gsw-Latn-CH-1996"; 16] },
        "pod": { "user_hash": "19a124bd2f89edfe" },
    }});
    let event = Event::from_json(largest.to_string().as_bytes()).unwrap();
    let event = outgoing(&policy, &facts, &Salt::from_bytes(&[7; Salt::LEN]).unwrap(), event).unwrap();
    let request = encode(Timestamp::MAX, &vec![event; MAX_BATCH]).unwrap();
    assert!(request.len() as u64 * 5 / 4 < MIN_SENT_BYTES / 2, "{}", request.len());
}

#[test]
fn a_bound_of_zero_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    send(&open(folder.path(), 0), 1, "taken");
    assert_eq!(read(folder.path(), 10).unwrap().len(), 0);
    assert!(!folder.path().join(NEWER).exists());
}
