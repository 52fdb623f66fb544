//! What the fleet knows about itself → what must be published about it.
//!
//! Nothing here uses the proxy's filter or the vendor's intake. Reporters have the fleet's own numbers,
//! policies mean what was declared, and values are those of the catalogue. Only the rules of what is safe to
//! publish are the vendor's.

use std::collections::{BTreeMap, BTreeSet};

use ingest_api::release::{Family, Population, Tally, Threshold};
use ingest_api::window::{Window, WindowKind};
use jiff::ToSpan;
use jiff::civil::Date;
use shared::code::Coded;
use shared::data_point::Reporter;
use shared::event::{App, Observed, Pod};
use shared::platform::Platform;
use shared::size::SizeBin;

use crate::fleet::{Day, Fleet, Sent};

/// The numbers of one family: each block's label and published number, sorted by label.
pub type Numbers = Vec<(String, u64)>;

/// Everything that is published, by window, population and family. A family without a published number is
/// absent.
pub type Releases = BTreeMap<(Window, Population, Family), Numbers>;

/// The distinct reporters of each window, with what they reported.
#[derive(Debug, Default)]
pub struct Truth {
    windows: BTreeMap<Window, Reporters>,
    domains: BTreeMap<Window, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Reporters {
    installations: BTreeMap<(Population, usize, usize), Said<App>>,
    pods: BTreeMap<usize, Said<Pod>>,
}

/// The codes that a reporter reported in a window.
type Said<R> = <R as Reporter>::Codes;

/// Keeps the greater code of each data point.
fn merge(kept: &mut impl AsMut<[u64]>, other: &impl AsRef<[u64]>) {
    for (kept, other) in kept.as_mut().iter_mut().zip(other.as_ref()) {
        *kept = (*kept).max(*other);
    }
}

impl Truth {
    /// Adds what counts of a day.
    pub fn observe(&mut self, fleet: &Fleet, day: &Day) {
        for kind in WindowKind::ALL {
            let window = Window::of_day(kind, day.date);
            let reporters = self.windows.entry(window).or_default();
            for today in &day.pods {
                let pod = &fleet.pods()[today.pod];
                let means = &pod.policy.means;
                if !means.sends(today.accounts) {
                    continue;
                }
                let said = [
                    today.version.filter(|_| means.pod_version).to_code(),
                    today.accounts.filter(|_| means.pod_size).map(SizeBin::of).to_code(),
                ];
                merge(reporters.pods.entry(today.pod).or_default(), &said);
                for sent in &today.events {
                    let shared = |(written, platform): &(&str, Observed<Platform>)| {
                        (means.platform)(written, &platform.to_string())
                    };
                    let app_version = Some(sent.says.app_version).filter(|_| means.app_version);
                    let platform = sent.says.platform.filter(shared).map(|(_, platform)| platform);
                    let language = sent.says.language.filter(|_| means.language);
                    let mut said = vec![
                        app_version.unwrap_or_default().to_code(),
                        platform.to_code(),
                        language.to_code(),
                    ];
                    said.extend(sent.says.others.iter().map(|code| if means.others { *code } else { 0 }));
                    reporters.saw(Population::Pod, sent, &said);
                }
                if means.domain && kind == WindowKind::Week {
                    self.domains.entry(window).or_default().insert(pod.domain().as_str().to_owned());
                }
            }
            for sent in &day.direct {
                let platform = sent.says.platform.map(|(_, platform)| platform);
                let mut said =
                    vec![sent.says.app_version.to_code(), platform.to_code(), sent.says.language.to_code()];
                said.extend(&sent.says.others);
                reporters.saw(Population::Direct, sent, &said);
            }
        }
    }

    /// The windows with reports.
    pub fn windows(&self) -> impl Iterator<Item = Window> {
        self.windows.keys().copied()
    }

    /// The domains known on `today`, each with the Monday of the week of its last report. A domain that was
    /// not reported in the two previous weeks is gone.
    pub fn domains(&self, today: Date) -> BTreeSet<(String, String)> {
        let this_week = Window::of_day(WindowKind::Week, today).start();
        let mut last_seen = BTreeMap::new();
        for (week, domains) in &self.domains {
            last_seen.extend(domains.iter().map(|domain| (domain.clone(), week.start())));
        }
        let known = last_seen.into_iter().filter(|(_, week)| *week >= this_week.saturating_sub(2.weeks()));
        known.map(|(domain, week)| (domain, week.to_string())).collect()
    }

