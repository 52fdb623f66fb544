//! A string of the wire → a value, without copying it and without quoting it in an error.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

/// What a wire string can say: the value in its normal form, or something we do not know.
///
/// Unknown text is forgotten at once: it is never stored, logged or passed on, and leaves as a fixed word.
/// `Unrecognised` is the lower of the two, so that a merge prefers what we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observed<T> {
    /// A text that is not a value of this data point.
    Unrecognised,
    /// A value in its normal form.
    Recognised(T),
}

impl<T> Observed<T> {
    /// The value, if it was recognised.
    pub fn recognised(self) -> Option<T> {
        match self {
            Self::Recognised(value) => Some(value),
            Self::Unrecognised => None,
        }
    }
}

impl<T> From<Option<T>> for Observed<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unrecognised, Self::Recognised)
    }
}

/// The word that stands for [`Observed::Unrecognised`] on the wire and in releases.
pub const UNRECOGNISED: &str = "unrecognised";

/// Reads a string and hands it to `parse`; `expected` is all that an error says.
pub(crate) fn parse_str<'de, D, T>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Text<F> {
        expected: &'static str,
        parse: F,
    }

    impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.parse)(text).ok_or_else(|| E::custom(self.expected))
        }
    }

    deserializer.deserialize_str(Text { expected, parse })
}

/// A deserializer that reads structs from JSON objects only. Without it, serde takes an array of the values as well.
pub(crate) struct ObjectsOnly<D>(pub(crate) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectsOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// `Serialize` and `Deserialize` of a struct that is an object on the wire, and nothing else. The struct derives both
/// with `#[serde(remote = "Self")]`.
macro_rules! object_on_the_wire {
    ($($object:ty),+) => {$(
        impl serde::Serialize for $object {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $object {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize($crate::wire::ObjectsOnly(deserializer))
            }
        }
    )+};
}
pub(crate) use object_on_the_wire;

/// `Serialize`, `Deserialize` and `JsonSchema` of `Observed<T>` for a `T` that has `parse` and `Display`.
macro_rules! observed_on_the_wire {
    ($value:ty, $name:literal, $description:literal, $pattern:expr, $example:literal) => {
        impl serde::Serialize for $crate::wire::Observed<$value> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl std::fmt::Display for $crate::wire::Observed<$value> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Recognised(value) => value.fmt(f),
                    Self::Unrecognised => f.write_str(<$value>::UNRECOGNISED),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $crate::wire::Observed<$value> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::wire::parse_str(deserializer, "a string", |text| Some(<$value>::parse(text).into()))
            }
        }

        impl schemars::JsonSchema for $crate::wire::Observed<$value> {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "description": $description, "pattern": $pattern, "examples": [$example],
                })
            }
        }
    };
}
pub(crate) use observed_on_the_wire;
