//! `[vendor_analytics]` as an operator wrote it → every key resolved, with the layer that decided each key.
//!
//! Layers, strongest first: the keys of `[vendor_analytics]`; then the chosen preset and, one after the other,
//! those that it inherits, each with the operator's overrides of it before its own decisions. A custom preset that
//! names no `inherits` inherits `default`.
//!
//! A named preset only takes away: a data point that it has decided on is left to the layers below it, where it
//! is on unless the operator turned it off there.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value as Toml};

use crate::config::{Mistake, Mistakes, shown, suggestion};
use crate::data_point::{DataPoint, OptionKind, REGISTRY, categories};
use crate::policy::Policy;
use crate::preset::Named;

/// The name of the section in the configuration.
pub const SECTION: &str = "vendor_analytics";

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A count.
    Number(u32),
    /// Platform names.
    List(Vec<String>),
    /// An option that no layer sets.
    Unset,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => on.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::List(items) => items.join(", ").fmt(f),
            Self::Unset => f.write_str("–"),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Switch(on) => on.into(),
            Value::Number(n) => n.into(),
            Value::List(items) => items.into(),
            Value::Unset => Self::Null,
        }
    }
}

/// The layer that decided a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A key of `[vendor_analytics]` itself.
    Operator,
    /// The operator's override of a preset, or a preset of the operator's own.
    Override(String),
    /// A preset that comes with the software: the one that was chosen, or that a preset of the operator's own inherits.
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

/// Every key, resolved, in the order of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of the chosen preset.
    pub preset: String,
    /// The keys.
    pub settings: Vec<Setting>,
}

impl Default for Settings {
    /// Those of an operator who wrote nothing.
    fn default() -> Self {
        Self::of(REGISTRY, &Written::default())
    }
}

impl Settings {
    /// Resolves `[vendor_analytics]` of `document`, for the registered data points.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn resolve(document: &Table) -> Result<Self, Mistakes> {
        Self::resolve_for(REGISTRY, document)
    }

    /// As [`Self::resolve`], for another registry.
    fn resolve_for(registry: &[DataPoint], document: &Table) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let written = Written::read(registry, document, &mut mistakes);
        mistakes.or(Self::of(registry, &written))
    }

    fn of(registry: &[DataPoint], written: &Written) -> Self {
        Self { preset: written.preset.clone(), settings: settings(registry, written) }
    }

    /// Whether a data point is in force: on, in a category that is on, with the master switch on.
    pub fn in_force(&self, point: &DataPoint) -> bool {
        let on = |key: &str| {
            self.settings.iter().any(|setting| setting.key == key && setting.value == Value::Switch(true))
        };
        on("enabled") && on(&format!("{}.enabled", point.category())) && on(&format!("{}.enabled", point.key))
    }

    /// The policy with these settings.
    ///
    /// # Panics
    /// Never: a test holds that the registry and [`Policy`] have the same keys.
    pub fn policy(&self) -> Policy {
        let mut policy = serde_json::json!({ "preset": self.preset });
        for Setting { key, value, .. } in &self.settings {
            let slot = key.split('.').fold(&mut policy, |parent, part| &mut parent[part]);
            *slot = value.clone().into();
        }
        serde_json::from_value(policy).expect("the registry and Policy have the same keys")
    }
}

/// The keys below `vendor_analytics`, dotted, but for those of presets.
pub fn known_keys() -> Vec<String> {
    let keys = keys(REGISTRY).into_iter().map(|(key, _)| key);
    std::iter::once("preset".to_owned()).chain(keys).collect()
}

