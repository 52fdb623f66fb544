//! A locale as devices write it (`de-Latn-CH-u-co-phonebk`, `de_CH.UTF-8`, `zh_TW_#Hant`) → a known language, its script where
//! it has several, and a known region (`de-CH`).

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::{Coded, at, position};
use crate::wire::{Observed, observed_on_the_wire};

mod aliases;
mod names;
mod script;

pub use script::Script;

/// A known language and, optionally, a known region. One language has one code: Hebrew is `he`, also where it was written `iw`.
///
/// The script is known for languages that are written in several; where it was not written, the region says it, as in CLDR
/// (`zh-TW` is in traditional characters). All other scripts, variants and extensions are dropped: together they are rare
/// enough to point at somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale {
    language: Subtag,
    script: Option<Script>,
    region: Option<Subtag>,
}

/// Up to three ASCII characters, padded with zeros.
type Subtag = [u8; 3];

/// What a code of a language says. An alias may say a script or a region, too (`prs` is `fa-AF`).
#[derive(Clone, Copy)]
struct Meaning {
    language: Subtag,
    script: Option<Script>,
    region: Option<Subtag>,
}

/// What is known, by code.
struct Known {
    languages: HashMap<Subtag, Meaning, FixedState>,
    regions: HashMap<Subtag, Subtag, FixedState>,
}

// Each report has a locale: to search the lists from their beginning would cost as much as all else about it. A hash without a
// secret will do, because nobody chooses what is in the lists.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let plain = |code| Some((code, Meaning { language: code, script: None, region: None }));
    let mut languages: HashMap<_, _, _> = Locale::languages().filter_map(subtag).filter_map(plain).collect();
    for (code, means) in aliases::LANGUAGES {
        let mut parts = means.split('-');
        let language = parts.next().and_then(subtag);
        let (mut script, mut region) = (None, None);
        for part in parts {
            match Script::parse(part) {
                Some(of) => script = Some(of),
                None => region = subtag(part),
            }
        }
        if let (Some(code), Some(language)) = (subtag(code), language) {
            languages.insert(code, Meaning { language, script, region });
        }
    }
    let own = Locale::regions().filter_map(subtag).map(|code| (code, code));
    let others = aliases::REGIONS.iter().filter_map(|(code, means)| Some((subtag(code)?, subtag(means)?)));
    Known { languages, regions: own.chain(others).collect() }
});

