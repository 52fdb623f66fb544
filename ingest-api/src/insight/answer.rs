//! Releases → the answer to one question: shares of what was published, for each window and population. Pure.

use shared::data_point::Shape;
use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::app::AppName;
use shared::event::UNRECOGNISED;

use super::adoption::adoption;
use super::place::place;
use super::{Adoption, Below, Cut, Insight};
use crate::release::Release;
use crate::release::{Family, NOT_REPORTED, OTHER, Population, bounds};
use crate::window::WindowKind;

/// The answer to one question, for some windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The insight.
    pub insight: Cow<'static, str>,
    /// The question that it answers.
    pub question: Cow<'static, str>,
    /// What is counted.
    pub unit: Cow<'static, str>,
    /// How long the windows are.
    pub window: Cow<'static, str>,
    /// How to read the numbers.
    pub note: Cow<'static, str>,
    /// One item for each released window and population, oldest first.
    pub windows: Vec<AnsweredWindow>,
    /// How far each version has been adopted over the windows; only for questions about versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Vec<Adoption>>,
    /// Whether the reader asked how many are below a version.
    #[serde(skip)]
    pub asked_below: bool,
}

/// The answer for one window and population.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnsweredWindow {
    /// First day, UTC.
    pub start: String,
    /// The day after the last.
    pub end: String,
    /// `pod` or `direct`; absent where the answer compares the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<Cow<'static, str>>,
    /// The sum of what is published. `null` if too few reported for anything to be published. Also `null`
    /// where the answer compares the two populations: a reporter in both would count twice.
    pub total: Option<u64>,
    /// How many there are for certain: the total at the lower end of its rounding. Only where the question is
    /// how many there are at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
    /// What was published, largest first; sizes in ascending order.
    pub blocks: Vec<AnsweredBlock>,
    /// How many are below the version that the reader asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
}

/// How many of the published reporters have no known value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// They were in groups that were too small on their own.
    pub folded: u64,
    /// They reported nothing, or nothing that is recognised.
    pub untold: u64,
}

impl AnsweredWindow {
    /// How many of the published reporters have no known value.
    pub fn unknown(&self) -> Unknown {
        let mut unknown = Unknown::default();
        for block in &self.blocks {
            // `prose-app-web not_reported` stands for a known app whose version was not reported.
            let last = block.label.rsplit([' ', '/']).next().unwrap_or_default();
            match last {
                OTHER => unknown.folded += block.count,
                NOT_REPORTED | UNRECOGNISED => unknown.untold += block.count,
                _ => {}
            }
        }
        unknown
    }
}

/// One published number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnsweredBlock {
    /// A value; `…/other` for the rest of a group of values; `other` for everything else; `not_reported`.
    pub label: String,
    /// Distinct reporters, rounded.
    pub count: u64,
    /// The share of the total, from 0 to 1; `null` where the total is not known.
    pub share: Option<f64>,
}

const NOTE: &str = "Distinct reporters within each window, rounded to the nearest 5 (three significant digits from \
1,000 on). Groups too small to publish are folded into \"other\". Never add numbers of several windows: a reporter may \
be in all of them.";

/// Answers a question from releases of its family. `below` is for versions: of its app, or of the Pod Server
/// if it names none.
pub fn answer(insight: Insight, kind: WindowKind, releases: &[Release], below: Option<Cut>) -> Answer {
    let windows = match insight {
        Insight::Reach => releases.iter().map(reach).collect(),
        _ => releases.iter().flat_map(|release| by_population(insight, release, below)).collect(),
    };
    let adoption = match (insight.shape(), insight.family()) {
        (Some(Shape::Versions { of_each_app }), Some(family)) => {
            let apps: &[AppName] = if of_each_app { &AppName::ALL } else { &[] };
            Some(adoption(releases, family, apps))
        }
        _ => None,
    };
    Answer {
        insight: insight.as_str().into(),
        question: insight.question().into(),
        unit: insight.unit().into(),
        window: kind.as_str().into(),
        note: NOTE.into(),
        windows,
        adoption,
        asked_below: below.is_some(),
    }
}

