//! The records of a window, one for each reporter → tallies of all reporters that count. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use shared::data_point::{MetaUserCount, decode};
use shared::event;

use super::allowance::{UNDECLARED, allowance};
use super::{Said, Tally};
use crate::window::codes::{InstallationCodes, unpack};
use crate::window::record::{Installation, Pod, Record};
use crate::window::{Population, Subject};

/// The reporters of a window, counted.
#[derive(Debug)]
pub struct Counted {
    /// The tally of each population and unit that occurs.
    pub tallies: Vec<(Population, Tally)>,
    /// How many Pods exceed their [`allowance`]; the excess is in no tally. The order of subjects, which is
    /// random, decides which installations count.
    pub capped: usize,
}

/// Counts reporters, each once.
#[derive(Debug)]
pub struct Count {
    pods: Tally,
    /// Of the Pods that reported, with a size or without.
    allowances: HashMap<Subject, u64, RandomState>,
    /// By population: installations of Pods, and of XMPP servers.
    installations: [Installations; 2],
    /// Records that were added and not counted yet.
    waiting: Vec<Record>,
}

/// How many records are counted at a time.
const AT_A_TIME: usize = 4_096;

impl Default for Count {
    fn default() -> Self {
        let [of_pods, direct] = [Population::Pod, Population::Direct].map(Installations::of);
        let waiting = Vec::with_capacity(AT_A_TIME);
        Self {
            pods: Tally::of::<event::Pod>(),
            allowances: HashMap::default(),
            installations: [of_pods, direct],
            waiting,
        }
    }
}

impl Count {
    /// Adds a reporter.
    pub fn add(&mut self, record: Record) {
        self.waiting.push(record);
        if self.waiting.len() == AT_A_TIME {
            self.count_waiting();
        }
    }

    fn count_waiting(&mut self) {
        let of = |population| {
            self.waiting.iter().filter_map(move |record| match record {
                Record::Installation(installation) if installation.population == population => {
                    Some(installation)
                }
                Record::Installation(_) | Record::Pod(_) => None,
            })
        };
        let [of_pods, direct] = &mut self.installations;
        of_pods.add(of(Population::Pod));
        direct.add(of(Population::Direct));
        for record in &self.waiting {
            let Record::Pod(Pod { subject, codes }) = record else { continue };
            let codes = unpack::<event::Pod>(codes);
            let said = self.pods.said(codes);
            self.pods.add(subject.as_i64(), said);
            self.allowances.insert(*subject, allowance(decode::<MetaUserCount>(&codes).flatten()));
        }
        self.waiting.clear();
    }

    /// The tallies, without what Pods have beyond their allowances.
    pub fn finish(mut self) -> Counted {
        self.count_waiting();
        let mut counted = Counted { tallies: vec![(Population::Pod, self.pods)], capped: 0 };
        for installations in self.installations {
            let allowances = &self.allowances;
            let population = installations.population;
            let allowed = |pod| match population {
                Population::Pod => allowances.get(&pod).copied().unwrap_or(UNDECLARED),
                Population::Direct => UNDECLARED,
            };
            let (tally, capped) = installations.tally(allowed);
            counted.tallies.push((population, tally));
            counted.capped += capped;
        }
        counted
    }
}

/// The installations of one population during the count. There may be millions, at eight bytes each.
#[derive(Debug)]
struct Installations {
    population: Population,
    tally: Tally,
    /// Each combination of codes.
    said: HashMap<InstallationCodes, Said, RandomState>,
    /// The index of each Pod in the list of Pods.
    places: HashMap<Subject, u32, RandomState>,
    pods: Vec<Subject>,
    /// The Pod index of each installation, with what it said.
    all: Vec<(u32, Said)>,
}

impl Installations {
    fn of(population: Population) -> Self {
        let (said, places, pods, all) = Default::default();
        Self { population, tally: Tally::of::<event::App>(), said, places, pods, all }
    }

    fn add<'a>(&mut self, records: impl Iterator<Item = &'a Installation> + Clone) {
        // The Pods do not fit into the processor's caches. Looking them up in a loop of its own lets the
        // processor wait for several of them at once.
        let known: Vec<Option<u32>> =
            records.clone().map(|record| self.places.get(&record.pod).copied()).collect();
        for (record, place) in records.zip(known) {
            let Installation { pod, codes, .. } = *record;
            let place = place.unwrap_or_else(|| {
                *self.places.entry(pod).or_insert_with(|| {
                    self.pods.push(pod);
                    self.pods.len() as u32 - 1
                })
            });
            let said =
                *self.said.entry(codes).or_insert_with(|| self.tally.said(unpack::<event::App>(&codes)));
            self.all.push((place, said));
        }
    }

    /// The tally within the allowances, and how many Pods exceed theirs.
    fn tally(self, allowed: impl Fn(Subject) -> u64) -> (Tally, usize) {
        let Self { mut tally, pods, all, .. } = self;
        tally.reserve(all.len());
        let (mut said, ends) = by_pod(all, pods.len());
        let (mut start, mut capped) = (0, 0);
        for (pod, end) in pods.into_iter().zip(ends) {
            let allowed = usize::try_from(allowed(pod)).unwrap_or(usize::MAX);
            let end = end as usize;
            capped += usize::from(end - start > allowed);
            let counted = &mut said[start..end.min(start.saturating_add(allowed))];
            counted.sort_unstable();
            counted.iter().for_each(|said| tally.add(pod.as_i64(), *said));
            start = end;
        }
        (tally, capped)
    }
}

/// What was said, grouped by Pod, and where each Pod's part ends. The order within a Pod stays.
fn by_pod(all: Vec<(u32, Said)>, pods: usize) -> (Vec<Said>, Vec<u32>) {
    // Counts for each Pod first, then the start of its part, finally its end.
    let mut places = vec![0; pods];
    all.iter().for_each(|(pod, _)| places[*pod as usize] += 1);
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    let mut said = vec![Said::default(); all.len()];
    for (pod, one) in all {
        let place = &mut places[pod as usize];
        said[*place as usize] = one;
        *place += 1;
    }
    (said, places)
}
