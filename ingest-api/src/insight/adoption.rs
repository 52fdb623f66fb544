//! Blocks of versions over time → when half of the reporters, and nine in ten of them, had adopted each
//! release. Pure.
//!
//! A reporter has adopted a version if it runs that version or a newer one. Reporters that told no version do
//! not count. Rounding and folding leave the exact number open. So an answer names the first window in which
//! the mark may have been reached, and the first in which it certainly had been.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::app::AppName;
use shared::version::{Stage, Version};

use super::below::{Bounds, Part, Placed, Sides, outwards};
use super::place::{Place, place};
use crate::release::Release;
use crate::release::{Family, Population};

/// How far a version has been adopted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Adoption {
    /// `pod` or `direct`.
    pub population: Cow<'static, str>,
    /// The app; absent for the Pod Server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Cow<'static, str>>,
    /// The version.
    pub version: String,
    /// The first day of the first window in which it was published. `null` if it may not be new in the
    /// period, because it or a newer version was in use before.
    pub first_published: Option<String>,
    /// The share that ran it or a newer version in the newest window, from 0 to 1, of those that told their
    /// version.
    pub newest: Bounds<f64>,
    /// When half had adopted it.
    pub half: Reached,
    /// When nine in ten had adopted it.
    pub nine_in_ten: Reached,
}

/// When a mark was reached, as far as the published numbers show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// Not before the window that starts on this day. `null` if it may have been before the period, or has
    /// not been reached.
    pub not_before: Option<String>,
    /// Not after the window that starts on this day. `null` if it may not have been reached yet.
    pub not_after: Option<String>,
    /// Days from the first publication to [`Self::not_before`].
    pub days_at_least: Option<i32>,
    /// Days from the first publication to [`Self::not_after`].
    pub days_at_most: Option<i32>,
    /// Whether it certainly has not been reached yet.
    pub not_yet: bool,
}

/// The newest version that was published on its own in the newest release that has any: of the Pod Server, or
/// of an app. A pre-release counts only if nothing else was published.
pub fn newest_version(
    releases: &[Release],
    population: Population,
    family: Family,
    app: Option<AppName>,
) -> Option<Version> {
    releases.iter().rev().find_map(|release| {
        let blocks = release.blocks_of(population, family).iter();
        let versions = blocks.filter_map(|block| match place(&block.label, app) {
            Place::Exact(version) => Some(version),
            _ => None,
        });
        versions.max_by_key(|version| (version.stage() == Stage::Release, *version))
    })
}

/// What was published in a window, with the app that each number is about, if it names one.
struct Window {
    start: Date,
    blocks: Vec<(Option<AppName>, Placed)>,
}

/// What was published about one software in a window.
struct Published {
    start: Date,
    blocks: Vec<Placed>,
}

/// Every version that was published on its own, newest first: of each app, or of the Pod Server if `apps` is
/// empty.
pub(super) fn adoption(releases: &[Release], family: Family, apps: &[AppName]) -> Vec<Adoption> {
    let software: Vec<Option<AppName>> = match apps {
        [] => vec![None],
        apps => apps.iter().copied().map(Some).collect(),
    };
    let mut adopted = Vec::new();
    for population in Population::ALL {
        let windows = windows(releases, population, family, apps);
        for app in &software {
            adopted.extend(of_software(&windows, *app).into_iter().map(|adoption| Adoption {
                population: population.as_str().into(),
                app: app.map(|app| app.as_str().into()),
                ..adoption
            }));
        }
    }
    adopted
}

/// The windows in which anything was published. Each label is parsed once.
fn windows(releases: &[Release], population: Population, family: Family, apps: &[AppName]) -> Vec<Window> {
    let mut known: HashMap<&str, (Option<AppName>, Place)> = HashMap::new();
    let read = |label: &str| {
        let app = apps.iter().copied().find(|app| label.starts_with(app.as_str()));
        (app, place(label, app.or(apps.first().copied())))
    };
    let published = releases.iter().map(|release| (release, release.blocks_of(population, family)));
    published
        .filter(|(_, blocks)| !blocks.is_empty())
        .map(|(release, blocks)| {
            let blocks = blocks.iter().map(|block| {
                let (app, place) = *known.entry(&block.label).or_insert_with(|| read(&block.label));
                (app, (place, block.published))
            });
            Window { start: release.window.start(), blocks: blocks.collect() }
        })
        .collect()
}

fn of_software(windows: &[Window], app: Option<AppName>) -> Vec<Adoption> {
    let published: Vec<Published> = windows
        .iter()
        .map(|window| {
            // A block that names no app may be about this one.
            let blocks = window.blocks.iter().filter(|(of, _)| of.is_none() || *of == app);
            Published { start: window.start, blocks: blocks.map(|(_, placed)| *placed).collect() }
        })
        .collect();
    let versions: BTreeSet<Version> = published
        .iter()
        .flat_map(|window| &window.blocks)
        .filter_map(|(place, _)| match place {
            Place::Exact(version) => Some(*version),
            _ => None,
        })
        .collect();
    versions.into_iter().rev().filter_map(|version| of_version(version, &published)).collect()
}

