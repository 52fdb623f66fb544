//! The counts of a window → what is published about it. Pure.
//!
//! Only [`publish`] makes a [`Published`], which can be written to the database; its blocks were folded. A
//! [`Release`] that was read from the database is [restored](Release::restored).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;

use super::count::Counted;
use super::family::Family;
use super::threshold::Threshold;
use crate::window::{Population, Window, WindowKind};

/// One published number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleasedBlock {
    /// The population.
    pub population: Population,
    /// The question.
    pub family: Family,
    /// The value, or the group that it was folded into.
    pub label: String,
    /// Distinct reporters, rounded.
    pub published: u64,
}

/// What was published about one window. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The window.
    pub window: Window,
    /// Sorted by population, family and label.
    blocks: Arc<[ReleasedBlock]>,
    /// Where the blocks of each population and family end.
    ends: [u32; ENDS],
}

const ENDS: usize = Population::ALL.len() * Family::ALL.len();

impl Release {
    /// What was published about a window, read from the database. The blocks may be in any order.
    pub fn restored(window: Window, blocks: Vec<ReleasedBlock>) -> Self {
        Self::of(window, blocks)
    }

    fn of(window: Window, mut blocks: Vec<ReleasedBlock>) -> Self {
        blocks.sort_unstable();
        // An index: searching the blocks would wait for memory, because a year of releases exceeds the
        // processor's caches.
        let mut ends = [0; ENDS];
        for block in &blocks {
            ends[place(block.population, block.family)] += 1;
        }
        for place in 1..ENDS {
            ends[place] += ends[place - 1];
        }
        Self { window, blocks: blocks.into(), ends }
    }

    /// All blocks, by population, family and label.
    pub fn blocks(&self) -> &[ReleasedBlock] {
        &self.blocks
    }

    /// The blocks of one family, by label. None, if too few reported.
    pub fn blocks_of(&self, population: Population, family: Family) -> &[ReleasedBlock] {
        let place = place(population, family);
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.blocks[start as usize..self.ends[place] as usize]
    }
}

/// The position of a population's family, in the order of blocks.
fn place(population: Population, family: Family) -> usize {
    population as usize * Family::ALL.len() + family.place()
}

/// What to publish about a window. Only [`publish`] makes it.
#[derive(Clone, Debug)]
pub struct Published {
    release: Release,
    /// The families that became one block because their audit ran out of steps.
    pub untried: BTreeSet<Family>,
    /// How many Pods had more installations than their allowance.
    pub capped: usize,
}

impl Published {
    /// The release.
    pub fn release(&self) -> &Release {
        &self.release
    }
}

/// Folds, audits and rounds the counts of a window.
pub fn publish(window: Window, Counted { tallies, capped }: Counted, threshold: &Threshold) -> Published {
    let (mut blocks, mut untried) = (Vec::new(), BTreeSet::new());
    for (population, tally) in tallies {
        for (family, folded) in tally.publish_noting(threshold, &mut untried) {
            blocks.extend(folded.iter().map(|block| ReleasedBlock {
                population,
                family,
                label: block.label().to_owned(),
                published: block.published(),
            }));
        }
    }
    Published { release: Release::of(window, blocks), untried, capped }
}

/// The windows that have been released, by kind, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedWindows(Vec<Window>);

impl ReleasedWindows {
    /// Released windows that were read from the database, in any order.
    pub fn restored(mut windows: Vec<Window>) -> Self {
        windows.sort_unstable();
        Self(windows)
    }

    /// All windows of a kind.
    pub fn of(&self, kind: WindowKind) -> &[Window] {
        self.within(|window| window.kind().cmp(&kind))
    }

    /// The windows of a kind that start in a period; none if the period is `None`.
    pub fn in_period(&self, kind: WindowKind, period: Option<(Date, Date)>) -> &[Window] {
        period.map_or(&[], |(from, to)| self.between(kind, from, to))
    }

