//! Releases → answers. Pure: shares and bounds, never an exact count, and never a sum over windows.

use jiff::civil::Date;
use serde::Serialize;
use shared::version::Version;

use crate::release::{Family, NOT_REPORTED, OTHER, Population, bounds};
use crate::store::domains::SeenDomain;
use crate::store::releases::Release;
use crate::window::WindowKind;

/// A question that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insight {
    /// How many Pods there are at least.
    Pods,
    /// Which versions Pods run.
    PodVersions,
    /// How large the companies are.
    PodSizes,
    /// Which apps in which versions.
    AppVersions,
    /// On which platforms.
    Platforms,
    /// Which languages.
    Languages,
    /// How many use Prose without a Pod.
    Reach,
    /// Which companies told us their name.
    Domains,
}

impl Insight {
    /// Every insight.
    pub const ALL: [Self; 8] = [
        Self::Pods,
        Self::PodVersions,
        Self::PodSizes,
        Self::AppVersions,
        Self::Platforms,
        Self::Languages,
        Self::Reach,
        Self::Domains,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::PodVersions => "pod_versions",
            Self::PodSizes => "pod_sizes",
            Self::AppVersions => "app_versions",
            Self::Platforms => "platforms",
            Self::Languages => "languages",
            Self::Reach => "reach",
            Self::Domains => "domains",
        }
    }

    /// The insight of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|insight| insight.as_str() == name)
    }

    /// The question that it answers.
    pub fn question(self) -> &'static str {
        match self {
            Self::Pods => "How many Pods are there at least?",
            Self::PodVersions => "What versions of Pods run in the wild?",
            Self::PodSizes => "What size are the companies?",
            Self::AppVersions => "What versions of the apps run in the wild?",
            Self::Platforms => "What platforms is Prose used on?",
            Self::Languages => "What languages do users prefer?",
            Self::Reach => "How many use Prose without a Pod?",
            Self::Domains => "Which companies told us their name?",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Pods | Self::PodVersions | Self::PodSizes => "Pod",
            Self::AppVersions | Self::Platforms | Self::Languages | Self::Reach => "installation",
            Self::Domains => "domain",
        }
    }

    /// The family whose releases answer it; none for the domains, which are not counted.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Pods => Some(Family::Pods),
            Self::PodVersions => Some(Family::PodVersions),
            Self::PodSizes => Some(Family::PodSizes),
            Self::AppVersions => Some(Family::AppVersions),
            Self::Platforms => Some(Family::Platforms),
            Self::Languages => Some(Family::Languages),
            Self::Reach => Some(Family::Installations),
            Self::Domains => None,
        }
    }
}

/// The answer to one question, for some windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The insight.
    pub insight: &'static str,
    /// The question that it answers.
    pub question: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How long the windows are.
    pub window: &'static str,
    /// How the numbers are to be read.
    pub note: &'static str,
    /// One item a released window and population, oldest first.
    pub windows: Vec<AnsweredWindow>,
    /// Whether it was asked what is below a version.
    #[serde(skip)]
    pub asked_below: bool,
}

/// The answer for one window and population.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnsweredWindow {
    /// First day, UTC.
    pub start: String,
    /// The day after the last.
    pub end: String,
    /// `pod` or `direct`; absent where the answer compares the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<&'static str>,
    /// The sum of what is published; `null` if too few reported for anything to be published.
    pub total: Option<u64>,
    /// What was published, largest first; sizes in their order.
    pub blocks: Vec<AnsweredBlock>,
    /// How many are below the version that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
}

/// One published number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnsweredBlock {
    /// A value; `…/other` for the rest of a group of values; `other` for the rest of all; `not_reported`.
    pub label: String,
    /// Distinct reporters, rounded.
    pub count: u64,
    /// The part of the total, from 0 to 1; `null` where the total is not known.
    pub share: Option<f64>,
}

/// How many are below a version, as far as the published numbers tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Below {
    /// The version.
    pub version: String,
    /// How many.
    pub count: Bounds<u64>,
    /// Which part of those that are counted.
    pub share: Bounds<f64>,
}

/// The truth is between the two: rounding, and what is folded or not reported, leave it open where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds<T> {
    /// Not less than this.
    pub at_least: T,
    /// Not more than this.
    pub at_most: T,
}

const NOTE: &str = "Distinct reporters within each window, rounded to the nearest 5 (three significant digits from \
1,000 on). Groups too small to publish are folded into `other`. Never add numbers of several windows: whoever reports \
in two of them is counted in both.";

