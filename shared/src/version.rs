//! A version as the field writes it → its number and how far it is from the release, in a closed form.
//!
//! The form has little room for what could tell one build from all others: each part has at most three digits (a year, four),
//! a pre-release is `alpha`, `beta` or `rc` with at most two, and build metadata is dropped. A suffix that we do not know costs
//! the suffix, not the version: the number stays, with a mark that says on which side of it the build may be. What is rare
//! all the same is folded by the vendor before anything is published.

use std::cmp::Ordering;
use std::fmt;

use crate::code::Coded;
use crate::wire::{UNRECOGNISED, observed_on_the_wire};

mod read;

/// A released or pre-released version, or a build near one.
///
/// The order is that of a merge. Among versions without a mark it is the one of [SemVer 2.0.0, section
/// 11](https://semver.org/#spec-item-11). A mark says less than a version, so marked builds are below the versions of their number
/// that they may equal. To compare with a version, ask [`Self::is_below`].
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
    /// A build of a branch, which has no number: `edge`, `main-44604d3`, a commit.
    Edge,
    /// A build with a suffix that we do not know: before the release or after it.
    Changed,
    /// Some build before the release: `-dev`, `-nightly`, a pre-release of another form.
    Dev,
    /// `-alpha` or `-alpha.N`.
    Alpha(Option<u16>),
    /// `-beta` or `-beta.N`.
    Beta(Option<u16>),
    /// `-rc` or `-rc.N`.
    Rc(Option<u16>),
    /// The release itself.
    Release,
    /// Some build after the release and before the next one: a hotfix, or commits after the tag (`-3-g44604d3`).
    Post,
}

impl Version {
    /// The greatest minor or patch that has a normal form, and the greatest major that is not a year.
    pub const MAX_PART: u16 = 999;
    /// The years that may be a major part.
    const YEARS: std::ops::RangeInclusive<u16> = 1990..=2099;
    /// The greatest N of `alpha.N`, `beta.N` and `rc.N` that has a normal form.
    pub const MAX_PRE: u16 = 99;
    /// A build of a branch, without a number.
    pub const EDGE: Self = Self { major: 0, minor: 0, patch: 0, stage: Stage::Edge };
    pub(crate) const UNRECOGNISED: &'static str = UNRECOGNISED;
    const PART_BITS: u32 = 14;
    const STAGE_BITS: u32 = 12;
    /// How many numbers a pre-release of one kind has: none, or 0 to 999, of which up to 99 are used.
    const STAGE_NUMBERS: u64 = 1_001;
    /// Where pre-releases begin: behind the three marks that come before them.
    const FIRST_PRE: u64 = 3;

    /// A version from its parts; `None` if a part is beyond [`Self::MAX_PART`] or [`Self::MAX_PRE`].
    pub fn new(major: u16, minor: u16, patch: u16, stage: Stage) -> Option<Self> {
        let in_bounds = match stage {
            Stage::Edge => (major, minor, patch) == (0, 0, 0),
            Stage::Alpha(n) | Stage::Beta(n) | Stage::Rc(n) => n.is_none_or(|n| n <= Self::MAX_PRE),
            Stage::Changed | Stage::Dev | Stage::Release | Stage::Post => true,
        };
        let known = major <= Self::MAX_PART || Self::YEARS.contains(&major);
        (in_bounds && known && minor.max(patch) <= Self::MAX_PART).then_some(Self {
            major,
            minor,
            patch,
            stage,
        })
    }

    /// The normal form of `text`, or `None` if it has none. `v1.2`, `1.2.0.7`, `1.2.0b3`, `1.2.0 (2026-05-12)` and
    /// `1.2.0-acme` have one.
    pub fn parse(text: &str) -> Option<Self> {
        read::version(text)
    }

