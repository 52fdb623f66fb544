//! Every known attack has a file named after it, which says what the attacker does, and when the defence
//! holds.
//!
//! Each attack is played twice: against the service, and against the service without the defence in question.
//! If the attack wins the second time, the first test is able to fail. The service has no switch that turns a
//! defence off, so the second case runs the same code with
//!
//! - another [`Threshold`], which no configuration can express: without its numbers, or without the audit;
//! - a change in its database, made by SQL: a right granted, a constraint dropped, a function without its
//!   defence, or a trigger that changes what is written ([`tamper`]);
//! - a key directory that was copied or changed.
//!
//! Some defences consist in something not being there. Then the file says so, and why its second case is
//! equivalent. Attacks on the Pod's side are played in `pod-proxy/tests/api/attacks/`.

mod complement_subtraction;
mod dump_after_close;
mod fakes_from_one_address;
mod families_whose_totals_differ;
mod identifiers_in_logs;
mod key_bytes;
mod largest_contributor_subtracts_itself;
mod one_company_behind_a_cell;
mod one_installation_more;
mod one_pod_with_thousands;
mod order_of_arrival;
mod rare_value;
mod reader_of_an_open_window;
mod replays_across_a_restart;
mod row_counts;
mod same_subject_in_two_windows;
mod two_insights_together;

use std::collections::BTreeMap;

use ingest_api::release::{Threshold, bounds};
use ingest_api::window::{Window, WindowKind};

use crate::support::{Service, mutate};

/// Whether the defence of an attack is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defence {
    On,
    Off,
}

/// Platforms, and how many installations each Pod has on each: the truth, which no reader has.
type Cells = BTreeMap<&'static str, Vec<u64>>;

/// A threshold that everything passes. Each attack restores the conditions that it is not about.
#[expect(clippy::disallowed_methods, reason = "what an attack finds without a threshold")]
fn no_threshold() -> Threshold {
    Threshold::absent()
}

/// A service with this threshold.
async fn service_with(threshold: Threshold) -> Service {
    Service::start_with(|config| config.thresholds = threshold.into()).await
}

/// Makes the database change what the service writes to a table, in PL/pgSQL; `RETURN NULL` drops a row.
async fn tamper(service: &Service, event: &str, table: &str, change: &str) {
    let function = format!(
        "CREATE OR REPLACE FUNCTION public.tamper() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN {change}; RETURN NEW; END $$"
    );
    service.query(&function).await.unwrap();
    let trigger = format!(
        "CREATE TRIGGER tamper BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION public.tamper()"
    );
    service.query(&trigger).await.unwrap();
}

/// The window of the day on which a service starts.
fn first_day() -> Window {
    Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap())
}

/// A service that folds; or one that does not fold, and hides the blocks that match an SQL condition.
async fn service_that_folds(defence: Defence, or_hides: &str) -> Service {
    match defence {
        Defence::On => Service::start().await,
        Defence::Off => {
            let service = service_with(no_threshold()).await;
            let hide = format!("IF {or_hides} THEN RETURN NULL; END IF");
            tamper(&service, "INSERT", "release.block", &hide).await;
            service
        }
    }
}

/// Closes the first day's window, and returns what is published of a family of Pods' installations.
async fn published(service: &Service, family: &str) -> BTreeMap<String, u64> {
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    released
        .into_iter()
        .filter(|(population, of, ..)| (*population, *of) == ("pod", family))
        .map(|(_, _, label, number)| (label, number))
        .collect()
}

/// The published number of a label, for the platforms in `cells`.
async fn published_of(label: &str, cells: &Cells, threshold: Threshold) -> Option<u64> {
    let service = service_with(threshold).await;
    report(&service, cells).await;
    let platforms = published(&service, "platforms").await;
    let everybody = published(&service, "installations").await;
    service.app.shutdown().await;
    assert!(!everybody.is_empty(), "something is published");
    assert_eq!(certainly_left_over(&everybody, &platforms), 0, "nobody is left out: {platforms:?}");
    platforms.get(label).copied()
}

/// How many of those in `whole` are certain to be in none of the `parts`, given the rounding.
fn certainly_left_over(whole: &BTreeMap<String, u64>, parts: &BTreeMap<String, u64>) -> u64 {
    let least: u64 = whole.values().map(|number| bounds(*number).0).sum();
    let most: u64 = parts.values().map(|number| bounds(*number).1).sum();
    least.saturating_sub(most)
}

/// Reports of installations on the platforms in `cells`, through their Pods.
async fn report(service: &Service, cells: &Cells) {
    let mut events = Vec::new();
    let mut number = 0..;
    for (platform, by_pod) in cells {
        for (pod, n) in (0..).zip(by_pod) {
            let mine = number.by_ref().take(*n as usize);
            events.extend(mine.map(|number| crate::support::proxied(pod, number, "1.0.0", platform, "en")));
        }
    }
    service.report(&events).await;
}
