//! `ingest-api status --check`: its exit codes for cron, and the metric that says the same.
//!
//! The command uses the machine's clock. So the test data ends today, whatever the date is. The expected
//! result stays the same if the day ends during the test, because a release is overdue only an hour later.

use std::process::Command;

use ingest_api::window::WindowKind;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use shared::clock::{Clock, SystemClock};

use crate::support::*;

fn today() -> Date {
    SystemClock.now().to_zoned(TimeZone::UTC).date()
}

fn noon(day: Date) -> Timestamp {
    day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp()
}

/// A service with 60 installations on the same day of each of eight weeks, and `last` on that day of the last
/// week, `until`. Everything that was over on the day after is released.
async fn eight_weeks(until: Date, last: u32) -> Service {
    let days = (0..8).rev().map(|weeks| until.saturating_sub(weeks.weeks()));
    let service = Service::start_at(noon(days.clone().next().unwrap()), |_| {}).await;
    for day in days {
        service.clock.set(noon(day));
        service.app.run_jobs().await.unwrap();
        service.report(&ten_pods(if day == until { last / 10 } else { 6 })).await;
    }
    service.clock.set(noon(until.tomorrow().unwrap()));
    service.app.run_jobs().await.unwrap();
    service
}

/// The anomalies: overdue releases, windows that are not closed, numbers that jumped.
type Odd = [usize; 3];

/// The exit code of a check, and its anomalies. Fails unless the metrics say the same.
async fn check(service: &Service) -> (i32, Odd) {
    let (code, said) = status(service.app.database().url(), &["--check"]).await;
    let marks = ["is the service running", "is over and has not been released", "was usually"];
    let anomalies: Vec<&str> = said.lines().filter(|line| line.starts_with("! ")).collect();
    let counts = marks.map(|mark| anomalies.iter().filter(|line| line.contains(mark)).count());
    assert_eq!(counts.iter().sum::<usize>(), anomalies.len(), "each is of one kind: {said}");
    let metrics = metrics(service).await;
    for (kind, number) in ["overdue", "unclosed", "jump"].into_iter().zip(counts) {
        let line = format!("ingest_anomalies{{kind=\"{kind}\"}} {number}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}, and {said}");
    }
    let (without_check, _) = status(service.app.database().url(), &[]).await;
    assert_eq!(without_check, 0, "only a check fails");
    (code, counts)
}

