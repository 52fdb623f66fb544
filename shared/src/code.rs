//! Values ↔ the codes that stand for them while they are counted.
//!
//! The order of the codes is the order of the merge: the greater one wins. Of an optional value, 0 is "not reported"; of an
//! optional observed value, 1 is "unrecognised". A code lives no longer than the window that it is counted in, and a newer
//! version reads the codes of an older one: lists of values are append only, and a greater [`Coded::MAX`] needs no more bytes.

use crate::wire::Observed;

/// A value that has a code.
pub trait Coded: Copy {
    /// The greatest code.
    const MAX: u64;
    /// How many bytes hold every code.
    const BYTES: usize = (Self::MAX.ilog2() / 8 + 1) as usize;

    /// Its code, at most [`Self::MAX`].
    fn to_code(self) -> u64;

    /// The value with that code, if there is one.
    fn from_code(code: u64) -> Option<Self>;
}

/// A code that no value has reads as unrecognised.
impl<T: Coded> Coded for Observed<T> {
    const MAX: u64 = T::MAX + 1;

    fn to_code(self) -> u64 {
        match self {
            Self::Unrecognised => 0,
            Self::Recognised(value) => 1 + value.to_code(),
        }
    }

    fn from_code(code: u64) -> Option<Self> {
        Some(code.checked_sub(1).and_then(T::from_code).into())
    }
}

impl<T: Coded> Coded for Option<T> {
    const MAX: u64 = T::MAX + 1;

    fn to_code(self) -> u64 {
        self.map_or(0, |value| 1 + value.to_code())
    }

    fn from_code(code: u64) -> Option<Self> {
        Some(code.checked_sub(1).and_then(T::from_code))
    }
}

/// Ordered by the first value, then by the second.
impl<A: Coded, B: Coded> Coded for (A, B) {
    const MAX: u64 = A::MAX * (B::MAX + 1) + B::MAX;

    fn to_code(self) -> u64 {
        self.0.to_code() * (B::MAX + 1) + self.1.to_code()
    }

    fn from_code(code: u64) -> Option<Self> {
        Some((A::from_code(code / (B::MAX + 1))?, B::from_code(code % (B::MAX + 1))?))
    }
}

/// The place of an item in a list, as a code.
pub(crate) fn position<T: PartialEq>(all: &[T], item: &T) -> u64 {
    all.iter().position(|one| one == item).map_or(0, |n| n as u64)
}

/// The item at that place.
pub(crate) fn at<T: Copy>(all: &[T], n: u64) -> Option<T> {
    all.get(usize::try_from(n).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppName;
    use crate::data_point::Reporter;
    use crate::event::{App, Pod};
    use crate::locale::Locale;
    use crate::platform::{Architecture, Family, Platform};
    use crate::size::SizeBin;
    use crate::version::{Stage, Version};

    /// Each value has a code of its own, that code gives the value back, and the order of both is the same.
    #[track_caller]
    fn check<T: Coded + Ord + std::fmt::Debug>(mut values: Vec<T>) {
        values.sort_unstable();
        let codes: Vec<_> = values.iter().map(|value| value.to_code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "the codes are in the order of the values");
        assert!(codes.iter().all(|code| *code <= T::MAX));
        for (value, code) in values.into_iter().zip(codes) {
            assert_eq!(T::from_code(code), Some(value));
        }
    }

    /// What an event can say of a value: nothing, something unrecognised, or one of these.
    fn observed<T: Copy>(values: impl IntoIterator<Item = T>) -> Vec<Option<Observed<T>>> {
        let known = values.into_iter().map(|value| Some(Observed::Recognised(value)));
        [None, Some(Observed::Unrecognised)].into_iter().chain(known).collect()
    }

    fn versions() -> Vec<Version> {
        let parts = [0, 1, 9, 10, Version::MAX_PART];
        let mut stages = vec![Stage::Release];
        for number in [None, Some(0), Some(1), Some(Version::MAX_PRE)] {
            stages.extend([Stage::Alpha(number), Stage::Beta(number), Stage::Rc(number)]);
        }
        let mut versions = Vec::new();
        for major in parts {
            for minor in parts {
                for patch in parts {
                    let all = stages.iter().map(|stage| Version::new(major, minor, patch, *stage).unwrap());
                    versions.extend(all);
                }
            }
        }
        versions
    }

    #[test]
    fn versions_keep_their_order_alone_and_behind_the_app() {
        check(observed(versions()));
        let (apps, versions) = (observed(AppName::ALL), observed(versions()));
        let pairs = apps.into_iter().flat_map(|app| versions.iter().map(move |version| (app, *version)));
        check(pairs.collect());
    }

    #[test]
    fn platforms_keep_their_order() {
        let architectures = || std::iter::once(None).chain(Architecture::ALL.map(Some));
        let of = |family| architectures().map(move |architecture| Platform { family, architecture });
        check(observed(Family::ALL.into_iter().flat_map(of)));
    }

    #[test]
    fn locales_keep_their_order() {
        let regions = || std::iter::once(String::new()).chain(Locale::regions().map(|r| format!("-{r}")));
        let of =
            |language| regions().map(move |region| Locale::parse(&format!("{language}{region}")).unwrap());
        check(observed(Locale::languages().flat_map(of)));
    }

    #[test]
    fn sizes_keep_their_order() {
        let bins: std::collections::BTreeSet<_> = (0..=SizeBin::LAST_MIN + 1).map(SizeBin::of).collect();
        check(std::iter::once(None).chain(bins.into_iter().map(Some)).collect());
    }

    proptest::proptest! {
        /// Whatever a record says, it has a place in the tree, and no code is published that no value has.
        #[test]
        fn any_code_has_a_place(code in 0..u64::MAX >> 8, small in 0..1_000_000_u64) {
            for point in App::COUNTED.iter().chain(Pod::COUNTED) {
                for code in [code, small] {
                    assert!(!(point.path)(code).labels().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_locale_of_an_unknown_region_is_unrecognised() {
        let known = Locale::parse("de-CH").unwrap().to_code();
        assert_eq!(Locale::from_code(known).map(|locale| locale.to_string()).as_deref(), Some("de-CH"));
        assert_eq!(Locale::from_code(known + 10), None, "de-CR is known, de-CQ is not");
    }

    #[test]
    fn a_code_without_a_value_reads_as_unrecognised() {
        assert_eq!(Option::<Observed<Platform>>::from_code(2 + 200), Some(Some(Observed::Unrecognised)));
        assert_eq!(Option::<SizeBin>::from_code(8), Some(None), "no bin begins with seven accounts");
    }
}
