//! A number of accounts → the size bin that the specification names.

use std::fmt;

use crate::code::Coded;

/// A range of account counts: 0–4, 5–9, 10–19, 20–49, 50–99, then by hundreds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeBin {
    least: u32,
}

impl SizeBin {
    /// The bins below one hundred, as (least, greatest).
    const SMALL: [(u32, u32); 5] = [(0, 4), (5, 9), (10, 19), (20, 49), (50, 99)];
    /// Pods beyond this count are put in the last bin: so few that more detail would name them.
    pub const LAST_MIN: u32 = 100_000;

    /// The bin that `count` accounts fall into.
    pub fn of(count: u32) -> Self {
        let small = Self::SMALL.iter().find(|(_, max)| count <= *max).map(|(min, _)| *min);
        Self { least: small.unwrap_or((count - count % 100).min(Self::LAST_MIN)) }
    }

    /// The bin from `min` to `max`, both included; `None` if there is no such bin.
    pub fn from_bounds(min: u32, max: u32) -> Option<Self> {
        let bin = Self::of(min);
        (bin.least() == min && bin.greatest() == max).then_some(bin)
    }

    /// The least count in the bin.
    pub fn least(self) -> u32 {
        self.least
    }

    /// The greatest count in the bin.
    pub fn greatest(self) -> u32 {
        Self::SMALL.iter().find(|(min, _)| *min == self.least).map_or(self.least + 99, |(_, max)| *max)
    }

    /// `20+`.
    pub fn open_range(self) -> String {
        format!("{}+", self.least)
    }
}

/// Its least count.
impl Coded for SizeBin {
    const MAX: u64 = Self::LAST_MIN as u64;

    fn to_code(self) -> u64 {
        self.least.into()
    }

    fn from_code(code: u64) -> Option<Self> {
        let least = u32::try_from(code).ok()?;
        let bin = Self::of(least);
        (bin.least == least).then_some(bin)
    }
}

/// `20–49`, with U+2013 as the wire has it.
impl fmt::Display for SizeBin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.least, self.greatest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u32, expected: &str) {
        let bin = SizeBin::of(count);
        assert_eq!(bin.to_string(), expected, "{count}");
        assert_eq!(SizeBin::from_bounds(bin.least(), bin.greatest()), Some(bin));
    }

    #[test]
    fn a_count_falls_into_the_bin_of_the_specification() {
        check(0, "0–4");
        check(4, "0–4");
        check(5, "5–9");
        check(19, "10–19");
        check(20, "20–49");
        check(99, "50–99");
        check(100, "100–199");
        check(299, "200–299");
        check(u32::MAX, "100000–100099");
    }

    #[test]
    fn bounds_that_are_no_bin_are_refused() {
        for (min, max) in [(0, 5), (3, 4), (20, 99), (100, 299), (101, 200), (9, 5), (u32::MAX, u32::MAX)] {
            assert_eq!(SizeBin::from_bounds(min, max), None, "{min}–{max}");
        }
    }
}
