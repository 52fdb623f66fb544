//! A locale as BCP 47 text (`de-Latn-CH-u-co-phonebk`) → a known language and region (`de-CH`).
//!
//! Both lists are closed: three letters that are no language could be anything.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::{Observed, observed_on_the_wire};

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

/// The two-letter codes of ISO 639-1, and those of three letters that devices of today offer.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de \
    dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik in io \
    is it iu iw ja ji jv jw ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mo \
    mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk \
    sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh \
    zu ast brx chr ckb doi dsb fil fur gsw haw hsb kab kok ksh lij mai mni nds sat scn szl tok yue zgh";
/// The two-letter codes of ISO 3166-1, Kosovo's, and the areas of UN M.49 that devices of today offer.
const REGIONS: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV \
    BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM \
    FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM \
    JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR \
    MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS \
    RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ \
    UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW 001 150 419";

impl Locale {
    /// Every known language.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        LANGUAGES.split_whitespace()
    }

    /// Every known region.
    pub fn regions() -> impl Iterator<Item = &'static str> {
        REGIONS.split_whitespace()
    }

    /// BCP 47's word for "undetermined".
    pub(crate) const UNRECOGNISED: &'static str = "und";

    /// The normal form of `text`; `None` if it is not BCP 47, or names no known language. A region that is not known is
    /// dropped. The underscores that Java and
    /// POSIX write are read as hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        // Each report has one: a list that is searched from its beginning would cost as much as all else about it. What is in
        // these lists is known beforehand, so that their hash need not be one that nobody can foresee.
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