/// Answers a question from releases of its family. `below` is for versions of Pods only.
pub fn answer(insight: Insight, kind: WindowKind, releases: &[Release], below: Option<Version>) -> Answer {
    let windows = match insight {
        Insight::Reach => releases.iter().map(reach).collect(),
        _ => releases.iter().flat_map(|release| by_population(insight, release, below)).collect(),
    };
    Answer {
        insight: insight.as_str(),
        question: insight.question(),
        unit: insight.unit(),
        window: kind.as_str(),
        note: NOTE,
        windows,
        asked_below: below.is_some(),
    }
}

/// The longest period that is answered, in days: a year of daily releases, and a bit.
pub const MAX_DAYS: i32 = 400;

/// Why a period is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// An end without a beginning.
    #[error("`to` needs a `from`")]
    NoFrom,
    /// The beginning is after the end.
    #[error("`from` is after `to`, or after the newest release")]
    Reversed,
    /// More than [`MAX_DAYS`], or before there was anything.
    #[error("a period has at most {MAX_DAYS} days, and starts in 2000 or later")]
    TooLong,
}

/// The days from which and up to which windows are to start: what was asked for; up to the newest release if no end
/// was; the newest release alone if nothing was. `None` if there is no release.
///
/// # Errors
/// If what was asked for is no period.
pub fn period(
    from: Option<Date>,
    to: Option<Date>,
    newest: Option<Date>,
) -> Result<Option<(Date, Date)>, PeriodError> {
    let (from, to) = match (from, to, newest) {
        (None, Some(_), _) => return Err(PeriodError::NoFrom),
        (Some(from), Some(to), _) | (Some(from), None, Some(to)) => (from, to),
        (None, None, Some(newest)) => (newest, newest),
        (_, None, None) => return Ok(None),
    };
    if from > to {
        return Err(PeriodError::Reversed);
    }
    if from.year() < 2000 || from.saturating_add(jiff::Span::new().days(MAX_DAYS)) < to {
        return Err(PeriodError::TooLong);
    }
    Ok(Some((from, to)))
}

/// What operators told us: no counts, and nothing that leads to a Pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DomainsAnswer {
    /// `domains`.
    pub insight: &'static str,
    /// The question that it answers.
    pub question: &'static str,
    /// One item a domain.
    pub domains: Vec<AnsweredDomain>,
}

/// One domain whose operator opted in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnsweredDomain {
    /// The domain.
    pub domain: String,
    /// Monday of the week in which it was last reported.
    pub last_seen_week: String,
}

/// Lists the opt-in domains.
pub fn domains_answer(domains: Vec<SeenDomain>) -> DomainsAnswer {
    let domains = domains
        .into_iter()
        .map(|seen| AnsweredDomain { domain: seen.domain, last_seen_week: seen.last_seen_week.to_string() })
        .collect();
    DomainsAnswer { insight: Insight::Domains.as_str(), question: Insight::Domains.question(), domains }
}

fn by_population(insight: Insight, release: &Release, below: Option<Version>) -> Vec<AnsweredWindow> {
    let Some(family) = insight.family() else { return Vec::new() };
    Population::ALL
        .into_iter()
        .filter(|population| Family::of(*population).any(|of| of == family))
        .map(|population| {
            let published: Vec<(&str, u64)> = release
                .blocks
                .iter()
                .filter(|block| block.population == population && block.family == family)
                .map(|block| (block.label.as_str(), block.published))
                .collect();
            let mut window = window(release, &published);
            if insight == Insight::PodSizes {
                window.blocks.sort_by_key(|block| least_of_bin(&block.label));
            }
            AnsweredWindow {
                population: Some(population.as_str()),
                below: below
                    .filter(|_| insight == Insight::PodVersions && !published.is_empty())
                    .map(|version| count_below(&published, version)),
                ..window
            }
        })
        .collect()
}

/// Where a size stands among the others: by its least count, and what is no size behind them.
fn least_of_bin(label: &str) -> u32 {
    label.split_once('–').and_then(|(least, _)| least.parse().ok()).unwrap_or(u32::MAX)
}

