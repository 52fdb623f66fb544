//! The options of a data point: what an operator may write beside `enabled`, and what was written.

use std::fmt;

/// An option of a data point's section.
#[derive(Clone, Copy, Debug)]
pub struct DataPointOption {
    /// The key within the section.
    pub key: &'static str,
    /// What its value may be.
    pub kind: OptionKind,
    /// What it does.
    pub effect: &'static str,
    /// The named presets that set it, each with its number.
    pub set_by: &'static [(crate::preset::Named, u32)],
}

/// What the value of an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A whole number, one or more.
    AtLeastOne,
    /// A list of platform names or families.
    Platforms,
}

/// The value of a key of the configuration.
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

/// The options of one data point, as the policy has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'p>(&'p [(&'static str, Value)]);

impl<'p> Options<'p> {
    /// Options by their keys.
    pub(crate) fn new(options: &'p [(&'static str, Value)]) -> Self {
        Self(options)
    }

    fn get(self, option: &DataPointOption) -> Option<&'p Value> {
        self.0.iter().find(|(key, _)| *key == option.key).map(|(_, value)| value)
    }

    /// The number that an option is set to.
    pub fn number(self, option: &DataPointOption) -> Option<u32> {
        match self.get(option)? {
            Value::Number(n) => Some(*n),
            Value::Switch(_) | Value::List(_) | Value::Unset => None,
        }
    }

    /// The list that an option is set to.
    pub fn list(self, option: &DataPointOption) -> Option<&'p [String]> {
        match self.get(option)? {
            Value::List(items) => Some(items),
            Value::Switch(_) | Value::Number(_) | Value::Unset => None,
        }
    }
}
