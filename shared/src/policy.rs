//! What an operator shares: every key of `[vendor_analytics]`, resolved, with the layer that decided it.

mod written;

use std::fmt;

use serde::{Serialize, Serializer};
use toml::Table;

use crate::config::Mistakes;
use crate::data_point::{
    DataPoint, Declaration, MetaUserCount, OptionKind, Options, REGISTRY, Registered, Reporter, Value,
    categories,
};
use crate::preset::Named;

/// The name of the section in the configuration.
pub const SECTION: &str = "vendor_analytics";

/// What an operator shares, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    preset: String,
    settings: Vec<Setting>,
    /// Of the data points in force: their keys and options.
    in_force: Vec<(&'static str, Vec<(&'static str, Value)>)>,
}

/// One resolved key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The dotted key below `vendor_analytics`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// The layer that decided it.
    pub decided_by: Layer,
}

/// The layer that decided a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A key of `[vendor_analytics]` itself.
    Operator,
    /// The operator's override of a preset, or a preset of the operator's own.
    Override(String),
    /// A preset that comes with the software: the chosen one, or the one that a preset of the operator's own inherits.
    Preset(Named),
    /// No layer: an option that is not set.
    Nobody,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("[vendor_analytics]"),
            Self::Override(preset) => write!(f, "[vendor_analytics.presets.{preset}]"),
            Self::Preset(named) => write!(f, "preset {}", named.as_str()),
            Self::Nobody => f.write_str("not set"),
        }
    }
}

/// Why a Pod sends nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The operator turned analytics off.
    Disabled,
    /// The Pod has fewer accounts than `min_cohort_size`.
    SmallCohort,
    /// `min_cohort_size` is set, and the number of accounts is not known.
    UnknownCohort,
}

impl Default for Policy {
    /// The policy of an operator who wrote nothing.
    fn default() -> Self {
        written::Written::default().resolved(REGISTRY)
    }
}

/// Serialised, a policy mirrors the configuration; an unset option is `null`.
impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut mirror = serde_json::json!({ "preset": self.preset });
        for Setting { key, value, .. } in &self.settings {
            *key.split('.').fold(&mut mirror, |parent, part| &mut parent[part]) = value.clone().into();
        }
        mirror.serialize(serializer)
    }
}

impl Policy {
    /// Resolves `[vendor_analytics]` of a document.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn resolve(document: &Table) -> Result<Self, Mistakes> {
        Self::resolve_for(REGISTRY, document)
    }

    /// As [`Self::resolve`], for another registry.
    fn resolve_for(registry: &[Registered], document: &Table) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let written = written::Written::read(registry, document, &mut mistakes);
        mistakes.or(written.resolved(registry))
    }

    /// A policy of settings for all keys of a registry.
    fn of(registry: &[Registered], preset: String, settings: Vec<Setting>) -> Self {
        let value =
            |key: &str| settings.iter().find(|setting| setting.key == key).map(|setting| &setting.value);
        let on = |key: &str| value(key) == Some(&Value::Switch(true));
        let is_in_force = |point: &&Registered| {
            on("enabled")
                && on(&format!("{}.enabled", point.category()))
                && on(&format!("{}.enabled", point.key))
        };
        let options = |point: &Registered| {
            let options = point.options.iter();
            let options = options.map(|option| (option.key, value(&format!("{}.{}", point.key, option.key))));
            let options = options.map(|(key, value)| (key, value.cloned().unwrap_or(Value::Unset)));
            (point.key, options.collect())
        };
        let in_force = registry.iter().filter(is_in_force).map(options).collect();
        Self { preset, settings, in_force }
    }

    /// The name of the chosen preset.
    pub fn preset(&self) -> &str {
        &self.preset
    }

    /// Every key, in the order of the registry.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The master switch.
    pub fn is_enabled(&self) -> bool {
        self.value("enabled") == Some(&Value::Switch(true))
    }

    /// A Pod with fewer enabled accounts sends nothing.
    pub fn min_cohort_size(&self) -> Option<u32> {
        match self.value("min_cohort_size")? {
            Value::Number(n) => Some(*n),
            Value::Switch(_) | Value::List(_) | Value::Unset => None,
        }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| &setting.value)
    }

    /// Whether a data point is in force: on, in a category that is on, with the master switch on.
    pub fn in_force(&self, point: &Declaration) -> bool {
        self.options(point).is_some()
    }

    /// The options of a data point that is in force.
    pub fn options(&self, point: &Declaration) -> Option<Options<'_>> {
        let (_, options) = self.in_force.iter().find(|(key, _)| *key == point.key)?;
        Some(Options::new(options))
    }

    /// Whether a Pod with so many enabled accounts (`None` if the number is not known) may send anything.
    ///
    /// # Errors
    /// The reason, if it may not.
    pub fn permits(&self, accounts: Option<u32>) -> Result<Permitted<'_>, Withheld> {
        if !self.is_enabled() {
            return Err(Withheld::Disabled);
        }
        match (self.min_cohort_size().unwrap_or(0), accounts) {
            (0, _) => Ok(Permitted(self)),
            (_, None) => Err(Withheld::UnknownCohort),
            (least, Some(accounts)) if accounts < least => Err(Withheld::SmallCohort),
            (_, Some(_)) => Ok(Permitted(self)),
        }
    }

    /// Whether the number of accounts decides anything.
    pub fn needs_account_count(&self) -> bool {
        let decides = self.is_enabled() && self.min_cohort_size().unwrap_or(0) > 0;
        decides || self.in_force(&MetaUserCount::DECLARATION)
    }
}

/// The policy of a Pod that may send something. Only [`Policy::permits`] makes it, so that nothing is shared of a Pod
/// that is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permitted<'p>(&'p Policy);

impl Permitted<'_> {
    /// Copies what the policy lets out of a report, data point by data point, to one that says nothing yet.
    pub fn share<R: Reporter>(self, from: &R, to: &mut R) {
        for point in R::SHARED {
            if let Some(options) = self.0.options(&point.declaration) {
                (point.share)(options, from, to);
            }
        }
    }
}

/// The keys below `vendor_analytics`, dotted, except those of presets.
pub fn known_keys() -> Vec<String> {
    let keys = keys(REGISTRY).into_iter().map(|(key, _)| key);
    std::iter::once("preset".to_owned()).chain(keys).collect()
}

/// The keys below `vendor_analytics` and what each may hold.
fn keys(registry: &[Registered]) -> Vec<(String, Kind)> {
    let mut keys =
        vec![("enabled".to_owned(), Kind::Switch), ("min_cohort_size".to_owned(), Kind::Count { least: 0 })];
    for category in categories(registry) {
        keys.push((format!("{category}.enabled"), Kind::Switch));
        for point in registry.iter().filter(|point| point.category() == category) {
            keys.push((format!("{}.enabled", point.key), Kind::Switch));
            for option in point.options {
                let kind = match option.kind {
                    OptionKind::AtLeastOne => Kind::Count { least: 1 },
                    OptionKind::Platforms => Kind::Platforms,
                };
                keys.push((format!("{}.{}", point.key, option.key), kind));
            }
        }
    }
    keys
}

#[derive(Clone, Copy)]
enum Kind {
    Switch,
    Count { least: u32 },
    Platforms,
}

#[cfg(test)]
mod tests;