    /// What must be published about the windows for which `threshold` gives a threshold: the closed ones.
    pub fn releases(&self, threshold: impl Fn(Window) -> Option<Threshold>) -> Releases {
        let mut releases = Releases::new();
        for (window, reporters) in &self.windows {
            let Some(threshold) = threshold(*window) else { continue };
            for population in Population::ALL {
                for tally in reporters.tallies(population) {
                    for (family, blocks) in tally.publish(&threshold) {
                        if !blocks.is_empty() {
                            let numbers = blocks
                                .iter()
                                .map(|block| (block.label().to_owned(), block.published()))
                                .collect();
                            releases.insert((*window, population, family), numbers);
                        }
                    }
                }
            }
        }
        releases
    }

    /// The exact number of distinct installations and Pods in a window. For tests, never for a page.
    pub fn distinct(&self, window: Window) -> (usize, usize) {
        self.windows
            .get(&window)
            .map_or((0, 0), |reporters| (reporters.installations.len(), reporters.pods.len()))
    }
}

impl Reporters {
    fn saw(&mut self, population: Population, sent: &Sent, said: &Vec<u64>) {
        let (owner, number) = sent.installation;
        merge(self.installations.entry((population, owner, number)).or_default(), said);
    }

    /// All reporters of a population, by unit.
    fn tallies(&self, population: Population) -> Vec<Tally> {
        let mut installations = Tally::of::<App>();
        for ((_, owner, _), said) in self.installations.iter().filter(|((of, ..), _)| *of == population) {
            let said = installations.said(said);
            installations.add(*owner as i64, said);
        }
        let mut pods = Tally::of::<Pod>();
        for (pod, said) in &self.pods {
            let said = pods.said(said);
            pods.add(*pod as i64, said);
        }
        match population {
            Population::Pod => vec![pods, installations],
            Population::Direct => vec![installations],
        }
    }
}

/// The differences between what is published and what must be, a readable line for each family.
pub fn differences(expected: &Releases, found: &Releases) -> Vec<String> {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let none = Numbers::new();
    keys.into_iter()
        .filter_map(|key| {
            let (expected, found) = (expected.get(key).unwrap_or(&none), found.get(key).unwrap_or(&none));
            let (window, population, family) = key;
            let only = |these: &Numbers, those: &Numbers| {
                let rows: Vec<_> = these
                    .iter()
                    .filter(|row| !those.contains(row))
                    .map(|(label, number)| format!("{label} {number}"))
                    .collect();
                if rows.is_empty() { "nothing else".to_owned() } else { rows.join(", ") }
            };
            (expected != found).then(|| {
                format!(
                    "{window}, {} {}: expected {}; published {}",
                    population.as_str(),
                    family.as_str(),
                    only(expected, found),
                    only(found, expected),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::fleet::FleetSize;

    fn truth(times: usize) -> Truth {
        let fleet = Fleet::new(7, FleetSize::SMALL, date(2026, 8, 24));
        let mut truth = Truth::default();
        for day in fleet.days() {
            (0..times).for_each(|_| truth.observe(&fleet, &day));
        }
        truth
    }

    #[test]
    fn something_of_every_family_is_published_about_the_small_fleet() {
        let releases = truth(1).releases(|_| Some(Threshold::default()));
        for population in Population::ALL {
            for family in Family::of_population(population) {
                let published = releases.keys().any(|(_, p, f)| (*p, *f) == (population, family));
                assert!(published, "{} {}", population.as_str(), family.as_str());
            }
        }
    }

    #[test]
    fn to_see_everything_twice_changes_nothing() {
        let threshold = |_| Some(Threshold::default());
        assert_eq!(truth(1).releases(threshold), truth(2).releases(threshold));
    }

    #[test]
    fn a_number_that_differs_is_named() {
        let expected = truth(1).releases(|_| Some(Threshold::default()));
        let mut found = expected.clone();
        let key = *found.keys().next().unwrap();
        found.get_mut(&key).unwrap()[0].1 += 5;
        assert_eq!(differences(&expected, &expected), Vec::<String>::new());
        assert_eq!(differences(&expected, &found).len(), 1);
    }
}