    /// The windows of a kind that start between the two days, both included.
    pub fn between(&self, kind: WindowKind, from: Date, to: Date) -> &[Window] {
        self.within(|window| {
            let day = window.start();
            let place = if day < from { Ordering::Less } else { day.cmp(&to).max(Ordering::Equal) };
            window.kind().cmp(&kind).then(place)
        })
    }

    /// The newest window of a kind.
    pub fn newest(&self, kind: WindowKind) -> Option<Window> {
        self.of(kind).last().copied()
    }

    /// Whether that window has been released.
    pub fn contains(&self, window: &Window) -> bool {
        self.0.binary_search(window).is_ok()
    }

    /// The windows for which `place` says `Equal`.
    fn within(&self, place: impl Fn(&Window) -> Ordering) -> &[Window] {
        let start = self.0.partition_point(|window| place(window).is_lt());
        let length = self.0[start..].partition_point(|window| place(window).is_eq());
        &self.0[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two days, the week that starts with the second, and the month of both.
    fn released() -> ReleasedWindows {
        let window = |kind, day: &str| Window::of_day(kind, day.parse().unwrap());
        let days = ["2026-11-15", "2026-11-16"].map(|day| window(WindowKind::Day, day));
        let others = [window(WindowKind::Week, "2026-11-16"), window(WindowKind::Month, "2026-11-01")];
        ReleasedWindows::restored([days, others].concat())
    }

    #[track_caller]
    fn check(kind: WindowKind, from: &str, to: &str, expected: &[&str]) {
        let released = released();
        let found = released.between(kind, from.parse().unwrap(), to.parse().unwrap());
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{kind:?} from {from} to {to}");
    }

    #[test]
    fn each_family_has_its_blocks_and_one_without_any_has_none() {
        let window = released().of(WindowKind::Day)[0];
        let all: Vec<_> =
            Population::ALL.into_iter().flat_map(|of| Family::ALL.map(|family| (of, family))).collect();
        let mut blocks = Vec::new();
        for (n, (population, family)) in all.iter().copied().enumerate() {
            // No block, one or two.
            let block =
                |label: usize| ReleasedBlock { population, family, label: label.to_string(), published: 5 };
            blocks.extend((0..n % 3).map(block));
        }
        let release = Release::restored(window, blocks.iter().rev().cloned().collect());
        assert_eq!(release.blocks(), blocks);
        for (n, (population, family)) in all.into_iter().enumerate() {
            let found = release.blocks_of(population, family);
            assert_eq!(found.len(), n % 3);
            assert!(found.iter().all(|block| (block.population, block.family) == (population, family)));
        }
    }

    #[test]
    fn windows_are_found_by_their_kind_and_their_first_day() {
        check(WindowKind::Day, "2026-11-01", "2026-11-30", &["day 2026-11-15", "day 2026-11-16"]);
        check(WindowKind::Day, "2026-11-16", "2026-11-30", &["day 2026-11-16"]);
        check(WindowKind::Day, "2026-11-01", "2026-11-15", &["day 2026-11-15"]);
        check(WindowKind::Day, "2026-11-17", "2026-11-30", &[]);
        check(WindowKind::Day, "2026-11-01", "2026-11-14", &[]);
        check(WindowKind::Day, "2026-11-16", "2026-11-15", &[]);
        check(WindowKind::Week, "2026-11-16", "2026-11-16", &["week 2026-11-16"]);
        check(WindowKind::Month, "2026-11-02", "2026-12-01", &[]);
    }

    #[test]
    fn the_newest_is_of_its_kind_and_there_may_be_none() {
        let newest = |released: &ReleasedWindows| {
            WindowKind::ALL.map(|kind| released.newest(kind).map(|window| window.start().to_string()))
        };
        let expected = ["2026-11-16", "2026-11-16", "2026-11-01"].map(|day| Some(day.to_owned()));
        assert_eq!(newest(&released()), expected);
        assert_eq!(newest(&ReleasedWindows::default()), [None, None, None]);
        let day = released().of(WindowKind::Day)[0];
        assert!(released().contains(&day) && !ReleasedWindows::default().contains(&day));
    }
}
