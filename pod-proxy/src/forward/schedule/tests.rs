use jiff::SignedDuration;
use proptest::prelude::*;
use shared::clock::{Clock, FixedClock};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn salt() -> Salt {
    Salt::from_bytes(&[7; Salt::LEN]).unwrap()
}

/// A point of sending with no daily report for hours around it.
fn point() -> Timestamp {
    let report = next_report(at(START), Phase::of_report(&salt()));
    next_flush(after(report, 2 * HOUR), HOUR, Phase::of_flush(&salt()))
}

/// The jitter of the wait after so many failures in a row, of a bound of so many seconds.
fn jitter(failures: u32, bound: u64) -> Duration {
    Duration::from_secs(bound).mul_f64(Phase::of_wait(&salt(), failures))
}

fn away(retry_after: Option<u64>) -> Happened {
    let retry_after = retry_after.map(Duration::from_secs);
    Happened::Ended(Ended::VendorAway { reason: "vendor_failure", retry_after })
}

/// What is expected of a step.
enum Expected {
    Does(Step),
    SleepsUntil(Timestamp),
}

use Expected::{Does, SleepsUntil};

/// Plays `rows` of (when, what happened, what follows) on a schedule that starts a minute before the point, has made its
/// first report, and remembers `retry_after`.
#[track_caller]
fn check(retry_after: Option<Timestamp>, rows: &[(Timestamp, Happened, Expected)]) {
    let start = point() - SignedDuration::from_mins(1);
    let mut schedule = Schedule::new(&salt(), start, retry_after);
    assert_eq!(schedule.next(start, HOUR, Happened::Woke), Step::Report(PodReport::Startup));
    for (row, (now, happened, expected)) in rows.iter().enumerate() {
        let step = schedule.next(*now, HOUR, *happened);
        match (expected, step) {
            (Does(expected), step) => assert_eq!(step, *expected, "row {row}"),
            (SleepsUntil(due), Step::Sleep { until, nap }) => {
                assert_eq!(until, *due, "row {row}");
                assert!(
                    !nap.is_zero() && nap <= LONGEST_NAP && after(*now, nap) <= until,
                    "row {row}: {nap:?}"
                );
            }
            (SleepsUntil(_), step) => panic!("row {row}: {step:?}"),
        }
    }
}

#[test]
fn what_waits_is_sent_at_the_pods_own_point_of_each_interval() {
    let (first, second) = (point(), after(point(), HOUR));
    check(
        None,
        &[
            (first - SignedDuration::from_secs(1), Happened::Woke, SleepsUntil(first)),
            (first, Happened::Woke, Does(Step::Send(Attempt::New))),
            (first, Happened::Ended(Ended::Done), SleepsUntil(second)),
            (second, Happened::Woke, Does(Step::Send(Attempt::New))),
        ],
    );
}

#[test]
fn a_point_that_passes_during_an_attempt_is_skipped() {
    let first = point();
    let late = after(first, HOUR + HOUR / 2);
    check(
        None,
        &[
            (first, Happened::Woke, Does(Step::Send(Attempt::New))),
            (late, Happened::Ended(Ended::Done), SleepsUntil(after(first, 2 * HOUR))),
        ],
    );
}

#[test]
fn a_vendor_that_is_away_is_tried_again_with_growing_waits_and_from_the_start_after_a_success() {
    let first = point();
    let again = after(first, jitter(0, 1));
    let third = after(again, jitter(1, 2));
    check(
        None,
        &[
            (first, Happened::Woke, Does(Step::Send(Attempt::New))),
            (first, away(None), SleepsUntil(again)),
            (again, Happened::Woke, Does(Step::Send(Attempt::Again))),
            (again, away(None), SleepsUntil(third)),
            (third, Happened::Woke, Does(Step::Send(Attempt::Again))),
            (third, Happened::Ended(Ended::Done), SleepsUntil(after(first, HOUR))),
            (after(first, HOUR), Happened::Woke, Does(Step::Send(Attempt::New))),
            (after(first, HOUR), away(None), SleepsUntil(after(after(first, HOUR), jitter(0, 1)))),
        ],
    );
}

#[test]
fn a_fault_of_this_machine_is_tried_again_after_five_minutes_without_backoff() {
    let first = point();
    let again = after(first, AFTER_FAULT);
    for fault in [Ended::UnknownCohort, Ended::SpoolFault, Ended::NotRecorded] {
        check(
            None,
            &[
                (first, Happened::Woke, Does(Step::Send(Attempt::New))),
                (first, Happened::Ended(fault), SleepsUntil(again)),
                (again, Happened::Woke, Does(Step::Send(Attempt::Again))),
                (again, Happened::Ended(fault), SleepsUntil(after(again, AFTER_FAULT))),
            ],
        );
    }
}