fn by_population(insight: Insight, release: &Release, below: Option<Cut>) -> Vec<AnsweredWindow> {
    let Some(family) = insight.family() else { return Vec::new() };
    Population::ALL
        .into_iter()
        .filter(|population| Family::of_population(*population).any(|of| of == family))
        .map(|population| {
            let blocks = release.blocks_of(population, family).iter();
            let published: Vec<(&str, u64)> =
                blocks.map(|block| (block.label.as_str(), block.published)).collect();
            let mut window = window(release, &published);
            if matches!(insight.shape(), Some(Shape::Bins { .. })) {
                window.blocks.sort_by_key(|block| least_of_bin(&block.label));
            }
            let below = below.filter(|_| !published.is_empty());
            AnsweredWindow {
                population: Some(population.as_str().into()),
                at_least: window.total.filter(|_| insight == Insight::Pods).map(|total| bounds(total).0),
                below: below.map(|cut| {
                    let placed: Vec<_> =
                        published.iter().map(|(label, count)| (place(label, cut.app), *count)).collect();
                    Below::of(cut, &placed)
                }),
                ..window
            }
        })
        .collect()
}

/// Where a size stands among the others: at its least count. What is not a size comes last.
fn least_of_bin(label: &str) -> u32 {
    label.split_once('–').and_then(|(least, _)| least.parse().ok()).unwrap_or(u32::MAX)
}

/// Pod and direct installations side by side, never added. Without one of the two, there are no shares.
fn reach(release: &Release) -> AnsweredWindow {
    let named = |population: Population, label: &'static str| {
        let block = release.blocks_of(population, Family::INSTALLATIONS).first();
        block.map(|block| (label, block.published))
    };
    let published: Vec<_> = [named(Population::Pod, "proxied"), named(Population::Direct, "direct")]
        .into_iter()
        .flatten()
        .collect();
    let mut window = window(release, &published);
    window.total = None;
    if published.len() < 2 {
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
        at_least: None,
        blocks,
        below: None,
    }
}

#[cfg(test)]
mod tests {
    use shared::data_point::MetaUserCount;
    use shared::data_point::PodVersion;
    use shared::data_point::UserAppVersion;
    use shared::version::Version;

    use super::*;
    use crate::insight::Bounds;
    use crate::release::ReleasedBlock;
    use crate::window::Window;

    fn release(blocks: &[(Population, Family, &str, u64)]) -> Release {
        let blocks = blocks.iter().map(|(population, family, label, published)| ReleasedBlock {
            population: *population,
            family: *family,
            label: (*label).to_owned(),
            published: *published,
        });
        Release::restored(Window::of_day(WindowKind::Week, "2026-11-16".parse().unwrap()), blocks.collect())
    }

    fn versions(blocks: &[(&str, u64)], below: &str) -> Below {
        let blocks: Vec<_> =
            blocks.iter().map(|(l, n)| (Population::Pod, Family::of::<PodVersion>(), *l, *n)).collect();
        let answer = answer(
            Insight::of::<PodVersion>(),
            WindowKind::Week,
            &[release(&blocks)],
            Version::parse(below).map(Cut::from),
        );
        answer.windows.into_iter().next().unwrap().below.unwrap()
    }