/// Pod and direct installations side by side. Without one of the two, no share can be told.
fn reach(release: &Release) -> AnsweredWindow {
    let of = |population: Population| {
        let mut blocks = release.blocks.iter();
        blocks.find(|block| block.population == population && block.family == Family::Installations)
    };
    let named =
        |population: Population, label: &'static str| of(population).map(|block| (label, block.published));
    let published: Vec<_> = [named(Population::Pod, "proxied"), named(Population::Direct, "direct")]
        .into_iter()
        .flatten()
        .collect();
    let mut window = window(release, &published);
    if published.len() < 2 {
        window.total = None;
        window.blocks.iter_mut().for_each(|block| block.share = None);
    }
    window
}

fn window(release: &Release, published: &[(&str, u64)]) -> AnsweredWindow {
    let total: u64 = published.iter().map(|(_, count)| count).sum();
    let mut blocks: Vec<_> = published
        .iter()
        .map(|(label, count)| AnsweredBlock {
            label: (*label).to_owned(),
            count: *count,
            share: Some((*count as f64 / total as f64 * 10_000.0).round() / 10_000.0),
        })
        .collect();
    blocks.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.label.cmp(&b.label)));
    AnsweredWindow {
        start: release.window.start().to_string(),
        end: release.window.end().to_string(),
        population: None,
        total: (!published.is_empty()).then_some(total),
        blocks,
        below: None,
    }
}

/// Where the versions of a block are, seen from the one that was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    AtOrAbove,
    Unknown,
}

