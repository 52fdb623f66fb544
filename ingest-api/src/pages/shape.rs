//! What the page of an insight is like, with its words.

use crate::insight::Insight;

/// The pages that show values and their shares. Pods and reach have pages of their own, because they have no
/// values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Versions, with what breaks below one and how fast releases are adopted.
    Versions,
    /// Values, some of which belong together: a line for each of the largest groups.
    Distribution(&'static Distribution),
    /// Ordered ranges of numbers: areas on top of each other.
    Bins(&'static Bins),
}

/// The words of a page about a distribution.
#[derive(Debug)]
pub(super) struct Distribution {
    /// One value, such as `Platform`.
    pub(super) value: &'static str,
    /// The words around a guide line, if there is one.
    pub(super) guide: Option<GuideWords>,
}

/// The words around a guide line: a share that the reader chooses.
#[derive(Debug)]
pub(super) struct GuideWords {
    /// `No language is preferred by` 20 % or more.
    pub(super) none: &'static str,
    /// `Preferred by` 20 % or more: German.
    pub(super) some: &'static str,
    /// How the numbers are to be read.
    pub(super) note: &'static str,
}

/// The words of a page about bins.
#[derive(Debug)]
pub(super) struct Bins {
    /// What has the bins, such as `Sizes of Pods`.
    pub(super) title: &'static str,
    /// What the bins count, such as `Accounts`.
    pub(super) value: &'static str,
}

const PLATFORMS: Distribution = Distribution { value: "Platform", guide: None };
const LANGUAGES: Distribution = Distribution {
    value: "Language",
    guide: Some(GuideWords {
        none: "No language is preferred by ",
        some: "Preferred by ",
        note: "Only the first choice of each installation counts. A language is the sum of its regions. Regions that are too \
               small are part of “everything else” of their language or of all languages, so a language may be somewhat more \
               common than its number says.",
    }),
};
const SIZES: Bins = Bins { title: "Sizes of Pods", value: "Accounts" };

/// The shape of the page of an insight.
pub(super) fn of(insight: Insight) -> Option<Shape> {
    match insight {
        Insight::PodVersions | Insight::AppVersions => Some(Shape::Versions),
        Insight::Platforms => Some(Shape::Distribution(&PLATFORMS)),
        Insight::Languages => Some(Shape::Distribution(&LANGUAGES)),
        Insight::PodSizes => Some(Shape::Bins(&SIZES)),
        Insight::Pods | Insight::Reach | Insight::Domains => None,
    }
}

/// Whether an insight is about values, and not only about how many there are.
pub(crate) fn has_values(insight: Insight) -> bool {
    of(insight).is_some()
}
