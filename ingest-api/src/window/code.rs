//! Values ↔ the numbers that stand for them in an open window. Pure.
//!
//! The order of the codes is the order of the merge: the greater one wins. 0 is "not reported" and 1
//! "unrecognised" in each code. The codes live no longer than a window; they may change between two releases of the
//! software only together with a migration that closes what is open.

use shared::app::AppName;
use shared::event::Observed;
use shared::locale::Locale;
use shared::platform::{Architecture, Family, Platform};
use shared::size::SizeBin;
use shared::version::{Stage, Version};

/// An app and its version: one value, so that a merge takes both from one report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppVersion {
    /// The app; `None` if it was not reported.
    pub app: Option<Observed<AppName>>,
    /// Its version; `None` if it was not reported.
    pub version: Option<Observed<Version>>,
}

/// Code of an optional observed value whose own code is `rank`.
fn code<T>(value: Option<Observed<T>>, rank: impl FnOnce(T) -> i64) -> i64 {
    match value {
        None => 0,
        Some(Observed::Unrecognised) => 1,
        Some(Observed::Recognised(value)) => 2 + rank(value),
    }
}

/// What [`code`] made the code of; a number that no value has reads as unrecognised.
fn value<T>(code: i64, of_rank: impl FnOnce(i64) -> Option<T>) -> Option<Observed<T>> {
    match code {
        ..=0 => None,
        1 => Some(Observed::Unrecognised),
        _ => Some(of_rank(code - 2).into()),
    }
}

/// Bits of major, minor and patch: each at most 999, with room to spare.
const PART: u32 = 14;
/// Bits of a stage: 4 kinds × 1,001 numbers (none, 0 to 999, of which up to 99 are used).
const STAGE: u32 = 12;
/// Bits of a whole version's code, with the two reserved ones.
const VERSION: u32 = 3 * PART + STAGE + 1;

fn version_rank(version: Version) -> i64 {
    let number = |n: Option<u16>| n.map_or(0, |n| i64::from(n) + 1);
    let stage = match version.stage() {
        Stage::Alpha(n) => number(n),
        Stage::Beta(n) => 1_001 + number(n),
        Stage::Rc(n) => 2_002 + number(n),
        Stage::Release => 3_003,
    };
    let parts = [version.major(), version.minor(), version.patch()];
    parts.into_iter().fold(0, |rank, part| rank << PART | i64::from(part)) << STAGE | stage
}

fn version_of(rank: i64) -> Option<Version> {
    let part = |n: u32| u16::try_from(rank >> (STAGE + n * PART) & ((1 << PART) - 1)).ok();
    let stage = u16::try_from(rank & ((1 << STAGE) - 1)).ok()?;
    let number = (stage % 1_001).checked_sub(1);
    let stage = match stage / 1_001 {
        0 => Stage::Alpha(number),
        1 => Stage::Beta(number),
        2 => Stage::Rc(number),
        _ => Stage::Release,
    };
    Version::new(part(2)?, part(1)?, part(0)?, stage)
}

/// The code of a Pod's version.
pub fn of_version(version: Option<Observed<Version>>) -> i64 {
    code(version, version_rank)
}

/// The Pod's version with that code.
pub fn to_version(code: i64) -> Option<Observed<Version>> {
    value(code, version_of)
}

/// The code of an app and its version.
pub fn of_app_version(AppVersion { app, version }: AppVersion) -> i64 {
    code(app, |app| position(&AppName::ALL, app)) << VERSION | of_version(version)
}

/// The app and version with that code.
pub fn to_app_version(code: i64) -> AppVersion {
    AppVersion {
        app: value(code >> VERSION, |n| at(&AppName::ALL, n)),
        version: to_version(code & ((1 << VERSION) - 1)),
    }
}

/// The code of a platform.
pub fn of_platform(platform: Option<Observed<Platform>>) -> i16 {
    let code = code(platform, |Platform { family, architecture }| {
        let architecture = architecture.map_or(0, |a| position(&Architecture::ALL, a) + 1);
        position(&Family::ALL, family) << 8 | architecture
    });
    i16::try_from(code).unwrap_or(1)
}

/// The platform with that code.
pub fn to_platform(code: i16) -> Option<Observed<Platform>> {
    value(code.into(), |rank| {
        let architecture = match rank & 255 {
            0 => None,
            n => Some(at(&Architecture::ALL, n - 1)?),
        };
        Some(Platform { family: at(&Family::ALL, rank >> 8)?, architecture })
    })
}

/// Letters of a language, and of a region: three of 27 (none, a to z), or three of 37 (none, 0 to 9, A to Z).
const REGIONS: i64 = 37 * 37 * 37;

/// The code of a locale.
pub fn of_language(locale: Option<Observed<Locale>>) -> i32 {
    let code = code(locale, |locale| {
        let letters = |text: &str, base: i64, digit: fn(u8) -> i64| {
            let bytes = text.bytes().map(digit).chain(std::iter::repeat(0)).take(3);
            bytes.fold(0, |rank, letter| rank * base + letter)
        };
        let language = letters(locale.language(), 27, |b| i64::from(b - b'a') + 1);
        let region = letters(locale.region().unwrap_or(""), 37, |b| match b {
            b'0'..=b'9' => i64::from(b - b'0') + 1,
            _ => i64::from(b - b'A') + 11,
        });
        language * REGIONS + region
    });
    i32::try_from(code).unwrap_or(1)
}

