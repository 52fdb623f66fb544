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
