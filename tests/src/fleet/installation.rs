//! An installation: where it belongs, what it reports about itself, when it is used.

use jiff::civil::{Date, Weekday};
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use shared::data_point::{AppVersion, CountedPoint, Reporter};
use shared::event::{self, Event, Observed};
use shared::locale::Locale;
use shared::platform::Platform;
use shared::pseudonym::{PodId, UserHash};

use super::catalogue::{self, App};
use super::choice::{any, choose};

/// One app on one device.
#[derive(Debug)]
pub struct Installation {
    username: String,
    domain: String,
    device: String,
    app: &'static App,
    /// How many days after a release it upgrades.
    lag: i32,
    pre_releases: bool,
    habit: Habit,
    platform: Option<(&'static str, Option<&'static str>)>,
    locales: Option<Vec<(&'static str, Option<&'static str>)>>,
    /// From this day on, the locale of first choice is another.
    changes_locale: Option<(i32, (&'static str, Option<&'static str>))>,
    /// The days of the play on which it exists.
    exists: std::ops::Range<i32>,
    on_weekdays: f64,
    on_weekends: f64,
}

/// How an app writes its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Correctly.
    Plain,
    /// With build metadata in the version, which is dropped.
    BuildMetadata,
    /// With an invalid version.
    OwnBuild,
    /// Without a version.
    NoVersion,
    /// Without anything about the app.
    Silent,
    /// With claims about the Pod, and fields that do not exist.
    Talkative,
}

const HABITS: &[(u32, Habit)] = &[
    (930, Habit::Plain),
    (20, Habit::BuildMetadata),
    (8, Habit::OwnBuild),
    (12, Habit::NoVersion),
    (10, Habit::Silent),
    (20, Habit::Talkative),
];

/// What an installation reports about itself on one day, in normal form.
#[derive(Clone, Debug)]
pub struct Says {
    /// App and version.
    pub app_version: AppVersion,
    /// The platform, as written and in normal form.
    pub platform: Option<(&'static str, Observed<Platform>)>,
    /// The locale of first choice.
    pub language: Option<Observed<Locale>>,
    /// The codes of the data points that the catalogue does not list, in the order of the registry.
    pub others: Vec<u64>,
}

/// How many data points of installations the catalogue lists: the first ones of the registry.
const KNOWN: usize = 3;

impl Installation {
    /// An installation of an account at `domain`, in a play of `days` days.
    pub(super) fn new(
        rng: &mut impl Rng,
        username: String,
        domain: &str,
        home: (&'static str, Option<&'static str>),
        days: u16,
    ) -> Self {
        let app = choose(rng, catalogue::APPS);
        let days = i32::from(days);
        let from = if rng.random_bool(0.8) { i32::MIN } else { rng.random_range(0..days) };
        let until = if rng.random_bool(0.85) {
            i32::MAX
        } else {
            rng.random_range(1..=days).max(from.saturating_add(1))
        };
        let first = if rng.random_bool(0.7) { home } else { *choose(rng, catalogue::LOCALES) };
        let others = rng.random_range(0..4).clamp(0, 3);
        let locales =
            std::iter::once(first).chain((0..others).map(|_| *choose(rng, catalogue::LOCALES))).collect();
        Self {
            username,
            domain: domain.to_owned(),
            device: format!("{:08x}", rng.random::<u32>()),
            app,
            lag: *choose(rng, &[(60, 0), (25, 7), (10, 30), (5, 1_000)]) + rng.random_range(0..7),
            pre_releases: rng.random_bool(0.03),
            habit: *choose(rng, HABITS),
            platform: rng.random_bool(0.99).then(|| *choose(rng, app.platforms)),
            locales: match rng.random_range(0..100) {
                0 => None,
                1 => Some(Vec::new()),
                _ => Some(locales),
            },
            changes_locale: rng
                .random_bool(0.1)
                .then(|| (rng.random_range(0..days), *choose(rng, catalogue::LOCALES))),
            exists: from..until,
            on_weekdays: rng.random_range(0.3..0.95),
            on_weekends: rng.random_range(0.02..0.4),
        }
    }

    /// Whether it is used on a day of the play.
    pub(super) fn is_used(&self, rng: &mut impl Rng, day: i32, date: Date) -> bool {
        let share = match date.weekday() {
            Weekday::Saturday | Weekday::Sunday => self.on_weekends,
            _ => self.on_weekdays,
        };
        // Drawn in any case, so that an installation that leaves does not change the others.
        rng.random_bool(share) && self.exists.contains(&day)
    }

