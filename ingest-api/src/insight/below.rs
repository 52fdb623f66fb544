//! Blocks of versions → how many are below a version, between honest bounds. Pure.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::app::AppName;
use shared::version::Version;

use super::place::{Place, Side};
use crate::release::bounds;

/// What would be dropped: everything below a version of the Pod Server, or of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The app; `None` for the Pod Server.
    pub app: Option<AppName>,
    /// The oldest version that would go on working.
    pub version: Version,
}

/// The app that is asked about where none is named.
pub const DEFAULT_APP: AppName = AppName::Web;

/// Everything below a version of the Pod Server.
impl From<Version> for Cut {
    fn from(version: Version) -> Self {
        Self { app: None, version }
    }
}

/// How many are below a version, as far as the published numbers tell.
///
/// Whoever told no version may be below it, and counts in the upper bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Below {
    /// The app, where it was asked about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Cow<'static, str>>,
    /// The version.
    pub version: String,
    /// How many.
    pub count: Bounds<u64>,
    /// Which part of those that run it, from 0 to 1.
    pub share: Bounds<f64>,
}

/// The truth is between the two: rounding, and what is folded or not reported, leave it open where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds<T> {
    /// Not less than this.
    pub at_least: T,
    /// Not more than this.
    pub at_most: T,
}

/// A published number and where its reporters are.
pub(crate) type Placed = (Place, u64);

/// The published numbers by side, each at both ends of its rounding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sides {
    below: (u64, u64),
    at_or_above: (u64, u64),
    either: (u64, u64),
    untold: (u64, u64),
}

impl Sides {
    pub(crate) fn of(version: Version, published: &[Placed]) -> Self {
        let mut sides = Self::default();
        for (place, count) in published {
            let sum = match place.side(version) {
                Side::Below => &mut sides.below,
                Side::AtOrAbove => &mut sides.at_or_above,
                Side::Either => &mut sides.either,
                Side::Untold => &mut sides.untold,
                Side::Neither => continue,
            };
            let (least, greatest) = bounds(*count);
            *sum = (sum.0 + least, sum.1 + greatest);
        }
        sides
    }

    /// Of everybody, with those who told no version: which part is below.
    fn below(&self) -> Bounds<Part> {
        let unknown = self.either.1 + self.untold.1;
        between(self.below, self.at_or_above, unknown)
    }

    /// Of those who told their version: which part is at it or above.
    pub(crate) fn at_or_above(&self) -> Bounds<Part> {
        between(self.at_or_above, self.below, self.either.1)
    }
}

/// A part of a whole, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    count: u64,
    whole: u64,
}

impl Part {
    /// From 0 to 1; 0 of nothing.
    pub(crate) fn share(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.count as f64 / self.whole as f64 }
    }

    /// Whether it is at least so many hundredths of something.
    pub(crate) fn reaches(self, percent: u64) -> bool {
        self.count > 0 && self.count * 100 >= self.whole * percent
    }
}

/// How large a part `ours` is, where `unknown` reporters may belong to it, to the `others`, or to neither. Every number
/// is taken at the end of its rounding that makes the bound the weaker one.
fn between(ours: (u64, u64), others: (u64, u64), unknown: u64) -> Bounds<Part> {
    let possible = ours.1 + unknown;
    Bounds {
        at_least: Part { count: ours.0, whole: ours.0 + others.1 + unknown },
        at_most: Part { count: possible, whole: possible + others.0 },
    }
}

/// Four digits, rounded so that the bounds stay bounds.
pub(crate) fn outwards(share: Bounds<Part>) -> Bounds<f64> {
    Bounds {
        at_least: (share.at_least.share() * 10_000.0).floor() / 10_000.0,
        at_most: (share.at_most.share() * 10_000.0).ceil() / 10_000.0,
    }
}

impl Below {
    /// How many of the published are below the cut.
    pub(crate) fn of(cut: Cut, published: &[Placed]) -> Self {
        let below = Sides::of(cut.version, published).below();
        Self {
            app: cut.app.map(|app| app.as_str().into()),
            version: cut.version.to_string(),
            count: Bounds { at_least: below.at_least.count, at_most: below.at_most.count },
            share: outwards(below),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::code::Coded;
    use shared::data_point::{AppVersion, UserAppVersion};
    use shared::event::{App, Observed};

    use super::super::place::place;
    use super::*;
    use crate::release::{Family, Tally, Threshold};

    const VERSIONS: [&str; 5] = ["0.9.0", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0"];

    /// What an installation has, and what it tells of it: `None` if its Pod keeps that back.
    type Installation = (AppName, usize, bool);

    fn any_population() -> impl Strategy<Value = Vec<Installation>> {
        let app = prop_oneof![6 => Just(AppName::Web), 3 => Just(AppName::Ios), 1 => Just(AppName::Linux)];
        let told = prop_oneof![9 => Just(true), 1 => Just(false)];
        prop::collection::vec((app, 0..VERSIONS.len(), told), 0..400)
    }

    fn version(n: usize) -> Version {
        Version::parse(VERSIONS[n]).unwrap()
    }

    fn publish(population: &[Installation], app: AppName) -> Vec<Placed> {
        let mut tally = Tally::of::<App>();
        for (n, (app, v, told)) in population.iter().enumerate() {
            let reported = AppVersion {
                app: told.then_some(Observed::Recognised(*app)),
                version: told.then_some(Observed::Recognised(version(*v))),
            };
            let said = tally.said([reported.to_code(), 0, 0]);
            tally.add(n as i64 % 13, said);
        }
        let published = tally.publish(&Threshold::default());
        let (_, blocks) =
            published.iter().find(|(family, _)| *family == Family::of::<UserAppVersion>()).unwrap();
        blocks.iter().map(|block| (place(block.label(), Some(app)), block.published())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn who_is_below_in_truth_is_within_the_bounds(
            population in any_population(),
            app in prop_oneof![Just(AppName::Web), Just(AppName::Ios), Just(AppName::Linux)],
            cut in 0..VERSIONS.len(),
        ) {
            let published = publish(&population, app);
            prop_assume!(!published.is_empty());
            let below = Below::of(Cut { app: Some(app), version: version(cut) }, &published);
            // Those who tell nothing are there all the same.
            let of_app = population.iter().filter(|(of, ..)| *of == app);
            let truly = of_app.clone().filter(|(_, v, _)| *v < cut).count() as u64;
            prop_assert!(below.count.at_least <= truly && truly <= below.count.at_most, "{truly} of {below:?}");
            let all = of_app.count() as f64;
            if all > 0.0 {
                let share = truly as f64 / all;
                prop_assert!(below.share.at_least <= share && share <= below.share.at_most, "{share} of {below:?}");
            }
        }
    }
}