/// In percent.
const HALF: u64 = 50;

fn of_version(version: Version, published: &[Published]) -> Option<Adoption> {
    let first =
        published.iter().position(|window| window.blocks.iter().any(|(p, _)| *p == Place::Exact(version)))?;
    let shares: Vec<_> = published
        .iter()
        .map(|window| (window.start, Sides::of(version, &window.blocks).at_or_above()))
        .collect();
    let (first_day, _) = shares.get(first)?;
    let (_, newest) = shares.last()?;
    // The version may be old. It is if it was in use when the period began. It is if a newer version was:
    // this one is then a late fix of an old series, or has reappeared. It is if so much was folded that half
    // may have adopted it. A few folded reporters do not make it old.
    let was_there = |share: &Bounds<Part>| share.at_least.reaches(0) || share.at_most.reaches(HALF);
    let is_new = first > 0 && !shares[..first].iter().any(|(_, share)| was_there(share));
    let since = is_new.then_some(*first_day);
    let reached = |percent| {
        let may = shares.iter().position(|(_, share)| share.at_most.reaches(percent));
        let surely = shares.iter().position(|(_, share)| share.at_least.reaches(percent));
        let day = |at: Option<usize>| at.and_then(|at| shares.get(at)).map(|(day, _)| *day);
        let days = |day: Option<Date>| Some(days_between(since?, day?));
        let not_before = day(may.filter(|at| *at > 0));
        let not_after = day(surely);
        Reached {
            not_before: not_before.map(|day| day.to_string()),
            not_after: not_after.map(|day| day.to_string()),
            days_at_least: days(not_before),
            days_at_most: days(not_after),
            not_yet: may.is_none(),
        }
    };
    Some(Adoption {
        population: "".into(),
        app: None,
        version: version.to_string(),
        first_published: since.map(|day| day.to_string()),
        newest: outwards(*newest),
        half: reached(HALF),
        nine_in_ten: reached(90),
    })
}

