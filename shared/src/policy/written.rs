//! `[vendor_analytics]` as an operator wrote it → every key resolved.
//!
//! Layers, strongest first: the keys of `[vendor_analytics]`; then the chosen preset and, one after the other, those
//! that it inherits, each with the operator's overrides of it before its own decisions. A preset of the operator's own
//! that names no `inherits` inherits `default`.
//!
//! A named preset only takes away: a data point that it leaves on is decided by the layers below it, where it is on
//! unless the operator turned it off there.

use std::collections::BTreeMap;

use toml::{Table, Value as Toml};

use super::{Kind, Layer, Policy, SECTION, Setting, keys};
use crate::config::{Mistake, Mistakes, shown, suggestion};
use crate::data_point::{Registered, Value};
use crate::preset::Named;

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
pub(super) struct Written {
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
    /// Decides every key by the strongest layer that says something about it.
    pub(super) fn resolved(&self, registry: &[Registered]) -> Policy {
        let setting = |(key, _): (String, Kind)| {
            let (value, decided_by) = self.decide(registry, &key).unwrap_or((Value::Unset, Layer::Nobody));
            Setting { key, value, decided_by }
        };
        Policy::of(registry, self.preset.clone(), keys(registry).into_iter().map(setting).collect())
    }

    fn decide(&self, registry: &[Registered], key: &str) -> Option<(Value, Layer)> {
        if let Some(value) = self.keys.get(key) {
            return Some((value.clone(), Layer::Operator));
        }
        self.chain.iter().find_map(|name| {
            if let Some(value) = self.presets.get(name).and_then(|decisions| decisions.get(key)) {
                return Some((value.clone(), Layer::Override(name.clone())));
            }
            let named = Named::parse(name)?;
            Some((named_decision(registry, named, key)?, Layer::Preset(chosen(&self.chain)?)))
        })
    }

    pub(super) fn read(registry: &[Registered], document: &Table, mistakes: &mut Mistakes) -> Self {
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
    registry: &[Registered],
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

/// The strongest preset of Prose in a chain: what it takes over from those that it inherits is its own decision.
fn chosen(chain: &[String]) -> Option<Named> {
    chain.iter().find_map(|name| Named::parse(name))
}

/// What a named preset says about a key; `None` leaves it to what the preset inherits.
fn named_decision(registry: &[Registered], named: Named, key: &str) -> Option<Value> {
    if key == "min_cohort_size" {
        return named.min_cohort_size().map(Value::Number);
    }
    let (section, option) = key.rsplit_once('.').unwrap_or(("", key));
    let point = registry.iter().find(|point| point.key == section);
    if option != "enabled" {
        let option = point?.options.iter().find(|known| known.key == option)?;
        return option.set_by.iter().find(|(preset, _)| *preset == named).map(|(_, n)| Value::Number(*n));
    }
    match point {
        Some(point) if !point.is_on_in(named) => Some(Value::Switch(false)),
        _ => (named == Named::All).then_some(Value::Switch(true)),
    }
}
