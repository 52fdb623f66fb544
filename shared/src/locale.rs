//! A locale as BCP 47 text (`de-Latn-CH-u-co-phonebk`) → language and region (`de-CH`).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::{Observed, observed_on_the_wire};

/// A language of two or three letters and an optional region of two letters or three digits.
///
/// Scripts, variants and extensions are dropped: together they are rare enough to point at somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale {
    language: Subtag,
    region: Option<Subtag>,
}

/// Up to three ASCII characters, padded with zeros.
type Subtag = [u8; 3];

impl Locale {
    /// BCP 47's word for "undetermined".
    pub(crate) const UNRECOGNISED: &'static str = "und";

    /// The normal form of `text`; `None` if it is not BCP 47, or names no language. The underscores that Java and
    /// POSIX write are read as hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        let id = icu_locale_core::Locale::try_from_str(&text.replace('_', "-")).ok()?.id;
        let language = id.language;
        if language.is_unknown() || language.as_str().len() > 3 {
            return None;
        }
        Some(Self {
            language: subtag(language.as_str())?,
            region: id.region.and_then(|r| subtag(r.as_str())),
        })
    }

    /// The language, in lower case (`de`).
    pub fn language(&self) -> &str {
        text(&self.language)
    }

    /// The region, in upper case (`CH`) or digits (`419`).
    pub fn region(&self) -> Option<&str> {
        self.region.as_ref().map(text)
    }
}

fn subtag(text: &str) -> Option<Subtag> {
    let mut subtag = [0; 3];
    subtag.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(subtag)
}

fn text(subtag: &Subtag) -> &str {
    let end = subtag.iter().position(|byte| *byte == 0).unwrap_or(subtag.len());
    std::str::from_utf8(&subtag[..end]).unwrap_or_default()
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.language())?;
        self.region().map_or(Ok(()), |region| write!(f, "-{region}"))
    }
}

observed_on_the_wire!(
    Locale,
    "Locale",
    "A locale as in BCP 47; all but language and region is dropped. What is not BCP 47 counts as `und`.",
    "^[A-Za-z0-9_-]{2,64}$",
    "de-CH"
);

/// The preferred locales of a device, first choice first; bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locales(Vec<Observed<Locale>>);

impl Locales {
    /// How many locales are read; the others are passed over.
    pub const MAX: usize = 16;

    /// The locales, first choice first.
    pub fn as_slice(&self) -> &[Observed<Locale>] {
        &self.0
    }

    /// The first choice.
    pub fn first(&self) -> Option<Observed<Locale>> {
        self.0.first().copied()
    }

    /// At most the first `max`.
    pub fn truncated(&self, max: u32) -> Self {
        self.0.iter().take(usize::try_from(max).unwrap_or(usize::MAX)).copied().collect()
    }
}

impl FromIterator<Observed<Locale>> for Locales {
    fn from_iter<I: IntoIterator<Item = Observed<Locale>>>(locales: I) -> Self {
        Self(locales.into_iter().take(Self::MAX).collect())
    }
}

impl Serialize for Locales {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Locales {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> serde::de::Visitor<'de> for List {
            type Value = Locales;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Locales, A::Error> {
                let mut locales = Vec::new();
                // Items past the bound are still read: a list with a wrong type in it is wrong wherever it is.
                while let Some(locale) = items.next_element()? {
                    if locales.len() < Locales::MAX {
                        locales.push(locale);
                    }
                }
                Ok(Locales(locales))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Observed::from(Locale::parse(text)).to_string(), expected, "{text:?}");
    }

    #[test]
    fn a_locale_is_language_and_region_or_undetermined() {
        check("de-CH", "de-CH");
        check("en", "en");
        check("EN-us", "en-US");
        check("pt_BR", "pt-BR");
        check("es-419", "es-419");
        check("zh-Hans-CN", "zh-CN");
        check("de-Latn-DE-1996-u-co-phonebk", "de-DE");
        check("gsw-CH", "gsw-CH");
        for odd in ["", "C", "und", "x", "en_US.UTF-8", "de-CH-canary-is-far-too-long", "secretword", "🦀"]
        {
            check(odd, "und");
        }
    }
}
