//! Blocks of versions → how many are below a version, between honest bounds. Pure.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::app::AppName;
use shared::version::Version;

use super::place::{Place, Side};
use crate::release::bounds;

/// The question: how many are below a version of the Pod Server, or of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The app; `None` for the Pod Server.
    pub app: Option<AppName>,
    /// The oldest version that would still work.
    pub version: Version,
}

/// The app in question if the reader names none.
pub const DEFAULT_APP: AppName = AppName::Web;

/// Everything below a version of the Pod Server.
impl From<Version> for Cut {
    fn from(version: Version) -> Self {
        Self { app: None, version }
    }
}

/// How many are below a version, as far as the published numbers show.
///
/// Reporters that told no version may be below it: they count in the upper bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Below {
    /// The app, if the question is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Cow<'static, str>>,
    /// The version.
    pub version: String,
    /// How many are below it.
    pub count: Bounds<u64>,
    /// Their share of those that run the software, from 0 to 1.
    pub share: Bounds<f64>,
}

/// Bounds on the true number. Rounding, folding and missing reports leave open where between the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds<T> {
    /// At least this.
    pub at_least: T,
    /// At most this.
    pub at_most: T,
}

/// A published number and where its versions stand.
pub(crate) type Placed = (Place, u64);

/// The published numbers on each side of the cut, at both ends of their rounding.
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

    /// The share below the cut, of all reporters, with those that told no version.
    fn below(&self) -> Bounds<Part> {
        let unknown = self.either.1 + self.untold.1;
        between(self.below, self.at_or_above, unknown)
    }

    /// The share at the cut or above it, of those that told their version.
    pub(crate) fn at_or_above(&self) -> Bounds<Part> {
        between(self.at_or_above, self.below, self.either.1)
    }
}

/// A fraction of a whole, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    count: u64,
    whole: u64,
}

impl Part {
    /// From 0 to 1; 0 if the whole is empty.
    pub(crate) fn share(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.count as f64 / self.whole as f64 }
    }

    /// Whether the whole is not empty and this is at least `percent` of it.
    pub(crate) fn reaches(self, percent: u64) -> bool {
        self.count > 0 && self.count * 100 >= self.whole * percent
    }
}

/// The share of `ours`, where `unknown` reporters may belong to it, to the `others`, or to neither. Each
/// number is taken at the end of its rounding that weakens the bound.
fn between(ours: (u64, u64), others: (u64, u64), unknown: u64) -> Bounds<Part> {
    let possible = ours.1 + unknown;
    Bounds {
        at_least: Part { count: ours.0, whole: ours.0 + others.1 + unknown },
        at_most: Part { count: possible, whole: possible + others.0 },
    }
}

/// Rounds bounds outwards to four digits.
pub(crate) fn outwards(share: Bounds<Part>) -> Bounds<f64> {
    Bounds {
        at_least: (share.at_least.share() * 10_000.0).floor() / 10_000.0,
        at_most: (share.at_most.share() * 10_000.0).ceil() / 10_000.0,
    }
}

impl Below {
    /// The published numbers on each side of the cut.
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

    /// What an installation runs, and whether its Pod shares the version.
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
            // Those that tell no version count, too.
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
