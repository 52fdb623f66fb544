//! Releases → what an operator should look at: a late release, or a jump beyond what history makes likely.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::insight::is_known;
use crate::release::{Family, OTHER, Population};
use crate::release::{Release, ReleasedBlock};
use crate::window::{Window, WindowKind};

/// How many earlier windows make a history; for days, only those on the same day of the week.
const HISTORY: usize = 15;
/// The fewest windows that make a history.
const LEAST_HISTORY: usize = 5;
/// The fewest windows that make the history of one value. There are a thousand times as many values as
/// totals, so a rare deviation happens to some value every week.
const LEAST_HISTORY_OF_A_VALUE: usize = 8;
/// How long after its end a window may be released.
const OVERDUE: Duration = Duration::from_secs(3_600);

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Anomaly {
    /// The release after the newest one is late.
    Overdue(Window),
    /// A window with reports is over, and no window of its kind has ever been released.
    Unreleased(Window),
    /// A window that is over is still open.
    Unclosed(Window),
    /// A total, or the number of one value, is far from that of earlier windows.
    Jump {
        /// The window.
        window: Window,
        /// The population.
        population: Population,
        /// The family.
        family: Family,
        /// The value; `None` for the total.
        value: Option<String>,
        /// The published number; 0 if nothing was published.
        published: u64,
        /// The median of earlier windows.
        usual: u64,
    },
}

impl Anomaly {
    /// The names of all kinds.
    pub const KINDS: [&'static str; 3] = ["overdue", "unclosed", "jump"];

    /// The name of its kind, one of [`KINDS`](Self::KINDS).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Overdue(_) | Self::Unreleased(_) => "overdue",
            Self::Unclosed(_) => "unclosed",
            Self::Jump { .. } => "jump",
        }
    }

    /// Whether a release is late. Otherwise a number was published that may be wrong.
    pub fn is_late(&self) -> bool {
        match self {
            Self::Overdue(_) | Self::Unreleased(_) | Self::Unclosed(_) => true,
            Self::Jump { .. } => false,
        }
    }
}

impl fmt::Display for Anomaly {
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
            Self::Unreleased(window) => {
                let kind = window.kind().as_str();
                write!(
                    f,
                    "no {kind} has been released yet, and {window} is over; is the service running, and can it close windows?"
                )
            }
            Self::Jump { window, population, family, value, published, usual } => {
                write!(f, "{window}: {} ({})", family.as_str(), population.as_str())?;
                if let Some(value) = value {
                    write!(f, ", {value},")?;
                }
                match published {
                    0 => write!(f, " is not published, and was usually {usual}"),
                    published => write!(f, " is {published}, and was usually {usual}"),
                }
            }
        }
    }
}

/// The first day of the releases that [`jumps`] needs to judge the release of `newest`.
pub fn history_since(newest: Window) -> Date {
    let days = if newest.kind() == WindowKind::Month { 31 } else { 7 };
    newest.start().saturating_sub(jiff::Span::new().days(days * HISTORY as i64))
}

/// An anomaly if the window after the newest release should have been released by `now`.
pub fn overdue(newest: Window, now: Timestamp) -> Option<Anomaly> {
    let next = Window::of_day(newest.kind(), newest.end());
    is_late(next, now).then_some(Anomaly::Overdue(newest))
}

/// Whether a kind of window without any release should have had one by `now`: its first window with reports
/// is over. All open and released windows of any kind show when reports began, because each reporter counts
/// in one window of each kind. Retention deletes the oldest releases first, so it raises no alarm.
pub fn unreleased(
    kind: WindowKind,
    known: impl IntoIterator<Item = Window>,
    now: Timestamp,
) -> Option<Anomaly> {
    // The last day of the window, because it does not show on which day the reports came.
    let first =
        known.into_iter().map(|window| window.end().saturating_sub(jiff::Span::new().days(1))).min()?;
    let window = Window::of_day(kind, first);
    is_late(window, now).then_some(Anomaly::Unreleased(window))
}

/// An anomaly if an open window should have been released by `now`.
pub fn unclosed(open: Window, now: Timestamp) -> Option<Anomaly> {
    is_late(open, now).then_some(Anomaly::Unclosed(open))
}

fn is_late(window: Window, now: Timestamp) -> bool {
    let end = window.end().to_zoned(TimeZone::UTC).map(|end| end.timestamp());
    end.and_then(|end| end.checked_add(OVERDUE)).is_ok_and(|late| late < now)
}

