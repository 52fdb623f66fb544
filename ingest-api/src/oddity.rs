//! Releases → what somebody should look at: overdue, or a jump beyond what history makes likely. Pure.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::insight::is_known;
use crate::release::{Family, Population};
use crate::store::releases::Release;
use crate::window::{Window, WindowKind};

/// How many windows before the newest make its history; of days, only the same day of other weeks.
const HISTORY: usize = 15;
/// The fewest windows that are a history.
const LEAST_HISTORY: usize = 5;
/// How long after its end a window may take to be released.
const OVERDUE: Duration = Duration::from_secs(3_600);

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Oddity {
    /// The newest release is older than it should be.
    Overdue(Window),
    /// A window that is over is still open.
    Unclosed(Window),
    /// A total is far from what it was in the windows before.
    Jump {
        /// In which window.
        window: Window,
        /// Of whom.
        population: Population,
        /// Of what.
        family: Family,
        /// What was published.
        total: u64,
        /// The median of the windows before.
        usual: u64,
    },
}

impl Oddity {
    /// The name of every kind.
    pub const KINDS: [&'static str; 3] = ["overdue", "unclosed", "jump"];

    /// The name of its kind, one of [`KINDS`](Self::KINDS).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Overdue(_) => "overdue",
            Self::Unclosed(_) => "unclosed",
            Self::Jump { .. } => "jump",
        }
    }

    /// Whether numbers are missing; what jumped is there, and may be wrong.
    pub fn is_late(&self) -> bool {
        match self {
            Self::Overdue(_) | Self::Unclosed(_) => true,
            Self::Jump { .. } => false,
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdue(window) => {
                write!(
                    f,
                    "nothing has been released since {window}; is the service running, and can it close windows?"
                )
            }
            Self::Unclosed(window) => {
                write!(f, "{window} is over and has not been released; see the log of the service")
            }
            Self::Jump { window, population, family, total, usual } => {
                let (family, population) = (family.as_str(), population.as_str());
                write!(f, "{window}: {family} ({population}) is {total}, and was usually {usual}")
            }
        }
    }
}

/// The first day of what [`jumps`] reads up to the release of `newest`.
pub fn history_since(newest: Window) -> Date {
    let days = if newest.kind() == WindowKind::Month { 31 } else { 7 };
    newest.start().saturating_sub(jiff::Span::new().days(days * HISTORY as i64))
}

/// Whether the window after the newest released one is over, and should have been released by `now`.
pub fn overdue(newest: Window, now: Timestamp) -> Option<Oddity> {
    let next = Window::of_day(newest.kind(), newest.end());
    is_late(next, now).then_some(Oddity::Overdue(newest))
}

/// Whether an open window should have been released by `now`.
pub fn unclosed(open: Window, now: Timestamp) -> Option<Oddity> {
    is_late(open, now).then_some(Oddity::Unclosed(open))
}

fn is_late(window: Window, now: Timestamp) -> bool {
    let end = window.end().to_zoned(TimeZone::UTC).map(|end| end.timestamp());
    end.and_then(|end| end.checked_add(OVERDUE)).is_ok_and(|late| late < now)
}

/// What jumped in the newest of these releases, which are in the order of their windows.
///
/// A total has jumped if it is farther from the median of those before it than six times their median distance from
/// it, and than a fifth of it.
pub fn jumps(releases: &[Release]) -> Vec<Oddity> {
    let Some((newest, before)) = releases.split_last() else { return Vec::new() };
    // Fewer apps are started on a Sunday: a day is compared with the same day of other weeks.
    let day = |release: &Release| {
        (newest.window.kind() == WindowKind::Day).then(|| release.window.start().weekday())
    };
    let before: Vec<_> =
        before.iter().rev().filter(|release| day(release) == day(newest)).take(HISTORY).collect();
    if before.len() < LEAST_HISTORY {
        return Vec::new();
    }
    let mut oddities = Vec::new();
    for population in Population::ALL {
        for family in [Family::Pods, Family::Installations] {
            if !Family::of(population).any(|of| of == family) {
                continue;
            }
            let history: Vec<u64> = before.iter().map(|release| total(release, population, family)).collect();
            let usual = median(history.clone());
            let spread = median(history.iter().map(|total| total.abs_diff(usual)).collect());
            let total = total(newest, population, family);
            if total.abs_diff(usual) > (6 * spread).max(usual / 5).max(10) {
                oddities.push(Oddity::Jump { window: newest.window, population, family, total, usual });
            }
        }
    }
    oddities
}

