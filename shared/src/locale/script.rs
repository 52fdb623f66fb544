//! The scripts of languages that are written in more than one.

use super::Subtag;

/// A script, where a language has two that need two translations. Append only: the order is that of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the codes of ISO 15924 say it")]
pub enum Script {
    Latn,
    Cyrl,
    Arab,
    Hans,
    Hant,
    Deva,
    Guru,
    Adlm,
    Cans,
    Mong,
    Beng,
    Mtei,
    Olck,
    Tfng,
    Vaii,
    Orya,
    Telu,
}

use Script::{
    Adlm, Arab, Beng, Cans, Cyrl, Deva, Guru, Hans, Hant, Latn, Mong, Mtei, Olck, Orya, Telu, Tfng, Vaii,
};

/// A language that is written in several scripts.
struct Scripts {
    language: Subtag,
    /// The first is what the language means by itself.
    scripts: &'static [Script],
    /// Regions that mean another one.
    regions: &'static [(Script, &'static [&'static str])],
}

const fn of(
    language: &str,
    scripts: &'static [Script],
    regions: &'static [(Script, &'static [&'static str])],
) -> Scripts {
    let bytes = language.as_bytes();
    let third = if bytes.len() == 3 { bytes[2] } else { 0 };
    Scripts { language: [bytes[0], bytes[1], third], scripts, regions }
}

/// The languages for which CLDR 48 has locale data in more than one script, and those that Windows offers in two. What a
/// language or a region means by itself is from its likely subtags.
const SCRIPTS: &[Scripts] = &[
    of("az", &[Latn, Cyrl, Arab], &[(Arab, &["IQ", "IR"]), (Cyrl, &["RU"])]),
    of("bs", &[Latn, Cyrl], &[]),
    of("ff", &[Latn, Adlm], &[]),
    of("hi", &[Deva, Latn], &[]),
    of("iu", &[Cans, Latn], &[]),
    of("kk", &[Cyrl, Arab, Latn], &[(Arab, &["AF", "CN", "IR", "MN"])]),
    of("kok", &[Deva, Latn], &[]),
    of("ks", &[Arab, Deva], &[]),
    of("ku", &[Latn, Arab, Cyrl], &[(Arab, &["IQ", "IR", "LB"]), (Cyrl, &["AM", "AZ", "GE", "TM"])]),
    of("kxv", &[Latn, Deva, Orya, Telu], &[]),
    of("mn", &[Cyrl, Mong], &[(Mong, &["CN"])]),
    of("mni", &[Beng, Mtei], &[]),
    of("pa", &[Guru, Arab], &[(Arab, &["PK"])]),
    of("sat", &[Olck, Deva], &[]),
    of("sd", &[Arab, Deva], &[(Deva, &["IN"])]),
    of("shi", &[Tfng, Latn], &[]),
    of("sr", &[Cyrl, Latn], &[(Latn, &["ME", "RO", "TR"])]),
    of("uz", &[Latn, Cyrl, Arab], &[(Arab, &["AF"]), (Cyrl, &["CN"])]),
    of("vai", &[Vaii, Latn], &[]),
    of("yue", &[Hant, Hans], &[(Hans, &["CN"])]),
    of(
        "zh",
        &[Hans, Hant],
        &[(
            Hant,
            &["AU", "BN", "GB", "GF", "HK", "ID", "MO", "PA", "PF", "PH", "SR", "TH", "TW", "US", "VN"],
        )],
    ),
];

impl Script {
    /// Every script, in canonical order.
    pub const ALL: [Self; 17] = [
        Latn, Cyrl, Arab, Hans, Hant, Deva, Guru, Adlm, Cans, Mong, Beng, Mtei, Olck, Tfng, Vaii, Orya, Telu,
    ];

    /// Its code in ISO 15924.
    pub fn as_str(self) -> &'static str {
        self.texts().0
    }

    /// Its English name in CLDR.
    pub(super) fn name(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Latn => ("Latn", "Latin"),
            Cyrl => ("Cyrl", "Cyrillic"),
            Arab => ("Arab", "Arabic"),
            Hans => ("Hans", "Simplified"),
            Hant => ("Hant", "Traditional"),
            Deva => ("Deva", "Devanagari"),
            Guru => ("Guru", "Gurmukhi"),
            Adlm => ("Adlm", "Adlam"),
            Cans => ("Cans", "Unified Canadian Aboriginal Syllabics"),
            Mong => ("Mong", "Mongolian"),
            Beng => ("Beng", "Bangla"),
            Mtei => ("Mtei", "Meitei Mayek"),
            Olck => ("Olck", "Ol Chiki"),
            Tfng => ("Tfng", "Tifinagh"),
            Vaii => ("Vaii", "Vai"),
            Orya => ("Orya", "Odia"),
            Telu => ("Telu", "Telugu"),
        }
    }

    /// The script with that code.
    pub(super) fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|script| script.as_str().eq_ignore_ascii_case(code))
    }

    /// The script of a POSIX modifier (`sr_RS@latin`).
    pub(super) fn of_modifier(modifier: &str) -> Option<Self> {
        let known =
            [("latin", Latn), ("iqtelif", Latn), ("cyrillic", Cyrl), ("arabic", Arab), ("devanagari", Deva)];
        known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(modifier)).map(|(_, script)| script)
    }

    fn scripts(language: Subtag) -> Option<&'static Scripts> {
        SCRIPTS.iter().find(|scripts| scripts.language == language)
    }

    /// What a language means by itself in a region; `None` if it has one script only.
    pub(super) fn likely(language: Subtag, region: Option<&str>) -> Option<Self> {
        let of = Self::scripts(language)?;
        let by_region = region
            .and_then(|region| of.regions.iter().find(|(_, regions)| regions.contains(&region)))
            .map(|(script, _)| *script);
        by_region.or_else(|| of.scripts.first().copied())
    }

    /// Whether a language is written in this one, besides another.
    pub(super) fn writes(self, language: Subtag) -> bool {
        Self::scripts(language).is_some_and(|of| of.scripts.contains(&self))
    }
}