/// The jumps in the newest of these releases, which are in the order of their windows.
///
/// A total has jumped if its distance from the median of earlier ones exceeds six times their median distance
/// from it, and a fifth of it. The number of a value has jumped if its distance exceeds ten times the median
/// distance, eight times the square root of the median (by which independent reporters vary), and a quarter
/// of the median. A quiet year of a large fleet should not have a single jump.
pub fn jumps(releases: &[Release]) -> Vec<Anomaly> {
    let Some((newest, before)) = releases.split_last() else { return Vec::new() };
    // Weekends have fewer reporters, so a day is compared with the same day of other weeks.
    let day = |release: &Release| {
        (newest.window.kind() == WindowKind::Day).then(|| release.window.start().weekday())
    };
    let before: Vec<_> =
        before.iter().rev().filter(|release| day(release) == day(newest)).take(HISTORY).collect();
    if before.len() < LEAST_HISTORY {
        return Vec::new();
    }
    let mut anomalies = Vec::new();
    for population in Population::ALL {
        for family in Family::of_population(population) {
            let jump = |value, published, usual| Anomaly::Jump {
                window: newest.window,
                population,
                family,
                value,
                published,
                usual,
            };
            // All families of one unit have the same total.
            if family.point().is_none() {
                let history: Vec<u64> =
                    before.iter().map(|release| total(release, population, family)).collect();
                let (usual, spread) = usual(history);
                let total = total(newest, population, family);
                if total.abs_diff(usual) > (6 * spread).max(usual / 5).max(10) {
                    anomalies.push(jump(None, total, usual));
                }
                continue;
            }
            let newest = newest.blocks_of(population, family);
            let before: Vec<_> = before.iter().map(|release| release.blocks_of(population, family)).collect();
            for (value, published, usual) in jumps_of_values(newest, &before) {
                anomalies.push(jump(Some(value), published, usual));
            }
        }
    }
    anomalies
}

/// The values of a family whose numbers jumped: value, published number, usual number.
///
/// A value that is not published may be in the folded rest, and is assumed to be all of it. Which values are
/// folded changes from window to window, so a rest is compared only with rests of the same values.
fn jumps_of_values(newest: &[ReleasedBlock], before: &[&[ReleasedBlock]]) -> Vec<(String, u64, u64)> {
    let labels = |blocks: &[ReleasedBlock]| -> BTreeSet<String> {
        blocks.iter().map(|block| block.label.clone()).collect()
    };
    let now = labels(newest);
    let folded: u64 =
        newest.iter().filter(|block| is_folded(&block.label)).map(|block| block.published).sum();
    let mut values = now.clone();
    values.extend(before.iter().flat_map(|blocks| labels(blocks)));
    let mut jumped = Vec::new();
    for value in values {
        if is_folded(&value) && !now.contains(&value) {
            continue;
        }
        let of = |blocks: &[ReleasedBlock]| {
            blocks.iter().find(|block| block.label == value).map(|block| block.published)
        };
        let comparable = before.iter().filter(|blocks| !is_folded(&value) || labels(blocks) == now);
        let history: Vec<u64> = comparable.filter_map(|blocks| of(blocks)).collect();
        if history.len() < LEAST_HISTORY_OF_A_VALUE {
            continue;
        }
        let (usual, spread) = usual(history);
        let far = (10 * spread).max(8 * usual.isqrt()).max(usual / 4).max(20);
        let published = of(newest);
        let distance = match published {
            Some(published) => published.abs_diff(usual),
            None => usual.saturating_sub(folded),
        };
        if distance > far {
            jumped.push((value, published.unwrap_or(0), usual));
        }
    }
    jumped
}

/// The median of some numbers, and their median distance from it.
fn usual(history: Vec<u64>) -> (u64, u64) {
    let usual = median(history.clone());
    let spread = median(history.into_iter().map(|number| number.abs_diff(usual)).collect());
    (usual, spread)
}

fn is_folded(label: &str) -> bool {
    label.ends_with(OTHER)
}