fn days_between(from: Date, to: Date) -> i32 {
    // `since` counts in days unless it is asked to round.
    to.since(from).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::code::Coded;
    use shared::data_point::PodVersion;
    use shared::event::Observed;
    use shared::event::Pod;

    use super::*;
    use crate::release::ReleasedBlock;
    use crate::release::{Tally, Threshold};
    use crate::window::{Window, WindowKind};

    fn day(n: usize) -> Date {
        Date::constant(2026, 9, 1).saturating_add(jiff::Span::new().days(n as i64))
    }

    fn release(n: usize, blocks: &[(&str, u64)]) -> Release {
        let blocks = blocks.iter().map(|(label, published)| ReleasedBlock {
            population: Population::Pod,
            family: Family::of::<PodVersion>(),
            label: (*label).to_owned(),
            published: *published,
        });
        Release::restored(Window::of_day(WindowKind::Day, day(n)), blocks.collect())
    }

    fn versions(releases: &[Release]) -> Vec<Adoption> {
        adoption(releases, Family::of::<PodVersion>(), &[])
    }

    #[test]
    fn a_release_is_followed_from_its_first_window_on() {
        let releases = [
            release(0, &[("0.4.0", 100)]),
            release(1, &[("0.4.0", 80), ("0.5.0", 20)]),
            release(3, &[("0.4.0", 40), ("0.5.0", 60)]),
            release(7, &[("0.4.0", 5), ("0.5.0", 90), ("other", 10)]),
        ];
        let [new, old] = &versions(&releases)[..] else { panic!() };
        assert_eq!((new.version.as_str(), new.first_published.as_deref()), ("0.5.0", Some("2026-09-02")));
        let reached = Reached {
            not_before: Some(day(3).to_string()),
            not_after: Some(day(3).to_string()),
            days_at_least: Some(2),
            days_at_most: Some(2),
            not_yet: false,
        };
        assert_eq!(new.half, reached);
        // At most 92 + 12 have it and 3 do not: more than nine in ten. 88 of 88 + 7 + 12 are fewer.
        let perhaps = Reached {
            not_before: Some(day(7).to_string()),
            days_at_least: Some(6),
            not_yet: false,
            ..Reached::default()
        };
        assert_eq!(new.nine_in_ten, perhaps);
        assert_eq!((&old.first_published, &old.half.not_before), (&None, &None));
        assert_eq!(old.half.not_after, Some(day(0).to_string()));
        assert_eq!(old.half.days_at_most, None);
    }

    #[test]
    fn a_window_without_numbers_says_nothing_and_who_told_no_version_does_not_count() {
        let releases = [
            release(0, &[("0.4.0", 50), ("not_reported", 50)]),
            release(1, &[]),
            release(2, &[("0.5.0", 50), ("not_reported", 50)]),
        ];
        let adoption = versions(&releases);
        assert_eq!(adoption[0].newest, Bounds { at_least: 1.0, at_most: 1.0 });
        assert_eq!(adoption[0].nine_in_ten.days_at_most, Some(0));
        assert!(versions(&[release(0, &[])]).is_empty());
    }

    #[test]
    fn a_version_that_comes_back_and_a_late_repair_of_an_old_one_are_not_new() {
        let releases = [
            release(0, &[("0.4.0", 95), ("0.3/other", 5)]),
            release(1, &[("0.4.0", 80), ("0.5.0", 20)]),
            release(2, &[("0.4.0", 20), ("0.5.0", 80)]),
            release(3, &[("0.4.9", 20), ("0.5.0", 80), ("0.3.0", 10)]),
        ];
        let adopted = versions(&releases);
        let first: Vec<_> =
            adopted.iter().map(|a| (a.version.as_str(), a.first_published.as_deref())).collect();
        assert_eq!(first, [("0.5.0", Some("2026-09-02")), ("0.4.9", None), ("0.4.0", None), ("0.3.0", None)]);
        let [_, repair, _, back] = &adopted[..] else { panic!() };
        for reached in [&repair.half, &repair.nine_in_ten, &back.half, &back.nine_in_ten] {
            assert_eq!((reached.days_at_least, reached.days_at_most), (None, None));
        }
        // Four in five Pods ran 0.5.0 before 0.4.9 came out.
        assert_eq!(repair.half.not_before, Some(day(2).to_string()));
        assert_eq!((&back.half.not_before, &back.half.not_after), (&None, &Some(day(0).to_string())));
    }

    #[test]
    fn what_may_have_been_adopted_while_all_was_folded_is_not_new() {
        let releases = [release(0, &[("other", 10)]), release(1, &[("0.5.0", 20)])];
        assert_eq!(versions(&releases)[0].first_published, None);
        let releases = [release(0, &[("0.4.0", 90), ("other", 10)]), release(1, &[("0.5.0", 20)])];
        assert_eq!(versions(&releases)[0].first_published.as_deref(), Some("2026-09-02"));
    }

    /// For each window, the version of each Pod; `None` if it does not tell.
    fn any_history() -> impl Strategy<Value = Vec<Vec<Option<usize>>>> {
        let pod = prop_oneof![1 => Just(None), 9 => (0..6usize).prop_map(Some)];
        prop::collection::vec(prop::collection::vec(pod, 0..60), 1..10)
    }

    const VERSIONS: [&str; 6] = ["0.3.0", "0.3.1", "0.4.0", "0.4.1-rc.1", "0.4.1", "0.5.0"];

    fn publish(n: usize, pods: &[Option<usize>]) -> Release {
        let mut tally = Tally::of::<Pod>();
        for (pod, version) in pods.iter().enumerate() {
            let version = version.map(|v| Observed::Recognised(Version::parse(VERSIONS[v]).unwrap()));
            let said = tally.said([version.to_code(), 0]);
            tally.add(pod as i64, said);
        }
        let published = tally.publish(&Threshold::default());
        let (_, blocks) = published.iter().find(|(family, _)| *family == Family::of::<PodVersion>()).unwrap();
        let blocks: Vec<_> = blocks.iter().map(|block| (block.label(), block.published())).collect();
        release(n, &blocks)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_true_of_the_reporters_is_within_the_bounds(history in any_history()) {
            let releases: Vec<_> = history.iter().enumerate().map(|(n, pods)| publish(n, pods)).collect();
            for adoption in versions(&releases) {
                let version = VERSIONS.iter().position(|v| *v == adoption.version).unwrap();
                let first = releases.iter().position(|r| r.blocks().iter().any(|b| b.label == adoption.version)).unwrap();
                // A window without published numbers says nothing.
                let told = |n: &usize| !releases[*n].blocks().is_empty();
                let share = |n: usize| {
                    let told = history[n].iter().flatten();
                    (told.clone().filter(|v| **v >= version).count() as f64, told.count() as f64)
                };
                let last = (0..releases.len()).rfind(told).unwrap();
                let (adopted, all) = share(last);
                if all > 0.0 {
                    prop_assert!(adoption.newest.at_least <= adopted / all && adopted / all <= adoption.newest.at_most);
                }
                for (reached, percent) in [(adoption.half, 50.0), (adoption.nine_in_ten, 90.0)] {
                    let truly = (0..releases.len()).filter(told).find(|n| {
                        let (adopted, all) = share(*n);
                        adopted > 0.0 && adopted * 100.0 >= all * percent
                    });
                    prop_assert!(truly.is_none() || !reached.not_yet);
                    if let (Some(truly), Some(_)) = (truly, &adoption.first_published) {
                        prop_assert!(first <= truly, "it was adopted before it was called new");
                    }
                    prop_assert!(reached.days_at_least.is_none_or(|days| days >= 0));
                    if let (Some(truly), Some(not_before)) = (truly, reached.not_before) {
                        prop_assert!(not_before <= day(truly).to_string());
                    }
                    if let Some(not_after) = reached.not_after {
                        prop_assert!(truly.is_some_and(|truly| day(truly).to_string() <= not_after));
                    }
                }
            }
        }
    }
}
