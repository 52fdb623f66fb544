//! Where a value stands among the values that it may be folded with.

use crate::event::{Observed, UNRECOGNISED};
use crate::version::Version;

/// The leaf of those who did not report the value: because it is not in force at their Pod, or for any other reason.
pub const NOT_REPORTED: &str = "not_reported";

/// The place of a value in the tree of its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Labels that grow more precise. The last one is the leaf; each is unique in its tree.
    Labels(Vec<String>),
    /// One of some ordered bins, which are joined with their neighbours.
    Bin {
        /// The row of bins.
        row: &'static str,
        /// The least number in the bin.
        least: u32,
        /// The greatest number in the bin.
        greatest: u32,
    },
}

impl Path {
    /// The path with these labels.
    pub fn of(labels: impl IntoIterator<Item: Into<String>>) -> Self {
        Self::Labels(labels.into_iter().map(Into::into).collect())
    }

    /// The path of a value that may be unknown: a leaf of its own for "not reported" and for "unrecognised".
    pub fn observed<T>(value: Option<Observed<T>>, path: impl FnOnce(T) -> Self) -> Self {
        match value {
            None => Self::of([NOT_REPORTED]),
            Some(Observed::Unrecognised) => Self::of([UNRECOGNISED]),
            Some(Observed::Recognised(value)) => path(value),
        }
    }

    /// The labels; of a bin, the only one.
    pub fn labels(self) -> Vec<String> {
        match self {
            Self::Labels(labels) => labels,
            Self::Bin { least, greatest, .. } => vec![format!("{least}–{greatest}")],
        }
    }
}

/// A version below its series.
pub(super) fn version_path(version: Version) -> Path {
    Path::of([format!("{}.{}", version.major(), version.minor()), version.to_string()])
}

#[cfg(test)]
mod tests {
    use crate::code::Coded;
    use crate::data_point::{Counted, MetaUserCount, PodVersion, UserLang, UserPlatform};
    use crate::event::Observed;
    use crate::locale::Locale;
    use crate::platform::Platform;
    use crate::size::SizeBin;
    use crate::version::Version;

    #[track_caller]
    fn check<P: Counted>(value: P::Value, expected: &[&str]) {
        assert_eq!(P::path(value).labels(), expected);
        let code = value.to_code();
        assert_eq!(P::Value::from_code(code).map(|value| P::path(value).labels()).unwrap(), expected);
    }

    #[test]
    fn a_value_stands_below_what_it_may_be_folded_into() {
        let version = Version::parse("0.4.1-rc.1").unwrap();
        check::<PodVersion>(Some(Observed::Recognised(version)), &["0.4", "0.4.1-rc.1"]);
        check::<PodVersion>(None, &["not_reported"]);
        check::<PodVersion>(Some(Observed::Unrecognised), &["unrecognised"]);
        check::<UserPlatform>(Some(Platform::parse("web").into()), &["web", "web"]);
        check::<UserPlatform>(Some(Platform::parse("macos-aarch64").into()), &["macos", "macos-aarch64"]);
        check::<UserLang>(Some(Locale::parse("de-CH").into()), &["de", "de-CH"]);
        check::<UserLang>(Some(Locale::parse("de").into()), &["de", "de"]);
        check::<MetaUserCount>(Some(SizeBin::of(30)), &["20–49"]);
        check::<MetaUserCount>(None, &["not_reported"]);
    }
}