    /// The pseudonym that the app makes.
    pub fn user_hash(&self) -> UserHash {
        UserHash::of_device(&self.username, &self.domain, &self.device)
    }

    /// What it reports about itself on a day.
    pub(super) fn says(&self, day: i32) -> Says {
        let version = catalogue::version(self.version(day));
        let silent = self.habit == Habit::Silent;
        Says {
            app_version: AppVersion {
                app: (!silent).then_some(self.app.means),
                version: match self.habit {
                    Habit::Plain | Habit::BuildMetadata | Habit::Talkative => {
                        Some(Observed::Recognised(version))
                    }
                    Habit::OwnBuild => Some(Observed::Unrecognised),
                    Habit::NoVersion | Habit::Silent => None,
                },
            },
            platform: self.platform.filter(|_| !silent).map(|wire| (wire.0, catalogue::platform(wire))),
            language: self
                .locales(day)
                .filter(|_| !silent)
                .and_then(|locales| locales.first().copied())
                .map(catalogue::locale),
            others: if silent { vec![0; self.others().count()] } else { self.codes_of_others() },
        }
    }

    /// The data points that the catalogue does not list, each with one of its examples, always the same.
    fn others(&self) -> impl Iterator<Item = (&'static CountedPoint, &'static str)> {
        let lot = self.device.bytes().map(usize::from).sum::<usize>();
        event::App::COUNTED.iter().skip(KNOWN).filter_map(move |point| {
            let examples = point.family.examples;
            Some((point, *examples.get(lot.checked_rem(examples.len())?)?))
        })
    }

    /// The fields of these data points.
    fn write_others(&self, app: &mut Value) {
        for (point, example) in self.others() {
            let field = point.declaration.fields.first().and_then(|field| field.strip_prefix("origin.app."));
            app[field.unwrap_or_default()] = example.into();
        }
    }

    fn codes_of_others(&self) -> Vec<u64> {
        let mut event = json!({ "origin": { "app": {} } });
        self.write_others(&mut event["origin"]["app"]);
        let app = Event::from_json(event.to_string().as_bytes()).ok().and_then(|event| event.origin.app);
        let codes = app.and_then(|app| app.codes().ok()).unwrap_or_default();
        codes.into_iter().skip(KNOWN).collect()
    }

    /// The event that it sends on a day, as an app writes it.
    pub(super) fn event(&self, rng: &mut impl Rng, day: i32) -> String {
        let names = &[(55, "app:startup"), (40, "app:daily"), (5, "account:signin")];
        let mut app = json!({ "name": self.app.name });
        match self.habit {
            Habit::NoVersion => {}
            Habit::BuildMetadata => app["version"] = format!("{}+sha.5114f85", self.version(day)).into(),
            Habit::OwnBuild => app["version"] = format!("{}-dev", self.version(day)).into(),
            Habit::Plain | Habit::Silent | Habit::Talkative => app["version"] = self.version(day).into(),
        }
        if let Some((platform, _)) = self.platform {
            app["platform"] = platform.into();
        }
        if let Some(locales) = self.locales(day) {
            app["user_preferred_locales"] = locales.iter().map(|(locale, _)| *locale).collect::<Value>();
        }
        self.write_others(&mut app);
        let mut event = json!({
            "name": choose(rng, names),
            "origin": {
                "pod": { "domain_hash": PodId::of_domain(&self.domain), "user_hash": self.user_hash() },
            },
        });
        if self.habit != Habit::Silent {
            event["origin"]["app"] = app;
        }
        if self.habit == Habit::Talkative {
            event["data"] = json!({ "credential_type": "password", "room": any(rng, catalogue::TRADES) });
            event["origin"]["app"]["mood"] = "dark".into();
        }
        event.to_string()
    }

    fn locales(&self, day: i32) -> Option<Vec<(&'static str, Option<&'static str>)>> {
        let mut locales = self.locales.clone()?;
        if let (Some(first), Some((from, other))) = (locales.first_mut(), self.changes_locale)
            && day >= from
        {
            *first = other;
        }
        Some(locales)
    }

    fn version(&self, day: i32) -> &'static str {
        catalogue::running(self.app.releases, day, self.lag, self.pre_releases)
    }
}