async fn status(url: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
    command.env_clear().env("HOME", "/nonexistent").args(["--database-url", url, "status"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_which_all_is_well_ends_with_0() {
    let today = today();
    let service = eight_weeks(today.yesterday().unwrap(), 60).await;
    assert_eq!(check(&service).await, (0, [0, 0, 0]));
    let released = today.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
    let fresh = format!("ingest_newest_release_end_seconds{{window=\"day\"}} {released}\n");
    let metrics = metrics(&service).await;
    assert!(metrics.contains(&fresh), "{fresh}");
    // Postgres has its own clock.
    let written = "ingest_newest_release_written_seconds{window=\"day\"} ";
    let written = metrics.lines().find_map(|line| line.strip_prefix(written)).unwrap();
    let ago = SystemClock.now().as_second() - written.parse::<i64>().unwrap();
    assert!((-5..600).contains(&ago), "{ago} seconds ago");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_jumped_ends_with_4() {
    let today = today();
    let service = eight_weeks(today.yesterday().unwrap(), 120).await;
    // The week is released with its Sunday.
    let weeks = usize::from(today.weekday() == Weekday::Monday);
    assert_eq!(check(&service).await, (4, [0, 0, 1 + weeks]));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_that_are_overdue_end_with_3() {
    let today = today();
    // Nothing was reported for a hundred days, more than two months. Before that, a number jumped.
    let service = eight_weeks(today.saturating_sub(100.days()), 120).await;
    service.clock.set(noon(today));
    service.app.run_jobs().await.unwrap();
    let (code, [overdue, unclosed, jumped]) = check(&service).await;
    assert_eq!((code, overdue, unclosed), (3, WindowKind::ALL.len(), 0));
    assert!(jumped > 0, "which is said too, and weighs less");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_closed_ends_with_3() {
    let today = today();
    let day = today.saturating_sub(3.days());
    let service = Service::start_at(noon(day), |_| {}).await;
    service.report(&ten_pods(6)).await;
    // A release for that day was written by hand.
    let next = day.tomorrow().unwrap();
    let by_hand =
        format!("INSERT INTO release.closed_window VALUES ('day', '{day}', '{next}') RETURNING kind");
    service.query(&by_hand).await.unwrap();
    service.clock.set(noon(today));
    assert!(service.app.run_jobs().await.is_err());
    assert_eq!(check(&service).await, (3, [1, 1, 0]));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_window_that_was_never_released_ends_with_3() {
    let today = today();
    let service = Service::start_at(noon(today.saturating_sub(60.days())), |_| {}).await;
    service.report(&ten_pods(6)).await;
    // The month is lost: it is neither open nor released. Days and weeks are released until yesterday.
    let lose = "DELETE FROM intake.open_window WHERE kind = 'month' RETURNING kind";
    service.query(lose).await.unwrap();
    for days in [7, 1] {
        service.clock.set(noon(today.saturating_sub(days.days())));
        service.app.run_jobs().await.unwrap();
        service.report(&ten_pods(6)).await;
        service.query(lose).await.unwrap();
    }
    service.clock.set(noon(today));
    service.app.run_jobs().await.unwrap();
    let (code, [overdue, ..]) = check(&service).await;
    assert_eq!((code, overdue), (3, 1));
    service.app.shutdown().await;
}

/// Whether `status` shows that something was written just now.
fn is_recent(written: &str) -> bool {
    let now = SystemClock.now();
    let minutes = (0..10).map(|ago| now - jiff::SignedDuration::from_mins(ago));
    minutes.map(|minute| minute.strftime("%F %H:%M UTC").to_string()).any(|minute| minute == written)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_folded_and_not_told_is_said() {
    let service = Service::start().await;
    let mut events = ten_pods(6);
    events.push(pod(99, "9.9.9"));
    for event in events.iter_mut().filter(|event| event["origin"]["app"].is_object()).take(30) {
        event["origin"]["app"].as_object_mut().unwrap().remove("user_preferred_locales");
    }
    service.report(&events).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let (_, said) = status(service.app.database().url(), &[]).await;
    let of_line = |line: &str| {
        let cells = line.split(['│', '┆']).map(|cell| cell.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    let rows = said.lines().map(of_line).collect::<Vec<Vec<String>>>();
    let has = |row: &[&str]| assert!(rows.iter().any(|found| found == row), "{row:?} in {said}");
    let day = "day 2026-11-22";
    let days = rows.iter().find(|row| row.first().is_some_and(|name| name == "releases of a day")).unwrap();
    let (written, held) = days.split_last().unwrap();
    assert_eq!(held, ["releases of a day", "1", "2026-11-22", "2026-11-22"]);
    assert!(is_recent(written), "{written}");
    has(&["releases of a month", "0"]);
    has(&["open window: month", "2026-11-01"]);
    has(&[day, "pod_versions", "pod", "100.0 %", "0.0 %"]);
    has(&[day, "languages", "pod", "0.0 %", "50.0 %"]);
    has(&[day, "platforms", "pod", "0.0 %", "0.0 %"]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_be_made_ends_with_another_code() {
    let (code, said) = status("postgres://nobody@127.0.0.1:9/nothing", &["--check"]).await;
    assert_eq!((code, said.as_str()), (1, ""));
}

#[test]
fn where_there_is_no_database_none_is_made_to_say_that_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["status", "--check"][..], &["token", "list"], &["windows", "list"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
        command.env_clear().env("HOME", "/nonexistent").arg("--data-dir").arg(folder.path()).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("there is no database in"), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    }
}
