//! A locale as BCP 47 text (`de-Latn-CH-u-co-phonebk`) → a known language and region (`de-CH`).

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::Coded;
use crate::wire::{Observed, observed_on_the_wire};

mod names;

/// A known language and, optionally, a known region.
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
    /// Every known language.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        names::LANGUAGES.iter().map(|(code, _)| *code)
    }

    /// Every known region.
    pub fn regions() -> impl Iterator<Item = &'static str> {
        names::REGIONS.iter().map(|(code, _)| *code)
    }

    /// A label as readers know it: `German (Switzerland)` for `de-CH`.
    pub(crate) fn reader_label(label: &str) -> Option<String> {
        let name = |list: &[(&str, &'static str)], code: &str| {
            list.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
        };
        let Some((language, region)) = label.split_once('-') else {
            return name(names::LANGUAGES, label).map(str::to_owned);
        };
        Some(format!("{} ({})", name(names::LANGUAGES, language)?, name(names::REGIONS, region)?))
    }

    /// BCP 47's word for "undetermined".
    pub(crate) const UNRECOGNISED: &'static str = "und";

    /// The normal form of `text`; `None` if it is not BCP 47, or names no known language. An unknown region is dropped. The
    /// underscores of Java and POSIX are read as hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        // Each report has a locale: to search the lists from their beginning would cost as much as all else about it. A hash
        // without a secret will do, because nobody chooses what is in the lists.
        static KNOWN: LazyLock<[HashSet<&str, FixedState>; 2]> =
            LazyLock::new(|| [Locale::languages().collect(), Locale::regions().collect()]);
        let [languages, regions] = &*KNOWN;
        // Nearly all are written as we write them.
        if let Some((language, region)) = text.split_once('-')
            && let (Some(language), Some(region)) = (languages.get(language), regions.get(region))
        {
            return Some(Self { language: subtag(language)?, region: subtag(region) });
        }
        if let Some(language) = languages.get(text) {
            return Some(Self { language: subtag(language)?, region: None });
        }
        let id = icu_locale_core::Locale::try_from_str(&text.replace('_', "-")).ok()?.id;
        let language = languages.get(id.language.as_str())?;
        let region = id.region.and_then(|region| regions.get(region.as_str()).copied());
        Some(Self { language: subtag(language)?, region: region.and_then(subtag) })
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

/// Letters in place of positions in the lists, which may grow: up to three of 27 (none, a to z) for the language, up to
/// three of 37 (none, 0 to 9, A to Z) for the region.
impl Coded for Locale {
    const MAX: u64 = 27_u64.pow(3) * 37_u64.pow(3) - 1;

    fn to_code(self) -> u64 {
        let letters = |subtag: &Subtag, base: u64, digit: fn(u8) -> u8| {
            subtag
                .iter()
                .fold(0, |code, byte| code * base + u64::from(if *byte == 0 { 0 } else { digit(*byte) }))
        };
        let language = letters(&self.language, 27, |byte| byte - b'a' + 1);
        let region = letters(&self.region.unwrap_or_default(), 37, |byte| match byte {
            b'0'..=b'9' => byte - b'0' + 1,
            _ => byte - b'A' + 11,
        });
        language * 37_u64.pow(3) + region
    }

    fn from_code(code: u64) -> Option<Self> {
        let letters = |mut code: u64, base: u64, letter: fn(u8) -> u8| {
            let mut subtag = Subtag::default();
            for slot in subtag.iter_mut().rev() {
                let digit = u8::try_from(code % base).unwrap_or_default();
                *slot = if digit == 0 { 0 } else { letter(digit - 1) };
                code /= base;
            }
            subtag
        };
        let language = letters(code / 37_u64.pow(3), 27, |digit| b'a' + digit);
        let region =
            letters(
                code % 37_u64.pow(3),
                37,
                |digit| {
                    if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }
                },
            );
        let region = (region != Subtag::default()).then_some(region);
        let known = Self::languages().any(|known| known == text(&language))
            && region.as_ref().is_none_or(|region| Self::regions().any(|known| known == text(region)));
        known.then_some(Self { language, region })
    }
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

    /// What is read without its grammar is what the grammar would make of it.
    #[test]
    fn each_known_language_and_region_is_bcp_47() {
        for language in Locale::languages() {
            for region in Locale::regions() {
                let text = format!("{language}-{region}");
                let id = icu_locale_core::Locale::try_from_str(&text).unwrap().id;
                assert_eq!((id.language.as_str(), id.region.unwrap().as_str()), (language, region));
                check(&text, &text);
            }
            assert_eq!(icu_locale_core::Locale::try_from_str(language).unwrap().to_string(), language);
            check(language, language);
        }
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
        check("de-ZZ", "de");
        for text in ["ali-CE", "was-AT", "the-PU", "nda-YX", "qq"] {
            check(text, "und");
        }
        for odd in ["", "C", "und", "x", "en_US.UTF-8", "de-CH-canary-is-far-too-long", "secretword", "🦀"]
        {
            check(odd, "und");
        }
    }
}