/// The parts of a family's published total that are folded, and not reported, from 0 to 1; `None` without a total.
pub fn unknown_shares(release: &Release, population: Population, family: Family) -> Option<(f64, f64)> {
    let total = total(release, population, family);
    let of = |unknown: fn(&str) -> bool| {
        let blocks = release.blocks_of(population, family).iter();
        blocks.filter(|block| unknown(&block.label)).map(|block| block.published).sum::<u64>() as f64
            / total as f64
    };
    let folded = |label: &str| label.ends_with(crate::release::OTHER);
    (total > 0).then(|| (of(folded), of(|label| !is_known(label) && !label.ends_with(crate::release::OTHER))))
}

fn total(release: &Release, population: Population, family: Family) -> u64 {
    release.blocks_of(population, family).iter().map(|block| block.published).sum()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::releases::ReleasedBlock;

    fn history(totals: &[u64]) -> Vec<Release> {
        let start: jiff::civil::Date = "2026-11-01".parse().unwrap();
        let release = |(n, published): (usize, &u64)| {
            let day = start.saturating_add(jiff::Span::new().days(7 * n as i64));
            let block = ReleasedBlock {
                population: Population::Direct,
                family: Family::Installations,
                label: "all".to_owned(),
                published: *published,
            };
            Release::new(Window::of_day(WindowKind::Day, day), vec![block])
        };
        totals.iter().enumerate().map(release).collect()
    }

    #[track_caller]
    fn check(totals: &[u64], jumped: bool) {
        assert_eq!(!jumps(&history(totals)).is_empty(), jumped, "{totals:?}");
    }

    #[test]
    fn a_jump_is_farther_than_history_makes_likely() {
        check(&[100, 105, 100, 95, 100, 100, 105], false);
        check(&[100, 105, 100, 95, 100, 100, 160], true);
        check(&[100, 105, 100, 95, 100, 100, 0], true);
        check(&[100, 100, 500], false);
        check(&[5, 5, 5, 5, 5, 5, 10], false);
        check(&[], false);
    }

    #[test]
    fn a_sunday_is_compared_with_sundays() {
        let mut releases = history(&[40, 45, 40, 40, 40, 40]);
        let mut mondays = history(&[100, 100, 100, 105, 100]);
        for release in &mut mondays {
            let monday = release.window.start().saturating_add(jiff::Span::new().days(1));
            release.window = Window::of_day(WindowKind::Day, monday);
        }
        releases.extend(mondays);
        releases.sort_by_key(|release| release.window);
        assert_eq!(jumps(&releases), []);
    }

    #[test]
    fn a_release_is_overdue_an_hour_after_the_next_window_is_over() {
        let newest = Window::of_day(WindowKind::Day, "2026-11-20".parse().unwrap());
        assert_eq!(overdue(newest, "2026-11-22T00:59:00Z".parse().unwrap()), None);
        assert_eq!(overdue(newest, "2026-11-22T01:01:00Z".parse().unwrap()), Some(Oddity::Overdue(newest)));
        assert_eq!(unclosed(newest, "2026-11-21T00:59:00Z".parse().unwrap()), None);
        assert_eq!(unclosed(newest, "2026-11-21T01:01:00Z".parse().unwrap()), Some(Oddity::Unclosed(newest)));
    }
}
