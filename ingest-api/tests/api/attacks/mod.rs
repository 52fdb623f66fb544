//! Each attack that we know of, in a file of its own that is named after it: what is tried, and when it is held off.
//!
//! Each is played twice: against the service as it is, and against what would be answered without the defence: by a
//! plainer rule applied to what was sent, or as that rule's answer written down, for the service has no switch that
//! turns a defence off. A test that the attack wins in the second case shows that the first could fail. Attacks on the
//! Pod's side are played in `pod-proxy/tests/`.

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
mod rare_value;
mod reader_of_an_open_window;
mod replays_across_a_restart;
mod same_subject_in_two_windows;
mod two_insights_together;

use std::collections::BTreeMap;

use crate::support::Service;
use ingest_api::window::WindowKind;

/// Whether the defence that an attack is about is there, or an answer as it would be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defence {
    On,
    Off,
}

/// How many installations each Pod has in each cell of a family: the truth, which no reader has.
type Cells = BTreeMap<&'static str, Vec<u64>>;

/// The rule that suggests itself, in place of folding: the cells that `safe` lets pass, each with its exact number.
fn without_folding(cells: &Cells, safe: impl Fn(&[u64]) -> bool) -> BTreeMap<String, u64> {
    let passed = cells.iter().filter(|(_, by_pod)| safe(by_pod));
    passed.map(|(label, by_pod)| ((*label).to_owned(), by_pod.iter().sum())).collect()
}

/// What is published of a family of Pods' installations in the first day's window, when it has been closed.
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

/// Reports of installations on the platforms that `cells` has, through their Pods.
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