#[test]
fn retry_after_is_remembered_until_an_attempt_ends_without_one_and_a_point_in_between_takes_a_snapshot() {
    let (first, second) = (point(), after(point(), HOUR));
    let due = after(first, Duration::from_secs(5_000) + jitter(0, 1));
    check(
        None,
        &[
            (first, Happened::Woke, Does(Step::Send(Attempt::New))),
            (first, away(Some(5_000)), Does(Step::RetryAfter(Some(due)))),
            (first, Happened::Woke, SleepsUntil(second)),
            (second, Happened::Woke, Does(Step::Snapshot)),
            (second, Happened::Woke, SleepsUntil(due)),
            (due, Happened::Woke, Does(Step::Send(Attempt::Again))),
            (due, away(None), Does(Step::RetryAfter(None))),
            (due, Happened::Woke, SleepsUntil(after(due, jitter(1, 2)))),
        ],
    );
}

#[test]
fn a_retry_after_from_before_a_restart_is_honoured() {
    let first = point();
    let until = after(first, HOUR / 2);
    check(
        Some(until),
        &[
            (first, Happened::Woke, Does(Step::Snapshot)),
            (first, Happened::Woke, SleepsUntil(until)),
            (until, Happened::Woke, Does(Step::Send(Attempt::Again))),
            (until, Happened::Ended(Ended::Done), Does(Step::RetryAfter(None))),
            (until, Happened::Woke, SleepsUntil(after(first, HOUR))),
        ],
    );
}

#[test]
fn the_pod_reports_at_the_start_and_then_daily_and_a_report_goes_before_an_attempt() {
    let week = 7 * 24 * HOUR;
    let report = next_report(at(START), Phase::of_report(&salt()));
    let mut schedule = Schedule::new(&salt(), at(START), None);
    let mut next = |now, interval| schedule.next(now, interval, Happened::Woke);
    assert_eq!(next(at(START), week), Step::Report(PodReport::Startup));
    assert!(matches!(next(at(START), week), Step::Sleep { until, .. } if until <= report));
    assert_eq!(next(report, week), Step::Report(PodReport::Daily));
    let tomorrow = after(report, 24 * HOUR);
    assert!(matches!(next(report, week), Step::Sleep { until, .. } if until <= tomorrow));
    assert_eq!(next(tomorrow, HOUR), Step::Report(PodReport::Daily));
    assert_eq!(next(tomorrow, HOUR), Step::Send(Attempt::New));
}

#[test]
fn a_shorter_interval_acts_at_the_next_look() {
    let phase = Phase::of_flush(&salt());
    let mut schedule = Schedule::new(&salt(), at(START), None);
    schedule.next(at(START), HOUR, Happened::Woke);
    let due = next_flush(at(START), HOUR / 60, phase);
    let step = schedule.next(at(START), HOUR / 60, Happened::Woke);
    assert!(matches!(step, Step::Sleep { until, .. } if until == due), "{step:?}");
}

/// Waits for the next flush from [`START`] on. The clock moves on by what is slept, and in each nap it jumps by so many
/// seconds as `jumps` says, until there are no more. How long was slept in all, and after the last jump.
fn sleep_through(interval: Duration, jumps: &[i64]) -> (Duration, Duration) {
    let clock = FixedClock::new(at(START));
    let mut jumps = jumps.iter();
    let (mut slept, mut undisturbed) = (Duration::ZERO, Duration::ZERO);
    let mut schedule = Schedule::new(&salt(), clock.now(), None);
    loop {
        match schedule.next(clock.now(), interval, Happened::Woke) {
            Step::Report(_) => {}
            Step::Sleep { nap, .. } => {
                slept += nap;
                undisturbed += nap;
                clock.advance(SignedDuration::try_from(nap).unwrap());
                if let Some(jump) = jumps.next() {
                    clock.advance(SignedDuration::from_secs(*jump));
                    undisturbed = Duration::ZERO;
                }
            }
            Step::Send(_) => return (slept, undisturbed),
            step @ (Step::Snapshot | Step::RetryAfter(_)) => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_nap_is_bounded() {
    let check = |due: i64, expected: u64| {
        assert_eq!(nap(at(START), at(due)), Duration::from_secs(expected), "{due}");
    };
    check(START + 1, 1);
    check(START + 900, 900);
    check(START + 86_400, 900);
    assert_eq!(nap(Timestamp::MIN, Timestamp::MAX), LONGEST_NAP);
}

#[test]
fn a_clock_that_was_set_prolongs_no_wait_by_more_than_a_nap() {
    const YEAR: i64 = 31_536_000;
    let (undisturbed, _) = sleep_through(HOUR, &[]);
    assert!(undisturbed <= HOUR);
    for jumps in [&[-YEAR][..], &[-1], &[YEAR], &[YEAR, -YEAR], &[-10 * YEAR, 10 * YEAR], &[-60; 20]] {
        let (slept, after) = sleep_through(HOUR, jumps);
        assert!(after <= HOUR, "{jumps:?}: {after:?} after the last jump");
        let naps = u32::try_from(jumps.len()).unwrap() * LONGEST_NAP;
        assert!(slept <= HOUR + naps, "{jumps:?}: {slept:?}");
    }
}

proptest! {
    #[test]
    fn however_the_clock_jumps_an_interval_after_the_last_jump_it_is_due(
        seconds in 1_u64..700_000, jumps in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 0..8),
    ) {
        let interval = Duration::from_secs(seconds);
        prop_assert!(sleep_through(interval, &jumps).1 <= interval);
    }
}