/// The locale with that code.
pub fn to_language(code: i32) -> Option<Observed<Locale>> {
    value(code.into(), |rank| {
        let letters = |mut rank: i64, base: i64, letter: fn(u8) -> u8| {
            let mut text = [0u8; 3];
            for slot in text.iter_mut().rev() {
                *slot = u8::try_from(rank % base).unwrap_or(0);
                rank /= base;
            }
            text.into_iter().filter(|n| *n > 0).map(|n| char::from(letter(n - 1))).collect::<String>()
        };
        let mut text = letters(rank / REGIONS, 27, |n| b'a' + n);
        if rank % REGIONS > 0 {
            text.push('-');
            text += &letters(rank % REGIONS, 37, |n| if n < 10 { b'0' + n } else { b'A' + n - 10 });
        }
        Locale::parse(&text)
    })
}

/// The code of a Pod's size.
pub fn of_size(size: Option<SizeBin>) -> i32 {
    size.map_or(0, |bin| i32::try_from(bin.least() + 1).unwrap_or(i32::MAX))
}

/// The size with that code.
pub fn to_size(code: i32) -> Option<SizeBin> {
    u32::try_from(code).ok()?.checked_sub(1).map(SizeBin::of)
}

fn position<T: PartialEq>(all: &[T], item: T) -> i64 {
    all.iter().position(|one| *one == item).map_or(0, |n| n as i64)
}

fn at<T: Copy>(all: &[T], n: i64) -> Option<T> {
    all.get(usize::try_from(n).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observed<T: std::fmt::Debug + Clone>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<Observed<T>>> {
        prop_oneof![
            Just(None),
            Just(Some(Observed::Unrecognised)),
            value.prop_map(|value| Some(Observed::Recognised(value)))
        ]
    }

    fn version() -> impl Strategy<Value = Version> {
        let part = || prop_oneof![0..3u16, 0..=Version::MAX_PART];
        let n = || prop::option::of(0..=Version::MAX_PRE);
        let stage = prop_oneof![
            n().prop_map(Stage::Alpha),
            n().prop_map(Stage::Beta),
            n().prop_map(Stage::Rc),
            Just(Stage::Release)
        ];
        (part(), part(), part(), stage).prop_map(|(a, b, c, stage)| Version::new(a, b, c, stage).unwrap())
    }

    fn app_version() -> impl Strategy<Value = AppVersion> {
        (observed(prop::sample::select(AppName::ALL.to_vec())), observed(version()))
            .prop_map(|(app, version)| AppVersion { app, version })
    }

    fn platform() -> impl Strategy<Value = Platform> {
        let architecture = prop::option::of(prop::sample::select(Architecture::ALL.to_vec()));
        (prop::sample::select(Family::ALL.to_vec()), architecture)
            .prop_map(|(family, architecture)| Platform { family, architecture })
    }

    fn locale() -> impl Strategy<Value = Locale> {
        let language = prop::sample::select(Locale::languages().collect::<Vec<_>>());
        let region = prop::option::of(prop::sample::select(Locale::regions().collect::<Vec<_>>()));
        (language, region).prop_map(|(language, region)| {
            let text = region.map_or_else(|| language.to_owned(), |region| format!("{language}-{region}"));
            Locale::parse(&text).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn a_code_stands_for_its_value(
            a in app_version(), p in observed(platform()), l in observed(locale()),
            v in observed(version()), size in prop::option::of(any::<u32>())
        ) {
            prop_assert_eq!(to_app_version(of_app_version(a)), a);
            prop_assert_eq!(to_platform(of_platform(p)), p);
            prop_assert_eq!(to_language(of_language(l)), l);
            prop_assert_eq!(to_version(of_version(v)), v);
            let size = size.map(SizeBin::of);
            prop_assert_eq!(to_size(of_size(size)), size);
        }

        #[test]
        fn codes_are_ordered_as_their_values_are(
            a in (app_version(), app_version()), p in (observed(platform()), observed(platform())),
            l in (observed(locale()), observed(locale())), v in (observed(version()), observed(version())),
        ) {
            prop_assert_eq!(of_app_version(a.0).cmp(&of_app_version(a.1)), a.0.cmp(&a.1));
            prop_assert_eq!(of_platform(p.0).cmp(&of_platform(p.1)), p.0.cmp(&p.1));
            prop_assert_eq!(of_language(l.0).cmp(&of_language(l.1)), l.0.cmp(&l.1));
            prop_assert_eq!(of_version(v.0).cmp(&of_version(v.1)), v.0.cmp(&v.1));
        }

        #[test]
        fn any_number_reads_as_some_value(a in any::<i64>(), b in any::<i32>(), c in any::<i16>()) {
            let _ = (to_app_version(a), to_version(a), to_language(b), to_size(b), to_platform(c));
        }
    }
}