    /// The version that is written exactly as [`Display`](fmt::Display) does it.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::parse(label).filter(|version| version.to_string() == label)
    }

    /// The [exact](Self::is_exact) version that is written in its normal form: one that a reader can ask about.
    pub fn exact(text: &str) -> Option<Self> {
        Self::from_label(text).filter(Self::is_exact)
    }

    /// Whether this is a release or a numbered pre-release, and not only a build near one.
    pub fn is_exact(&self) -> bool {
        match self.stage {
            Stage::Edge | Stage::Changed | Stage::Dev | Stage::Post => false,
            Stage::Alpha(_) | Stage::Beta(_) | Stage::Rc(_) | Stage::Release => true,
        }
    }

    /// Whether this is below an [exact](Self::is_exact) version; `None` if it may be and may not be.
    pub fn is_below(&self, exact: Self) -> Option<bool> {
        if self.stage == Stage::Edge || !exact.is_exact() {
            return None;
        }
        let number = |version: &Self| (version.major, version.minor, version.patch);
        match (number(self).cmp(&number(&exact)), self.stage) {
            (Ordering::Less, _) => Some(true),
            (Ordering::Greater, _) | (Ordering::Equal, Stage::Post) => Some(false),
            (Ordering::Equal, Stage::Dev) => (exact.stage == Stage::Release).then_some(true),
            (Ordering::Equal, Stage::Changed | Stage::Edge) => None,
            (Ordering::Equal, stage) => Some(stage < exact.stage),
        }
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
        let pre = |kind: u64, n| Self::FIRST_PRE + kind * Self::STAGE_NUMBERS + number(n);
        let stage = match self.stage {
            Stage::Edge => 0,
            Stage::Changed => 1,
            Stage::Dev => 2,
            Stage::Alpha(n) => pre(0, n),
            Stage::Beta(n) => pre(1, n),
            Stage::Rc(n) => pre(2, n),
            Stage::Release => pre(3, None),
            Stage::Post => pre(3, Some(0)),
        };
        let parts = [self.major, self.minor, self.patch];
        parts.into_iter().fold(0, |code, part| code << Self::PART_BITS | u64::from(part)) << Self::STAGE_BITS
            | stage
    }

    fn from_code(code: u64) -> Option<Self> {
        let bits = |from: u32, bits: u32| code >> from & ((1 << bits) - 1);
        let part = |n: u32| u16::try_from(bits(Self::STAGE_BITS + n * Self::PART_BITS, Self::PART_BITS)).ok();
        let stage = match bits(0, Self::STAGE_BITS) {
            0 => Stage::Edge,
            1 => Stage::Changed,
            2 => Stage::Dev,
            pre => {
                let pre = pre - Self::FIRST_PRE;
                let number = u16::try_from(pre % Self::STAGE_NUMBERS).ok()?.checked_sub(1);
                match (pre / Self::STAGE_NUMBERS, number) {
                    (0, number) => Stage::Alpha(number),
                    (1, number) => Stage::Beta(number),
                    (2, number) => Stage::Rc(number),
                    (_, None) => Stage::Release,
                    (_, Some(0)) => Stage::Post,
                    _ => return None,
                }
            }
        };
        Self::new(part(2)?, part(1)?, part(0)?, stage)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stage == Stage::Edge {
            return f.write_str("edge");
        }
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        let (word, number) = match self.stage {
            Stage::Edge | Stage::Release => return Ok(()),
            Stage::Changed => ("changed", None),
            Stage::Dev => ("dev", None),
            Stage::Alpha(n) => ("alpha", n),
            Stage::Beta(n) => ("beta", n),
            Stage::Rc(n) => ("rc", n),
            Stage::Post => ("post", None),
        };
        write!(f, "-{word}")?;
        number.map_or(Ok(()), |n| write!(f, ".{n}"))
    }
}

observed_on_the_wire!(
    Version,
    "Version",
    "A version: SemVer 2.0.0, and the forms that are common in its place. Build metadata is dropped. Of a suffix that is not \
     alpha, beta or rc with a number, only a mark is kept: dev (before the release), post (after it) or changed (unknown). A \
     build of a branch is `edge`. Other text counts as unrecognised.",
    "1.0.1"
);

#[cfg(test)]
mod tests;
