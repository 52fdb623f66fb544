//! What all reporters of one population said → the blocks of all its families, each folded alone. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use shared::data_point::{CountedPoint, Reporter, Unit};

use super::cohort::Cohort;
use super::family::{FamilyId, tree};
use super::fold::{Block, Tree, fold};
use super::judge::Judge;
use super::noise::Noise;
use super::threshold::{Rule, Threshold};
use crate::window::Population;

/// The distinct reporters of one population, counted by everything that they said.
#[derive(Clone, Debug)]
pub struct Tally {
    rule: Rule,
    /// The family that only has a total.
    everybody: FamilyId,
    values: Vec<Values>,
    /// Each combination of values: by family, the number of the value.
    said: Vec<Vec<u32>>,
    said_numbers: HashMap<Vec<u32>, u32, RandomState>,
    pod_numbers: HashMap<i64, u32, RandomState>,
    /// The Pod that was added last, and its number.
    last_pod: Option<(i64, u32)>,
    counts: Vec<Group>,
}

/// How many reporters of a Pod said the same. There may be millions of these.
#[derive(Clone, Copy, Debug)]
struct Group {
    said: u32,
    pod: u32,
    reporters: u32,
}

/// What a reporter said: a number that a [`Tally`] gave to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said(u32);

/// The values of one family that occur.
#[derive(Clone, Debug)]
struct Values {
    family: FamilyId,
    point: &'static CountedPoint,
    codes: Vec<u64>,
    numbers: HashMap<u64, u32, RandomState>,
}

impl Tally {
    /// An empty tally of installations ([`App`](shared::event::App)) or Pods ([`Pod`](shared::event::Pod)).
    pub fn of<R: Reporter>() -> Self {
        let families = || FamilyId::ALL.into_iter().filter(|family| family.unit() == R::UNIT);
        let everybody = if R::UNIT == Unit::Pod { FamilyId::PODS } else { FamilyId::INSTALLATIONS };
        let values = families().filter_map(|family| Some(Values::of(family, family.point()?)));
        Self::new(everybody, values.collect())
    }

    fn new(everybody: FamilyId, values: Vec<Values>) -> Self {
        let (said, said_numbers, pod_numbers) = Default::default();
        let rule = everybody.rule();
        Self { rule, everybody, values, said, said_numbers, pod_numbers, last_pod: None, counts: Vec::new() }
    }

    /// The number of what a reporter said, by the codes of its data points in the order of the registry.
    pub fn said(&mut self, codes: impl AsRef<[u64]>) -> Said {
        debug_assert_eq!(self.values.len(), codes.as_ref().len(), "a code for each data point");
        let values = self.values.iter_mut().zip(codes.as_ref());
        let numbers: Vec<u32> = values.map(|(values, code)| values.number(*code)).collect();
        let next = self.said.len() as u32;
        let number = *self.said_numbers.entry(numbers).or_insert_with_key(|numbers| {
            self.said.push(numbers.clone());
            next
        });
        Said(number)
    }

    /// Makes room for this many reporters, so that the list is not moved while it grows.
    pub fn reserve(&mut self, reporters: usize) {
        self.counts.reserve_exact(reporters);
    }

    /// Adds a reporter of a Pod: an installation, or the Pod itself. It is fastest and smallest if the
    /// reporters of a Pod arrive together, and within a Pod those that said the same.
    pub fn add(&mut self, pod: i64, Said(said): Said) {
        debug_assert!((said as usize) < self.said.len(), "said by a reporter of this tally");
        let next = self.pod_numbers.len() as u32;
        let number = match self.last_pod {
            Some((last, number)) if last == pod => number,
            _ => *self.pod_numbers.entry(pod).or_insert(next),
        };
        self.last_pod = Some((pod, number));
        let pod = number;
        match self.counts.last_mut() {
            Some(last) if last.pod == pod && last.said == said => {
                last.reporters = last.reporters.saturating_add(1);
            }
            _ => self.counts.push(Group { said, pod, reporters: 1 }),
        }
    }

    /// What is published: the blocks of each family, sorted by label. Each family is decided from its own
    /// numbers, and never by what two say together.
    ///
    /// Without noise, nothing is published where installations are counted, unless the threshold says that it
    /// is exact.
    pub fn publish(
        &self,
        population: Population,
        threshold: &Threshold,
        noise: Option<&Noise>,
    ) -> Vec<(FamilyId, Vec<Block>)> {
        let judge = |family| match self.rule {
            Rule::Installations if threshold.is_noisy() => {
                Some(Judge { rule: self.rule, threshold, noise: Some((noise?, population, family)) })
            }
            rule => Some(Judge { rule, threshold, noise: None }),
        };
        let total = |judge: Judge<'_>| {
            let everybody = self.cohorts(1, |_| Some(0)).into_iter().next().unwrap_or_default();
            Block::total(everybody, &judge).into_iter().collect()
        };
        let total = (self.everybody, judge(self.everybody).map(total).unwrap_or_default());
        let folded = self.values.iter().enumerate().map(|(n, values)| {
            let blocks = judge(values.family).map(|judge| fold(self.tree(n), &judge));
            (values.family, blocks.unwrap_or_default())
        });
        let mut published: Vec<_> = std::iter::once(total).chain(folded).collect();
        // The last line of defence, whatever the code above does.
        for (_, blocks) in &mut published {
            blocks.retain(|block| threshold.safe(self.rule, block.cohort()));
        }
        published
    }

    fn tree(&self, n: usize) -> Tree {
        let Values { point, codes, .. } = &self.values[n];
        let cohorts = self.cohorts(codes.len(), |said| Some(said[n] as usize));
        let cells = codes.iter().zip(cohorts).filter(|(_, cohort)| !cohort.is_empty());
        tree(cells.map(|(code, cohort)| ((point.path)(*code), cohort)))
    }

    /// Sorts all reporters into `number` cohorts by what they said. Leaves out those without a cohort.
    fn cohorts(&self, number: usize, cohort_of: impl Fn(&[u32]) -> Option<usize>) -> Vec<Cohort> {
        // One more, for those that are left out.
        let cohort_of: Vec<u32> =
            self.said.iter().map(|said| cohort_of(said).unwrap_or(number) as u32).collect();
        let mut by_pod: Vec<Vec<(u32, u32)>> = vec![Vec::new(); number];
        for Group { said, pod, reporters } in &self.counts {
            let Some(by_pod) = by_pod.get_mut(cohort_of[*said as usize] as usize) else { continue };
            match by_pod.last_mut() {
                Some((last, sum)) if last == pod => *sum = sum.saturating_add(*reporters),
                _ => by_pod.push((*pod, *reporters)),
            }
        }
        by_pod.into_iter().map(Cohort::new).collect()
    }
}

impl Values {
    fn of(family: FamilyId, point: &'static CountedPoint) -> Self {
        let (codes, numbers) = Default::default();
        Self { family, point, codes, numbers }
    }

    fn number(&mut self, code: u64) -> u32 {
        *self.numbers.entry(code).or_insert_with(|| {
            self.codes.push(code);
            self.codes.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests;