/// The shares of a family's published total that are folded and not reported, from 0 to 1; `None` without a
/// total.
pub fn unknown_shares(release: &Release, population: Population, family: Family) -> Option<(f64, f64)> {
    let total = total(release, population, family);
    let of = |unknown: fn(&str) -> bool| {
        let blocks = release.blocks_of(population, family).iter();
        blocks.filter(|block| unknown(&block.label)).map(|block| block.published).sum::<u64>() as f64
            / total as f64
    };
    (total > 0).then(|| (of(is_folded), of(|label| !is_known(label) && !is_folded(label))))
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
    use jiff::civil::Weekday;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use shared::data_point::UserPlatform;

    use super::*;
    use crate::release::round;

    fn history(totals: &[u64]) -> Vec<Release> {
        let start: jiff::civil::Date = "2026-11-01".parse().unwrap();
        let release = |(n, published): (usize, &u64)| {
            let day = start.saturating_add(jiff::Span::new().days(7 * n as i64));
            let block = ReleasedBlock {
                population: Population::Direct,
                family: Family::INSTALLATIONS,
                label: "all".to_owned(),
                published: *published,
            };
            Release::restored(Window::of_day(WindowKind::Day, day), vec![block])
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
        assert_eq!(overdue(newest, "2026-11-22T01:01:00Z".parse().unwrap()), Some(Anomaly::Overdue(newest)));
        assert_eq!(unclosed(newest, "2026-11-21T00:59:00Z".parse().unwrap()), None);
        assert_eq!(
            unclosed(newest, "2026-11-21T01:01:00Z".parse().unwrap()),
            Some(Anomaly::Unclosed(newest))
        );
    }

    #[test]
    fn a_kind_of_window_of_which_none_has_been_released_is_overdue_when_its_first_is_over() {
        let window = |kind, day: &str| Window::of_day(kind, day.parse().unwrap());
        let check = |kind, known: &[Window], now: &str, expected| {
            let known = known.iter().copied();
            assert_eq!(unreleased(kind, known, now.parse().unwrap()).is_some(), expected, "{now}");
        };
        use WindowKind::{Day, Month, Week};
        check(Month, &[], "2027-01-01T00:00:00Z", false);
        // Reports began on a day that is open or released.
        check(Week, &[window(Day, "2026-11-19"), window(Day, "2026-11-25")], "2026-11-23T00:59:00Z", false);
        check(Week, &[window(Day, "2026-11-19"), window(Day, "2026-11-25")], "2026-11-23T01:01:00Z", true);
        check(Month, &[window(Day, "2026-11-19")], "2026-11-30T12:00:00Z", false);
        check(Month, &[window(Day, "2026-11-19")], "2026-12-01T02:00:00Z", true);
        // A week shows reports on one of its days, perhaps the last.
        check(Month, &[window(Week, "2026-11-30")], "2026-12-05T00:00:00Z", false);
        check(Day, &[window(Month, "2026-11-01")], "2026-11-30T12:00:00Z", false);
        check(Day, &[window(Month, "2026-11-01")], "2026-12-01T02:00:00Z", true);
    }

    /// Three hundred Pods, a few of them large. The installations of each have their own proportions of
    /// platforms.
    struct Fleet {
        pods: Vec<[f64; 8]>,
        random: StdRng,
    }

    const PLATFORMS: [&str; 8] =
        ["android", "ios", "linux", "macos", "netbsd", "web", "windows-aarch64", "windows-x86_64"];

    impl Fleet {
        fn new(seed: u64) -> Self {
            let mut random = StdRng::seed_from_u64(seed);
            let mut pods = Vec::new();
            for _ in 0..300 {
                // Heavy-tailed: half have fewer than 20, the largest has a thousand.
                let size = 10.0 / random.random_range(0.01..1.0_f64);
                let weights: [f64; 8] =
                    std::array::from_fn(|n| random.random_range(0.0..1.0) / (n + 1) as f64);
                let all: f64 = weights.iter().sum();
                pods.push(weights.map(|weight| size * weight / all));
            }
            Self { pods, random }
        }

        /// The published numbers of a day. Each Pod reports on 97 of 100 days, and two thirds of its
        /// installations do, or a third on a weekend. A value with fewer than 20 is folded.
        fn release(&mut self, day: Date, change: impl Fn(usize, u64) -> u64) -> Release {
            let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
            let started = if weekend { 1.0 / 3.0 } else { 2.0 / 3.0 };
            let mut numbers = [0.0; 8];
            for pod in &self.pods {
                if self.random.random_bool(0.97) {
                    numbers.iter_mut().zip(pod).for_each(|(number, installations)| *number += installations);
                }
            }
            let numbers = numbers.map(|installations: f64| {
                // The number of independent events is so large that it is almost normally distributed.
                let normal = (0..12).map(|_| self.random.random_range(-0.5..0.5)).sum::<f64>();
                let spread = (installations * started * (1.0 - started)).sqrt();
                (installations * started + normal * spread).max(0.0) as u64
            });
            let mut blocks = Vec::new();
            let mut folded = 0;
            for (n, number) in numbers.into_iter().enumerate() {
                let number = change(n, number);
                if number < 20 { folded += number } else { blocks.push((PLATFORMS[n], number)) }
            }
            if folded > 0 {
                blocks.push((OTHER, folded.max(20)));
            }
            let blocks = blocks.into_iter().map(|(label, number)| ReleasedBlock {
                population: Population::Pod,
                family: Family::of::<UserPlatform>(),
                label: label.to_owned(),
                published: round(number),
            });
            Release::restored(Window::of_day(WindowKind::Day, day), blocks.collect())
        }
    }

    const A_YEAR: i64 = 365;

    fn day(n: i64) -> Date {
        let first: Date = "2026-01-01".parse().unwrap();
        first.saturating_add(jiff::Span::new().days(n))
    }

    /// The number of alarms in a year with nothing but chance.
    #[test]
    fn in_a_quiet_year_no_value_jumps() {
        let (mut compared, mut alarms) = (0, Vec::new());
        for seed in 0..20 {
            let mut fleet = Fleet::new(seed);
            let year: Vec<Release> = (0..A_YEAR).map(|n| fleet.release(day(n), |_, number| number)).collect();
            for n in 8 * 7..year.len() {
                compared += year[n].blocks().len();
                alarms.extend(jumps(&year[..=n]));
            }
        }
        println!("{} alarms in {compared} comparisons", alarms.len());
        assert!(compared > 30_000, "{compared}");
        // At most one in ten years, for a family of eight values.
        assert!(alarms.len() <= 2, "{alarms:?}");
    }

    /// Real changes are found, even where the total hardly moves.
    #[test]
    fn a_value_that_doubles_halves_or_vanishes_is_found() {
        for seed in 0..20 {
            let mut fleet = Fleet::new(seed);
            let mut year: Vec<Release> =
                (0..A_YEAR).map(|n| fleet.release(day(n), |_, number| number)).collect();
            let largest = |release: &Release| {
                let blocks = release.blocks().iter().filter(|block| !is_folded(&block.label));
                blocks.max_by_key(|block| block.published).map(|block| block.label.clone()).unwrap()
            };
            let label = largest(&year[year.len() - 1]);
            let of = PLATFORMS.iter().position(|platform| *platform == label).unwrap();
            for (what, factor) in [("doubles", 2.0), ("falls to a third", 0.33), ("vanishes", 0.0)] {
                let changed = fleet.release(day(A_YEAR), |n, number| {
                    if n == of { (number as f64 * factor) as u64 } else { number }
                });
                year.push(changed);
                let found = jumps(&year).into_iter().any(
                    |anomaly| matches!(anomaly, Anomaly::Jump { value: Some(value), .. } if value == label),
                );
                assert!(found, "fleet {seed}: {label} {what}");
                year.pop();
            }
        }
    }

    #[test]
    fn a_rest_is_compared_with_rests_of_the_same_values() {
        let release = |week: i64, numbers: &[(&str, u64)]| {
            let blocks = numbers.iter().map(|(label, published)| ReleasedBlock {
                population: Population::Pod,
                family: Family::of::<UserPlatform>(),
                label: (*label).to_owned(),
                published: *published,
            });
            Release::restored(Window::of_day(WindowKind::Week, day(7 * week)), blocks.collect())
        };
        let with_last = |last: &[(&str, u64)]| {
            let mut weeks: Vec<_> =
                (0..12).map(|week| release(week, &[("web", 500), ("ios", 300), (OTHER, 20)])).collect();
            weeks.push(release(12, last));
            jumps(&weeks)
        };
        assert_eq!(with_last(&[("web", 500), ("ios", 300), (OTHER, 20)]), []);
        // All installations on iOS are in the folded rest: one company has come to have most of them.
        assert_eq!(with_last(&[("web", 500), (OTHER, 320)]), []);
        assert_eq!(with_last(&[("web", 500), ("ios", 300), (OTHER, 200)]).len(), 1);
        assert_eq!(with_last(&[("web", 800), (OTHER, 20)]).len(), 2);
        assert_eq!(
            with_last(&[("web", 500), (OTHER, 20)])[0].to_string(),
            "week 2026-03-23: platforms (pod), ios, is not published, and was usually 300"
        );
    }
}
