//! A simulated fleet: Pods, XMPP servers and installations, and what each sends on each day of a play.
//!
//! Everything follows from the seed. A day can be generated in any order, and is the same each time.
//!
//! What a Pod reports about itself changes from day to day. An installation may upgrade, or choose another
//! language, between two events of a day. No Pod has more installations than its size allows, so the vendor
//! counts all of them.

mod catalogue;
mod choice;
mod installation;
mod pod;
mod policy;

use jiff::civil::Date;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use shared::event::Observed;
use shared::version::Version;

use choice::{choose, heavy_tailed};
pub use installation::{Installation, Says};
pub use pod::{Pod, Server};
pub use policy::{Meaning, POLICIES, PodPolicy};

/// The size of a fleet, and the length of the play.
#[derive(Clone, Copy, Debug)]
pub struct FleetSize {
    /// All Pods.
    pub pods: usize,
    /// How many Pods get a real proxy: the first ones. Each has another policy, as long as there are enough.
    pub real_pods: usize,
    /// The number of accounts of the largest Pod.
    pub largest_pod: u32,
    /// Plain XMPP servers.
    pub servers: usize,
    /// The number of days.
    pub days: u16,
}

impl FleetSize {
    /// The play of `deploy/run`: 300 Pods and some thousand installations, for three months.
    pub const DEMO: Self = Self { pods: 300, real_pods: 17, largest_pod: 320, servers: 14, days: 92 };
    /// Large enough that something is published, and small enough for a test.
    pub const SMALL: Self = Self { pods: 40, real_pods: 4, largest_pod: 40, servers: 8, days: 9 };
}

/// The fleet.
#[derive(Debug)]
pub struct Fleet {
    seed: u64,
    first_day: Date,
    size: FleetSize,
    pods: Vec<Pod>,
    servers: Vec<Server>,
}

/// What the fleet sends on one day.
#[derive(Debug)]
pub struct Day {
    /// The number of the day, from 0.
    pub number: u16,
    /// Its date.
    pub date: Date,
    /// The Pods that are running.
    pub pods: Vec<PodDay>,
    /// The events of installations without a Pod.
    pub direct: Vec<Sent>,
}

/// A Pod on one day.
#[derive(Debug)]
pub struct PodDay {
    /// Its number in the fleet.
    pub pod: usize,
    /// How many accounts it has; `None` if it does not know.
    pub accounts: Option<u32>,
    /// Its version, as it reports it.
    pub version: Option<Observed<Version>>,
    /// Whether it was started on this day, with another version than before.
    pub started: bool,
    /// The events that its installations send to it.
    pub events: Vec<Sent>,
}

/// An event, as an app wrote it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The number of the Pod or server, and of the installation in it.
    pub installation: (usize, usize),
    /// The body of the request.
    pub json: String,
    /// What it reports, in normal form.
    pub says: Says,
}

impl Fleet {
    /// The fleet that follows from `seed`.
    pub fn new(seed: u64, size: FleetSize, first_day: Date) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let pods = (0..size.pods)
            .map(|number| {
                let real = number < size.real_pods;
                let chosen = choose(&mut rng, POLICIES);
                let policy = if real { &POLICIES[number % POLICIES.len()].1 } else { chosen };
                let plan = pod::Plan { number, days: size.days, largest: size.largest_pod, policy, real };
                Pod::new(&mut rng, &plan)
            })
            .collect();
        let servers = (0..size.servers)
            .map(|number| {
                let installations = heavy_tailed(&mut rng, 8, 120) as usize;
                Server::new(&mut rng, number, installations, size.days)
            })
            .collect();
        Self { seed, first_day, size, pods, servers }
    }

    /// Its scale.
    pub fn size(&self) -> FleetSize {
        self.size
    }

    /// The first day of the play.
    pub fn first_day(&self) -> Date {
        self.first_day
    }

    /// Its Pods; those with a real proxy come first.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Its plain XMPP servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Every day, in order.
    pub fn days(&self) -> impl Iterator<Item = Day> {
        (0..self.size.days).map(|number| self.day(number))
    }

    /// What the fleet sends on a day.
    pub fn day(&self, number: u16) -> Day {
        let mut rng = StdRng::seed_from_u64(self.seed.rotate_left(32) ^ u64::from(number) ^ 0x000F_1EE7);
        let date = pod::date(self.first_day, number);
        let day = i32::from(number);
        let mut sent = |owner: usize, installations: &[Installation], up: bool| {
            let mut events = Vec::new();
            for (n, installation) in installations.iter().enumerate() {
                let times = *choose(&mut rng, &[(75, 1), (20, 2), (5, 3)]);
                if installation.is_used(&mut rng, day, date) && up {
                    events.extend((0..times).map(|time| {
                        // The first of several events may still be from before a change.
                        let state = if time + 1 < times { day - 1 } else { day };
                        Sent {
                            installation: (owner, n),
                            json: installation.event(&mut rng, state),
                            says: installation.says(state),
                        }
                    }));
                }
            }
            events
        };
        let mut up = StdRng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(u64::from(number)));
        let mut pods = Vec::new();
        for (number, pod) in self.pods.iter().enumerate() {
            let is_up = pod.is_up(&mut up, day);
            let events = sent(number, &pod.installations, is_up);
            if is_up {
                let version = pod.version(day);
                pods.push(PodDay {
                    pod: number,
                    accounts: pod.accounts(day, self.size.days),
                    version,
                    started: version != pod.version(day - 1),
                    events,
                });
            }
        }
        let direct = self
            .servers
            .iter()
            .enumerate()
            .flat_map(|(number, server)| sent(number, &server.installations, true))
            .collect();
        let mut day = Day { number, date, pods, direct };
        day.mix(&mut rng);
        day
    }
}