/// The keys below `vendor_analytics` and what each may hold.
fn keys(registry: &[DataPoint]) -> Vec<(String, Kind)> {
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

impl Kind {
    fn read(self, value: &Toml) -> Option<Value> {
        match (self, value) {
            (Self::Switch, Toml::Boolean(on)) => Some(Value::Switch(*on)),
            (Self::Count { least }, Toml::Integer(n)) => {
                u32::try_from(*n).ok().filter(|n| *n >= least).map(Value::Number)
            }
            (Self::Platforms, Toml::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Value::List),
            _ => None,
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Count { least } => format!("a whole number from {least} to {}", u32::MAX),
            Self::Platforms => "a list of platform names, such as [\"web\", \"macos\"]".to_owned(),
        }
    }
}

/// The keys that a layer decides.
type Decisions = BTreeMap<String, Value>;

/// What the operator wrote.
struct Written {
    preset: String,
    /// The chosen preset and those that it inherits, strongest first.
    chain: Vec<String>,
    keys: Decisions,
    presets: BTreeMap<String, Decisions>,
}

impl Default for Written {
    fn default() -> Self {
        let preset = Named::Default.as_str().to_owned();
        let chain = vec![preset.clone(), Named::All.as_str().to_owned()];
        Self { preset, chain, keys: Decisions::new(), presets: BTreeMap::new() }
    }
}

impl Written {
    fn read(registry: &[DataPoint], document: &Table, mistakes: &mut Mistakes) -> Self {
        let section = match document.get(SECTION) {
            None => return Self::default(),
            Some(Toml::Table(section)) => section,
            Some(other) => {
                mistakes.0.push(Mistake::new(SECTION, format!("must be a section, not {}", shown(other))));
                return Self::default();
            }
        };
        let mut section = section.clone();
        let preset = section.remove("preset");
        let presets = section.remove("presets");
        let keys = read_decisions(registry, &section, SECTION, &["preset", "presets"], mistakes);

        let mut tables = BTreeMap::new();
        match presets {
            None => {}
            Some(Toml::Table(presets)) => tables.extend(presets),
            Some(other) => mistakes.0.push(Mistake::new(
                format!("{SECTION}.presets"),
                format!("must be a section with a section for each preset, not {}", shown(&other)),
            )),
        }
        let mut presets = BTreeMap::new();
        let mut parents = BTreeMap::new();
        for (name, value) in tables {
            let path = format!("{SECTION}.presets.{name}");
            let Toml::Table(mut table) = value else {
                mistakes.0.push(Mistake::new(path, format!("must be a section, not {}", shown(&value))));
                continue;
            };
            if let Some(parent) = table.remove("inherits") {
                parents.insert(name.clone(), parent);
            }
            presets.insert(name, read_decisions(registry, &table, &path, &["inherits"], mistakes));
        }
        let parents = read_parents(&presets, parents, mistakes);

        let known = |name: &str| Named::parse(name).is_some() || presets.contains_key(name);
        let preset = match preset {
            None => Named::Default.as_str().to_owned(),
            Some(Toml::String(name)) if known(&name) => name,
            Some(other) => {
                let problem =
                    format!("must be the name of a preset ({}), not {}", names(&presets), shown(&other));
                mistakes.0.push(Mistake::new(format!("{SECTION}.preset"), problem));
                Named::Default.as_str().to_owned()
            }
        };
        let chain = chain(&preset, &parents).unwrap_or_default();
        Self { preset, chain, keys, presets }
    }
}

/// Reads the keys of one layer; `others` may stand there, too, and have been read.
fn read_decisions(
    registry: &[DataPoint],
    table: &Table,
    path: &str,
    others: &[&str],
    mistakes: &mut Mistakes,
) -> Decisions {
    let keys = keys(registry);
    let mut decisions = Decisions::new();
    let mut open: Vec<(String, &Toml)> = table.iter().map(|(key, value)| (key.clone(), value)).collect();
    while let Some((key, value)) = open.pop() {
        let is_section = keys.iter().any(|(known, _)| known.starts_with(&format!("{key}.")));
        match (keys.iter().find(|(known, _)| *known == key), value) {
            (Some((_, kind)), value) => match kind.read(value) {
                Some(value) => {
                    decisions.insert(key, value);
                }
                None => mistakes.0.push(Mistake::new(
                    format!("{path}.{key}"),
                    format!("must be {}, not {}", kind.expected(), shown(value)),
                )),
            },
            (None, Toml::Table(inner)) if is_section => {
                open.extend(inner.iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            (None, value) if is_section => mistakes.0.push(Mistake::new(
                format!("{path}.{key}"),
                format!("must be a section, such as `{key}.enabled = false`, not {}", shown(value)),
            )),
            (None, _) => {
                let known = keys.iter().map(|(known, _)| known.as_str()).chain(others.iter().copied());
                let problem = format!("unknown key{}", suggestion(&key, known));
                mistakes.0.push(Mistake::new(format!("{path}.{key}"), problem));
            }
        }
    }
    decisions
}

/// What each preset inherits. Custom presets that inherit an unknown one, or in a circle, inherit nothing.
fn read_parents(
    presets: &BTreeMap<String, Decisions>,
    written: BTreeMap<String, Toml>,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, String> {
    let mut parents: BTreeMap<_, _> = Named::ALL
        .iter()
        .filter_map(|named| Some((named.as_str().to_owned(), named.inherits()?.as_str().to_owned())))
        .collect();
    for name in presets.keys().filter(|name| Named::parse(name).is_none()) {
        parents.insert(name.clone(), Named::Default.as_str().to_owned());
    }
    for (name, parent) in written {
        let mut mistake = |problem| {
            mistakes.0.push(Mistake::new(format!("{SECTION}.presets.{name}.inherits"), problem));
        };
        match parent {
            _ if Named::parse(&name).is_some() => {
                mistake(format!("`{name}` is a preset of Prose, and what it inherits cannot be changed"));
            }
            Toml::String(parent) if Named::parse(&parent).is_some() || presets.contains_key(&parent) => {
                parents.insert(name, parent);
            }
            other => {
                mistake(format!("must be the name of a preset ({}), not {}", names(presets), shown(&other)))
            }
        }
    }
    for name in presets.keys() {
        if chain(name, &parents).is_none() {
            mistakes.0.push(Mistake::new(
                format!("{SECTION}.presets.{name}.inherits"),
                "the presets inherit each other in a circle; one of them must inherit another one",
            ));
        }
    }
    parents
}

/// The names that may be chosen.
fn names(presets: &BTreeMap<String, Decisions>) -> String {
    let mut names: Vec<_> = Named::ALL.iter().map(|named| named.as_str()).collect();
    names.extend(presets.keys().map(String::as_str).filter(|name| Named::parse(name).is_none()));
    names.join(", ")
}

/// `preset` and what it inherits, strongest first; `None` if that is a circle.
fn chain(preset: &str, parents: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut chain = vec![preset.to_owned()];
    while let Some(parent) = chain.last().and_then(|name| parents.get(name)) {
        if chain.contains(parent) {
            return None;
        }
        chain.push(parent.clone());
    }
    Some(chain)
}

/// Decides every key by the strongest layer that says something about it.
fn settings(registry: &[DataPoint], written: &Written) -> Vec<Setting> {
    keys(registry)
        .into_iter()
        .map(|(key, _)| {
            let (value, decided_by) =
                decide(registry, written, &key).unwrap_or((Value::Unset, Layer::Nobody));
            Setting { key, value, decided_by }
        })
        .collect()
}

fn decide(registry: &[DataPoint], written: &Written, key: &str) -> Option<(Value, Layer)> {
    if let Some(value) = written.keys.get(key) {
        return Some((value.clone(), Layer::Operator));
    }
    written.chain.iter().find_map(|name| {
        if let Some(value) = written.presets.get(name).and_then(|decisions| decisions.get(key)) {
            return Some((value.clone(), Layer::Override(name.clone())));
        }
        let named = Named::parse(name)?;
        Some((named_decision(registry, named, key)?, Layer::Preset(chosen(&written.chain)?)))
    })
}

/// The strongest preset of Prose in a chain: what it takes over from those that it inherits is its own decision.
fn chosen(chain: &[String]) -> Option<Named> {
    chain.iter().find_map(|name| Named::parse(name))
}

/// What a named preset says about a key; `None` leaves it to what the preset inherits.
fn named_decision(registry: &[DataPoint], named: Named, key: &str) -> Option<Value> {
    if let Some((_, n)) = named.options().iter().find(|(option, _)| *option == key) {
        return Some(Value::Number(*n));
    }
    let switch = key.strip_suffix("enabled")?.trim_end_matches('.');
    match registry.iter().find(|point| point.key == switch) {
        Some(point) if !named.turns_on(point) => Some(Value::Switch(false)),
        _ => (named == Named::All).then_some(Value::Switch(true)),
    }
}

#[cfg(test)]
mod tests;
