//! A version as text → SemVer in its normal form.
//!
//! The normal form has little room for what could tell one build from all others: build metadata is dropped, a
//! pre-release is `alpha`, `beta` or `rc` with at most two digits, and each part has at most three. What is rare all the
//! same is folded by the vendor before anything is published.

use std::fmt;

use crate::code::Coded;
use crate::wire::{UNRECOGNISED, observed_on_the_wire};

/// A released or pre-released version. Ordered as in [SemVer 2.0.0, section 11](https://semver.org/#spec-item-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
    stage: Stage,
}

/// How far a version is from its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `-alpha` or `-alpha.N`.
    Alpha(Option<u16>),
    /// `-beta` or `-beta.N`.
    Beta(Option<u16>),
    /// `-rc` or `-rc.N`.
    Rc(Option<u16>),
    /// The release itself.
    Release,
}

impl Version {
    /// The greatest major, minor or patch that has a normal form.
    pub const MAX_PART: u16 = 999;
    /// The greatest N of `alpha.N`, `beta.N` and `rc.N` that has a normal form.
    pub const MAX_PRE: u16 = 99;
    pub(crate) const UNRECOGNISED: &'static str = UNRECOGNISED;
    const PART_BITS: u32 = 14;
    const STAGE_BITS: u32 = 12;
    /// How many numbers a pre-release of one kind has: none, or 0 to 999, of which up to 99 are used.
    const STAGE_NUMBERS: u64 = 1_001;
    const PATTERN: &'static str = r"^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){2}(-(alpha|beta|rc)(\.(0|[1-9]\d?))?)?(\+[0-9A-Za-z.-]+)?$|^unrecognised$";

    /// A version from its parts; `None` if a part is beyond [`Self::MAX_PART`] or [`Self::MAX_PRE`].
    pub fn new(major: u16, minor: u16, patch: u16, stage: Stage) -> Option<Self> {
        let pre = match stage {
            Stage::Alpha(n) | Stage::Beta(n) | Stage::Rc(n) => n.unwrap_or(0),
            Stage::Release => 0,
        };
        let in_bounds = major.max(minor).max(patch) <= Self::MAX_PART && pre <= Self::MAX_PRE;
        in_bounds.then_some(Self { major, minor, patch, stage })
    }

    /// The normal form of `text`, or `None` if it has none.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = semver::Version::parse(text).ok()?;
        let part = |n: u64| u16::try_from(n).ok();
        let stage = if parsed.pre.is_empty() {
            Stage::Release
        } else {
            let (word, number) = match parsed.pre.split_once('.') {
                Some((word, number)) => (word, Some(number.parse().ok()?)),
                None => (parsed.pre.as_str(), None),
            };
            match word {
                "alpha" => Stage::Alpha(number),
                "beta" => Stage::Beta(number),
                "rc" => Stage::Rc(number),
                _ => return None,
            }
        };
        Self::new(part(parsed.major)?, part(parsed.minor)?, part(parsed.patch)?, stage)
    }

    /// The major part.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// The minor part.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The patch part.
    pub fn patch(&self) -> u16 {
        self.patch
    }

    /// How far it is from its release.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}

/// Major, minor and patch have 14 bits each and the stage has 12: room for more than is used today.
impl Coded for Version {
    const MAX: u64 = (1 << (3 * Self::PART_BITS + Self::STAGE_BITS)) - 1;

    fn to_code(self) -> u64 {
        let number = |n: Option<u16>| n.map_or(0, |n| u64::from(n) + 1);
        let stage = match self.stage {
            Stage::Alpha(n) => number(n),
            Stage::Beta(n) => Self::STAGE_NUMBERS + number(n),
            Stage::Rc(n) => 2 * Self::STAGE_NUMBERS + number(n),
            Stage::Release => 3 * Self::STAGE_NUMBERS,
        };
        let parts = [self.major, self.minor, self.patch];
        parts.into_iter().fold(0, |code, part| code << Self::PART_BITS | u64::from(part)) << Self::STAGE_BITS
            | stage
    }

    fn from_code(code: u64) -> Option<Self> {
        let bits = |from: u32, bits: u32| u16::try_from(code >> from & ((1 << bits) - 1)).ok();
        let part = |n: u32| bits(Self::STAGE_BITS + n * Self::PART_BITS, Self::PART_BITS);
        let stage = bits(0, Self::STAGE_BITS)?;
        let numbers = u16::try_from(Self::STAGE_NUMBERS).ok()?;
        let number = (stage % numbers).checked_sub(1);
        let stage = match stage / numbers {
            0 => Stage::Alpha(number),
            1 => Stage::Beta(number),
            2 => Stage::Rc(number),
            _ => Stage::Release,
        };
        Self::new(part(2)?, part(1)?, part(0)?, stage)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        let (word, number) = match self.stage {
            Stage::Alpha(n) => ("alpha", n),
            Stage::Beta(n) => ("beta", n),
            Stage::Rc(n) => ("rc", n),
            Stage::Release => return Ok(()),
        };
        write!(f, "-{word}")?;
        number.map_or(Ok(()), |n| write!(f, ".{n}"))
    }
}

observed_on_the_wire!(
    Version,
    "Version",
    "A version as in SemVer 2.0.0. Build metadata is dropped; other pre-releases than alpha, beta and rc count as unrecognised.",
    Version::PATTERN,
    "1.0.1"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(Version::parse(text).map(|v| v.to_string()).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_version_has_one_normal_form_or_none() {
        check("1.0.1", Some("1.0.1"));
        check("0.4.0-rc.2", Some("0.4.0-rc.2"));
        check("0.4.0-beta", Some("0.4.0-beta"));
        check("1.0.1+build.7", Some("1.0.1"));
        check("1.0.0-rc.1+sha.abc", Some("1.0.0-rc.1"));
        check("999.999.999-rc.99", Some("999.999.999-rc.99"));
        for odd in
            ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-dev", "1.0.0-rc1", "1.0.0-rc.1.2", "1.0.0-rc.x"]
        {
            check(odd, None);
        }
        for identifying in ["1000.0.0", "1.0.0-rc.100", "1.0.18446744073709551616", "1.0.0-jane-laptop"] {
            check(identifying, None);
        }
    }

    #[test]
    fn versions_are_ordered_as_semver_says() {
        let ordered = [
            "0.9.0",
            "1.0.0-alpha",
            "1.0.0-alpha.0",
            "1.0.0-alpha.1",
            "1.0.0-beta",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.1.0",
        ];
        let parsed: Vec<_> = ordered.iter().map(|text| Version::parse(text).unwrap()).collect();
        assert!(parsed.is_sorted_by(|a, b| a < b));
    }
}