fn side(label: &str, version: Version) -> Side {
    let (series, folded) = match label.strip_suffix(OTHER).map(|label| label.strip_suffix('/')) {
        Some(series) => (series.unwrap_or_default(), true),
        None => (label, false),
    };
    if !folded {
        return match Version::parse(series) {
            Some(exact) if exact < version => Side::Below,
            Some(_) => Side::AtOrAbove,
            None => Side::Unknown,
        };
    }
    let numbers =
        series.split_once('.').and_then(|(a, b)| Some((a.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
    match numbers {
        Some(series) if series < (version.major(), version.minor()) => Side::Below,
        Some(series) if series > (version.major(), version.minor()) => Side::AtOrAbove,
        _ => Side::Unknown,
    }
}

/// What is below for certain, and what may be. Every published number is taken at the end of its rounding that makes
/// the bound the weaker one.
fn count_below(published: &[(&str, u64)], version: Version) -> Below {
    let sum = |sides: &[Side], end: fn((u64, u64)) -> u64| -> u64 {
        published
            .iter()
            .filter(|(label, _)| sides.contains(&side(label, version)))
            .map(|(_, count)| end(bounds(*count)))
            .sum()
    };
    let least = |bounds: (u64, u64)| bounds.0;
    let greatest = |bounds: (u64, u64)| bounds.1;
    let part =
        |count: u64, others: u64| if count == 0 { 0.0 } else { count as f64 / (count + others) as f64 };

    let (certain, possible) = (sum(&[Side::Below], least), sum(&[Side::Below, Side::Unknown], greatest));
    let share = Bounds {
        at_least: part(certain, sum(&[Side::AtOrAbove, Side::Unknown], greatest)),
        at_most: part(possible, sum(&[Side::AtOrAbove], least)),
    };
    let outwards = Bounds {
        at_least: (share.at_least * 10_000.0).floor() / 10_000.0,
        at_most: (share.at_most * 10_000.0).ceil() / 10_000.0,
    };
    Below {
        version: version.to_string(),
        count: Bounds { at_least: certain, at_most: possible },
        share: outwards,
    }
}

/// Whether a label says what reporters have, or only that we do not know.
pub fn is_known(label: &str) -> bool {
    label != OTHER && label != NOT_REPORTED && label != shared::event::UNRECOGNISED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::releases::ReleasedBlock;
    use crate::window::Window;

    fn release(blocks: &[(Population, Family, &str, u64)]) -> Release {
        let blocks = blocks.iter().map(|(population, family, label, published)| ReleasedBlock {
            population: *population,
            family: *family,
            label: (*label).to_owned(),
            published: *published,
        });
        Release {
            window: Window::of_day(WindowKind::Week, "2026-11-16".parse().unwrap()),
            blocks: blocks.collect(),
        }
    }

    fn versions(blocks: &[(&str, u64)], below: &str) -> Below {
        let blocks: Vec<_> =
            blocks.iter().map(|(l, n)| (Population::Pod, Family::PodVersions, *l, *n)).collect();
        let answer =
            answer(Insight::PodVersions, WindowKind::Week, &[release(&blocks)], Version::parse(below));
        answer.windows.into_iter().next().unwrap().below.unwrap()
    }

    #[test]
    fn the_share_below_a_version_is_as_wide_as_what_is_not_known() {
        let published =
            [("0.3/other", 10), ("0.4.0", 20), ("0.4/other", 5), ("0.5.0", 60), ("not_reported", 5)];
        let below = versions(&published, "0.4.1");
        // 0.3/other and 0.4.0 for certain, each up to 2 fewer than published; 0.4/other and those who did not report
        // may be, each up to 2 more.
        assert_eq!(below.count, Bounds { at_least: 8 + 18, at_most: 12 + 22 + 7 + 7 });
        assert_eq!(
            below.share.at_least,
            (26.0_f64 / (26.0 + 7.0 + 62.0 + 7.0) * 10_000.0).floor() / 10_000.0
        );
        assert_eq!(below.share.at_most, (48.0_f64 / (48.0 + 58.0) * 10_000.0).ceil() / 10_000.0);
    }

    #[test]
    fn the_worked_example_of_the_privacy_page() {
        let published = [("0.3/other", 5), ("0.4.0", 20), ("0.4.1", 10), ("other", 10)];
        assert_eq!(versions(&published, "0.4.0").count, Bounds { at_least: 3, at_most: 19 });
    }

    #[test]
    fn nothing_is_below_the_oldest_version_and_everything_known_below_a_far_one() {
        let published = [("0.3/other", 10), ("0.4.0", 20)];
        assert_eq!(versions(&published, "0.3.0-alpha").count, Bounds { at_least: 0, at_most: 12 });
        assert_eq!(versions(&published, "0.2.0").count, Bounds { at_least: 0, at_most: 0 });
        assert_eq!(versions(&published, "9.0.0").share, Bounds { at_least: 1.0, at_most: 1.0 });
    }

    #[test]
    fn a_period_has_a_beginning_and_an_end_in_that_order() {
        let day = |text: &str| text.parse::<Date>().ok();
        let newest = day("2026-11-22");
        let both = |from: &str, to: &str| Ok(day(from).zip(day(to)));
        assert_eq!(period(None, None, newest), both("2026-11-22", "2026-11-22"));
        assert_eq!(period(day("2026-11-01"), None, newest), both("2026-11-01", "2026-11-22"));
        assert_eq!(period(day("2026-01-01"), day("2026-12-31"), newest), both("2026-01-01", "2026-12-31"));
        assert_eq!(period(None, None, None), Ok(None));
        assert_eq!(period(None, day("2026-11-01"), newest), Err(PeriodError::NoFrom));
        assert_eq!(period(day("2026-12-01"), None, newest), Err(PeriodError::Reversed));
        assert_eq!(period(day("2024-12-01"), None, newest), Err(PeriodError::TooLong));
        assert_eq!(period(day("-009999-01-01"), day("-009999-01-01"), newest), Err(PeriodError::TooLong));
    }

    #[test]
    fn sizes_are_in_their_order() {
        let sizes = [("not_reported", 15), ("100–399", 5), ("50–99", 30), ("0–4", 10)];
        let blocks: Vec<_> = sizes.iter().map(|(l, n)| (Population::Pod, Family::PodSizes, *l, *n)).collect();
        let window = answer(Insight::PodSizes, WindowKind::Week, &[release(&blocks)], None).windows.remove(0);
        let labels: Vec<_> = window.blocks.iter().map(|block| block.label.as_str()).collect();
        assert_eq!(labels, ["0–4", "50–99", "100–399", "not_reported"]);
    }

    #[test]
    fn reach_compares_the_two_populations_and_tells_no_share_without_both() {
        let both = release(&[
            (Population::Pod, Family::Installations, "all", 900),
            (Population::Direct, Family::Installations, "all", 100),
        ]);
        let window = answer(Insight::Reach, WindowKind::Week, &[both], None).windows.remove(0);
        let shares: Vec<_> = window.blocks.iter().map(|block| (block.label.as_str(), block.share)).collect();
        assert_eq!(shares, [("proxied", Some(0.9)), ("direct", Some(0.1))]);

        let one = release(&[(Population::Pod, Family::Installations, "all", 900)]);
        let window = answer(Insight::Reach, WindowKind::Week, &[one], None).windows.remove(0);
        assert_eq!((window.total, window.blocks[0].share), (None, None));
    }

    #[test]
    fn a_window_without_blocks_says_that_too_few_reported() {
        let window = answer(Insight::Pods, WindowKind::Week, &[release(&[])], None).windows.remove(0);
        assert_eq!((window.total, window.blocks.len()), (None, 0));
    }
}
