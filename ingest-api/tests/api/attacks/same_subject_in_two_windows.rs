//! The attack: with a copy of the tables of two windows, look for the same reporter in both, to follow it
//! over time.
//!
//! The defence holds if no subject, of a Pod or an installation, is in two windows, though all of them report
//! in each. In the case without the defence, the service finds the first day's key in place of the second's.

use std::collections::BTreeSet;

use super::*;
use crate::support::ten_pods;

async fn subjects(service: &Service, id: i32) -> BTreeSet<String> {
    let sql = format!(
        "SELECT subject::text FROM (
             SELECT subject FROM intake.reporters({id}) UNION SELECT pod FROM intake.reporters({id})) AS subjects"
    );
    service.query(&sql).await.unwrap().into_iter().collect()
}

/// How many subjects are in two windows.
async fn attack(defence: Defence) -> usize {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    if defence == Defence::Off {
        // One key for two days.
        let (today, tomorrow) = ("day-2026-11-22.key", "day-2026-11-23.key");
        std::fs::copy(service.key_file(today), service.key_file(tomorrow)).unwrap();
    }
    service.set_clock("2026-11-23T00:00:10Z");
    service.report(&ten_pods(6)).await;
    service.merge().await;
    let windows = service.database().open_windows().await.unwrap();
    assert_eq!(windows.len(), 5, "two days, two weeks and a month");
    let mut seen = BTreeSet::new();
    let mut twice = 0;
    for window in windows {
        let subjects = subjects(&service, window.id).await;
        assert_eq!(subjects.len(), 70);
        twice += subjects.into_iter().filter(|subject| !seen.insert(subject.clone())).count();
    }
    service.app.shutdown().await;
    twice
}

#[tokio::test(flavor = "multi_thread")]
async fn no_subject_is_in_two_windows() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_key_for_two_days_every_reporter_can_be_followed() {
    assert_eq!(attack(Defence::Off).await, 70);
}