    #[test]
    fn the_share_below_a_version_is_as_wide_as_what_is_not_known() {
        let published =
            [("0.3/other", 10), ("0.4.0", 20), ("0.4/other", 5), ("0.5.0", 60), ("not_reported", 5)];
        let below = versions(&published, "0.4.1");
        // 0.3/other and 0.4.0 certainly are, each up to 2 fewer than published. 0.4/other and those that did
        // not report may be, each up to 2 more.
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
    fn what_is_below_a_version_of_an_app_may_be_in_whatever_says_not_which_app_it_is() {
        let blocks: Vec<_> = [
            ("prose-app-web 1.0.0", 100),
            ("prose-app-web 1.1.0", 200),
            ("prose-app-web/other", 30),
            ("prose-app-ios 1.0.0", 500),
            ("not_reported", 40),
            ("other", 20),
        ]
        .map(|(l, n)| (Population::Direct, Family::of::<UserAppVersion>(), l, n))
        .into();
        let cut = Cut { app: Some(AppName::Web), version: Version::parse("1.1.0").unwrap() };
        let answer =
            answer(Insight::of::<UserAppVersion>(), WindowKind::Week, &[release(&blocks)], Some(cut));
        let windows: Vec<_> = answer.windows.iter().map(|w| w.below.as_ref().map(|b| b.count)).collect();
        assert_eq!(windows, [None, Some(Bounds { at_least: 98, at_most: 102 + 32 + 42 + 22 })]);
    }

    #[test]
    fn what_is_folded_and_what_is_not_told_is_of_no_known_value() {
        let blocks = [("prose-app-web 1.0.0", 100), ("prose-app-web 1.0/other", 20), ("other", 10)];
        let untold = [("prose-app-web not_reported", 5), ("unrecognised", 15), ("not_reported", 40)];
        let blocks = [blocks, untold].concat();
        let blocks: Vec<_> =
            blocks.iter().map(|(l, n)| (Population::Pod, Family::of::<UserAppVersion>(), *l, *n)).collect();
        let answer = answer(Insight::of::<UserAppVersion>(), WindowKind::Week, &[release(&blocks)], None);
        assert_eq!(answer.windows[0].unknown(), Unknown { folded: 30, untold: 60 });
    }

    #[test]
    fn there_are_at_least_as_many_pods_as_round_to_what_is_published() {
        let pods = [release(&[(Population::Pod, Family::PODS, "all", 290)])];
        assert_eq!(answer(Insight::Pods, WindowKind::Week, &pods, None).windows[0].at_least, Some(288));
    }

    #[test]
    fn sizes_are_in_their_order() {
        let sizes = [("not_reported", 15), ("100–399", 5), ("50–99", 30), ("0–4", 10)];
        let blocks: Vec<_> =
            sizes.iter().map(|(l, n)| (Population::Pod, Family::of::<MetaUserCount>(), *l, *n)).collect();
        let window = answer(Insight::of::<MetaUserCount>(), WindowKind::Week, &[release(&blocks)], None)
            .windows
            .remove(0);
        let labels: Vec<_> = window.blocks.iter().map(|block| block.label.as_str()).collect();
        assert_eq!(labels, ["0–4", "50–99", "100–399", "not_reported"]);
    }

    #[test]
    fn reach_compares_the_two_populations_and_tells_no_share_without_both() {
        let both = release(&[
            (Population::Pod, Family::INSTALLATIONS, "all", 900),
            (Population::Direct, Family::INSTALLATIONS, "all", 100),
        ]);
        let window = answer(Insight::Reach, WindowKind::Week, &[both], None).windows.remove(0);
        let shares: Vec<_> = window.blocks.iter().map(|block| (block.label.as_str(), block.share)).collect();
        assert_eq!(shares, [("proxied", Some(0.9)), ("direct", Some(0.1))]);
        assert_eq!(window.total, None, "who reported in both ways is in both");

        let one = release(&[(Population::Pod, Family::INSTALLATIONS, "all", 900)]);
        let window = answer(Insight::Reach, WindowKind::Week, &[one], None).windows.remove(0);
        assert_eq!((window.total, window.blocks[0].share), (None, None));
    }

    #[test]
    fn a_window_without_blocks_says_that_too_few_reported() {
        let window = answer(Insight::Pods, WindowKind::Week, &[release(&[])], None).windows.remove(0);
        assert_eq!((window.total, window.blocks.len()), (None, 0));
    }
}