impl Locale {
    /// Every known language.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        names::LANGUAGES.iter().map(|(code, _)| *code)
    }

    /// Every known region.
    pub fn regions() -> impl Iterator<Item = &'static str> {
        names::REGIONS.iter().map(|(code, _)| *code)
    }

    /// A label as readers know it: `German (Switzerland)` for `de-CH`, `Chinese (Traditional, Taiwan)` for `zh-Hant-TW`.
    pub(crate) fn reader_label(label: &str) -> Option<String> {
        let name = |list: &[(&str, &'static str)], code: &str| {
            list.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
        };
        let mut parts = label.split('-');
        let language = name(names::LANGUAGES, parts.next()?)?;
        let more: Option<Vec<_>> = parts
            .map(|part| Script::parse(part).map(Script::name).or_else(|| name(names::REGIONS, part)))
            .collect();
        Some(match more?.join(", ") {
            none if none.is_empty() => language.to_owned(),
            more => format!("{language} ({more})"),
        })
    }

    /// BCP 47's word for "undetermined".
    pub(crate) const UNRECOGNISED: &'static str = "und";

    /// The normal form of `text`; `None` if it names no known language. An unknown region is dropped.
    ///
    /// Reads BCP 47 (`sr-Latn-RS`), and what is written in its place: by POSIX (`de_DE.UTF-8@euro`, `sr_RS@latin`), by Java
    /// and Android (`iw_IL`, `zh_TW_#Hant`, `no_NO_NY`), by ICU and Apple (`zh-Hans_US`, `en_NZ@rg=uszzzz`), and by Windows
    /// (`zh-CHT`, `az-AZ-Cyrl`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (text, modifier) = text.split_once('@').map_or((text, None), |(text, after)| (text, Some(after)));
        let text = text.split_once('.').map_or(text, |(text, _)| text);
        let mut parts = text.split(['-', '_', '#']).filter(|part| !part.is_empty());
        let mut means = language(parts.next()?)?;
        let (mut script, mut region) = (None, None);
        for (n, part) in parts.enumerate() {
            let letters = part.bytes().all(|byte| byte.is_ascii_alphabetic());
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            match (part.len(), letters) {
                // What follows is extensions, or for private use.
                (1, _) => break,
                (2, true) | (3, false) if region.is_none() => region = Some(known_region(part)),
                // Java's Nynorsk.
                (2, true) if means.language == *b"nb\0" && part.eq_ignore_ascii_case("NY") => {
                    means.language = *b"nn\0"
                }
                (3, true) if part.eq_ignore_ascii_case("CHS") => script = script.or(Some(Script::Hans)),
                (3, true) if part.eq_ignore_ascii_case("CHT") => script = script.or(Some(Script::Hant)),
                // The language, behind the one that it is a part of: `zh-yue-HK`.
                (3, true) if n == 0 => means = language(part).unwrap_or(means),
                (4, true) => script = script.or_else(|| Script::parse(part)),
                // A variant; or a second region, as Java writes it.
                (2..=8, _) => {}
                _ => return None,
            }
        }
        let script = script.or_else(|| modifier.and_then(Script::of_modifier)).or(means.script);
        Some(Self::new(means.language, script, region.flatten().or(means.region)))
    }

    /// Keeps the script if the language is written in several, and says it where nobody did.
    fn new(language: Subtag, script: Option<Script>, region: Option<Subtag>) -> Self {
        let written = script.filter(|script| script.writes(language));
        let script = written.or_else(|| Script::likely(language, region.as_ref().map(text)));
        Self { language, script, region }
    }

    /// The language, in lower case (`de`).
    pub fn language(&self) -> &str {
        text(&self.language)
    }

    /// The script of a language that has several.
    pub fn script(&self) -> Option<Script> {
        self.script
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

fn language(text: &str) -> Option<Meaning> {
    let mut code = subtag(text)?;
    code.make_ascii_lowercase();
    KNOWN.languages.get(&code).copied()
}

fn known_region(text: &str) -> Option<Subtag> {
    let mut code = subtag(text)?;
    code.make_ascii_uppercase();
    KNOWN.regions.get(&code).copied()
}

fn text(subtag: &Subtag) -> &str {
    let end = subtag.iter().position(|byte| *byte == 0).unwrap_or(subtag.len());
    std::str::from_utf8(&subtag[..end]).unwrap_or_default()
}

/// How many regions have a code: none, three digits, two letters.
const REGION_CODES: u64 = 1 + 1_000 + 26 * 26;
/// Room for scripts, of which some are known.
const SCRIPT_CODES: u64 = 32;

/// Letters in place of positions in the lists, which may grow: up to three of 27 (none, a to z) for the language, then the
/// script (none, or one by its position), then the region.
impl Coded for Locale {
    const MAX: u64 = 27_u64.pow(3) * SCRIPT_CODES * REGION_CODES - 1;

    fn to_code(self) -> u64 {
        let letter = |byte: u8, first: u8| u64::from(byte.saturating_sub(first));
        let language = self.language.iter().fold(0, |code, byte| code * 27 + letter(*byte, b'a' - 1));
        let script = self.script.map_or(0, |script| 1 + position(&Script::ALL, &script));
        let region = match self.region {
            None => 0,
            Some([a, b, 0]) => 1_001 + letter(a, b'A') * 26 + letter(b, b'A'),
            Some(digits) => 1 + digits.iter().fold(0, |code, byte| code * 10 + letter(*byte, b'0')),
        };
        (language * SCRIPT_CODES + script) * REGION_CODES + region
    }

    fn from_code(code: u64) -> Option<Self> {
        let (rest, region) = (code / REGION_CODES, code % REGION_CODES);
        let (mut rest, script) = (rest / SCRIPT_CODES, rest % SCRIPT_CODES);
        let digit = |code: u64, base: u64, zero: u8| u8::try_from(code % base).unwrap_or_default() + zero;
        let mut language = Subtag::default();
        for slot in language.iter_mut().rev() {
            *slot = if rest % 27 == 0 { 0 } else { digit(rest, 27, b'a' - 1) };
            rest /= 27;
        }
        let region = match region.checked_sub(1) {
            None => None,
            Some(n @ 0..1_000) => {
                Some([digit(n / 100, 10, b'0'), digit(n / 10, 10, b'0'), digit(n, 10, b'0')])
            }
            Some(n) => Some([digit((n - 1_000) / 26, 26, b'A'), digit(n - 1_000, 26, b'A'), 0]),
        };
        let script = match script.checked_sub(1) {
            None => None,
            Some(n) => Some(at(&Script::ALL, n)?),
        };
        let known = KNOWN.languages.get(&language).is_some_and(|means| means.language == language)
            && region.is_none_or(|region| KNOWN.regions.get(&region) == Some(&region));
        let locale = Self { language, script, region };
        (known && Self::new(language, script, region) == locale).then_some(locale)
    }
}

/// Without the script, where language and region say it: `zh-TW`, but `sr-Latn-RS`.
impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.language())?;
        if let Some(script) =
            self.script.filter(|_| self.script != Script::likely(self.language, self.region()))
        {
            write!(f, "-{}", script.as_str())?;
        }
        self.region().map_or(Ok(()), |region| write!(f, "-{region}"))
    }
}

observed_on_the_wire!(
    Locale,
    "Locale",
    "A locale as in BCP 47, or as POSIX, Java, ICU or Windows write it. All but language, region and, of languages that are \
     written in several, script is dropped. What names no known language counts as `und`.",
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
mod tests;