/// Shuffles `items`.
pub(crate) fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for n in (1..items.len()).rev() {
        items.swap(n, rng.random_range(0..=n));
    }
}

impl Day {
    /// Shuffles the events of each Pod, and those without a Pod.
    pub fn mix(&mut self, rng: &mut impl Rng) {
        let lists = self.pods.iter_mut().map(|pod| &mut pod.events).chain([&mut self.direct]);
        lists.for_each(|list| shuffle(rng, list));
    }

    /// Repeats every event this many times.
    pub fn repeat(&mut self, times: usize) {
        let lists = self.pods.iter_mut().map(|pod| &mut pod.events).chain([&mut self.direct]);
        lists.for_each(|list| *list = std::iter::repeat_n(&*list, times).flatten().cloned().collect());
    }

    /// The number of events, without those of the Pods themselves.
    pub fn events(&self) -> usize {
        self.pods.iter().map(|pod| pod.events.len()).sum::<usize>() + self.direct.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::date;
    use shared::config::parse_toml;
    use shared::event::Event;
    use shared::policy::Policy;

    use super::*;

    fn fleet() -> Fleet {
        Fleet::new(7, FleetSize::SMALL, date(2026, 8, 24))
    }

    #[test]
    fn a_fleet_follows_from_its_seed() {
        let written = |fleet: Fleet| format!("{:?}", fleet.days().collect::<Vec<_>>());
        assert_eq!(written(fleet()), written(fleet()));
        assert_ne!(written(fleet()), written(Fleet::new(8, FleetSize::SMALL, date(2026, 8, 24))));
    }

    #[test]
    fn what_is_sent_is_an_event() {
        for day in fleet().days() {
            for sent in day.pods.iter().flat_map(|pod| &pod.events).chain(&day.direct) {
                assert!(Event::from_json(sent.json.as_bytes()).is_ok(), "{}", sent.json);
            }
        }
    }

    #[test]
    fn some_change_between_two_events_of_a_day() {
        let mut changes = 0;
        for day in fleet().days() {
            let mut said = std::collections::BTreeMap::new();
            for sent in day.pods.iter().flat_map(|pod| &pod.events) {
                let says = format!("{:?}", sent.says);
                changes +=
                    usize::from(*said.entry(sent.installation).or_insert_with(|| says.clone()) != says);
            }
        }
        assert!(changes > 10, "{changes}");
    }

    #[test]
    fn every_policy_is_a_configuration_and_its_name_is_its_own() {
        let mut names = BTreeSet::new();
        for (_, policy) in POLICIES {
            let document = parse_toml(policy.toml).unwrap();
            Policy::resolve(&document).unwrap_or_else(|mistakes| panic!("{}: {mistakes}", policy.name));
            assert!(names.insert(policy.name));
        }
    }

    #[test]
    fn versions_roll_through_and_there_is_a_weekend() {
        let fleet = Fleet::new(7, FleetSize { pods: 60, ..FleetSize::DEMO }, date(2026, 8, 24));
        let versions = |day| {
            let day = fleet.day(day);
            day.pods.iter().filter_map(|pod| pod.version).collect::<BTreeSet<_>>()
        };
        assert_ne!(versions(0), versions(91));
        assert!(fleet.day(5).events() * 2 < fleet.day(4).events(), "a Saturday after a Friday");
    }

    #[test]
    fn the_demo_has_the_size_that_it_says() {
        let fleet = Fleet::new(1, FleetSize::DEMO, date(2026, 8, 24));
        let installations: usize = fleet.pods().iter().map(|pod| pod.installations.len()).sum();
        let direct: usize = fleet.servers().iter().map(|server| server.installations.len()).sum();
        assert!((3_000..9_000).contains(&installations), "{installations}");
        assert!((200..900).contains(&direct), "{direct}");
    }
}
