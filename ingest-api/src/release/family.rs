//! The families: one question each, and the tree along which its cells are folded.

use shared::app::AppName;
use shared::event::{Observed, UNRECOGNISED};
use shared::locale::Locale;
use shared::platform::Platform;
use shared::size::SizeBin;
use shared::version::Version;

use super::cohort::Cohort;
use super::fold::Tree;
use super::threshold::Rule;
use crate::window::{AppVersion, Population};

/// The leaf of those who did not report the value: because it is not in force at their Pod, or for any other reason.
pub const NOT_REPORTED: &str = "not_reported";

/// One question over one population.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// How many Pods there are.
    Pods,
    /// Which versions Pods run.
    PodVersions,
    /// How many accounts Pods have.
    PodSizes,
    /// How many installations there are.
    Installations,
    /// Which apps, in which versions.
    AppVersions,
    /// On which platforms.
    Platforms,
    /// Which languages are preferred.
    Languages,
}

impl Family {
    /// Every family: the place of one is its number.
    pub const ALL: [Self; 7] = [
        Self::Pods,
        Self::PodVersions,
        Self::PodSizes,
        Self::Installations,
        Self::AppVersions,
        Self::Platforms,
        Self::Languages,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::PodVersions => "pod_versions",
            Self::PodSizes => "pod_sizes",
            Self::Installations => "installations",
            Self::AppVersions => "app_versions",
            Self::Platforms => "platforms",
            Self::Languages => "languages",
        }
    }

    /// The family of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// Which rule makes its cohorts safe: what it counts.
    pub fn rule(self) -> Rule {
        match self {
            Self::Pods | Self::PodVersions | Self::PodSizes => Rule::Pods,
            Self::Installations | Self::AppVersions | Self::Platforms | Self::Languages => {
                Rule::Installations
            }
        }
    }

    /// The families of a population. Direct clients have no Pods.
    pub fn of(population: Population) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |family| population == Population::Pod || family.rule() == Rule::Installations)
    }
}

/// What one reporter says in one family; `None` if it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cell {
    /// It exists; that is all that is asked.
    Present,
    /// The version of a Pod.
    PodVersion(Option<Observed<Version>>),
    /// The size of a Pod.
    PodSize(Option<SizeBin>),
    /// The app and version of an installation.
    AppVersion(AppVersion),
    /// The platform of an installation.
    Platform(Option<Observed<Platform>>),
    /// The first choice of locale of an installation.
    Language(Option<Observed<Locale>>),
}

/// The cells of a family, each once, with who is in it → its tree.
pub(super) fn tree(cells: impl IntoIterator<Item = (Cell, Cohort)>) -> Tree {
    let mut tree = Tree::default();
    for (cell, cohort) in cells {
        match cell {
            Cell::PodSize(Some(bin)) => tree.add_bin("size", bin.least(), bin.greatest(), cohort),
            cell => tree.add(&path(cell), cohort),
        }
    }
    tree
}

/// Where a cell stands in its tree. The labels of a path grow more precise; each is unique in its tree.
pub(super) fn path(cell: Cell) -> Vec<String> {
    let not_reported = || vec![NOT_REPORTED.to_owned()];
    match cell {
        Cell::Present => vec!["all".to_owned()],
        Cell::PodSize(None) => not_reported(),
        Cell::PodSize(Some(bin)) => vec![bin.to_string()],
        Cell::PodVersion(version) => observed(version, |version| {
            vec![format!("{}.{}", version.major(), version.minor()), version.to_string()]
        }),
        Cell::Platform(platform) => {
            observed(platform, |platform| vec![platform.family.as_str().to_owned(), platform.to_string()])
        }
        Cell::Language(locale) => {
            observed(locale, |locale| vec![locale.language().to_owned(), locale.to_string()])
        }
        Cell::AppVersion(AppVersion { app: None, version: None }) => not_reported(),
        // A version says nothing as long as we do not know of which app.
        Cell::AppVersion(AppVersion { app: None | Some(Observed::Unrecognised), .. }) => {
            vec![UNRECOGNISED.to_owned()]
        }
        Cell::AppVersion(AppVersion { app: Some(Observed::Recognised(app)), version }) => {
            let of_version = observed(version, |version| {
                vec![format!("{}.{}", version.major(), version.minor()), version.to_string()]
            });
            let mut path = vec![app.to_string()];
            path.extend(of_version.into_iter().map(|label| format!("{app} {label}")));
            path
        }
    }
}

fn observed<T>(value: Option<Observed<T>>, path: impl FnOnce(T) -> Vec<String>) -> Vec<String> {
    match value {
        None => vec![NOT_REPORTED.to_owned()],
        Some(Observed::Unrecognised) => vec![UNRECOGNISED.to_owned()],
        Some(Observed::Recognised(value)) => path(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cell: Cell, expected: &[&str]) {
        assert_eq!(path(cell), expected);
    }

    #[test]
    fn a_cell_stands_below_what_it_may_be_folded_into() {
        let version = |text| Some(Observed::Recognised(Version::parse(text).unwrap()));
        let web = Some(Observed::Recognised(AppName::Web));
        check(Cell::PodVersion(version("0.4.1-rc.1")), &["0.4", "0.4.1-rc.1"]);
        check(Cell::PodVersion(None), &["not_reported"]);
        check(Cell::PodVersion(Some(Observed::Unrecognised)), &["unrecognised"]);
        check(
            Cell::AppVersion(AppVersion { app: web, version: version("1.0.1") }),
            &["prose-app-web", "prose-app-web 1.0", "prose-app-web 1.0.1"],
        );
        check(
            Cell::AppVersion(AppVersion { app: web, version: None }),
            &["prose-app-web", "prose-app-web not_reported"],
        );
        check(Cell::AppVersion(AppVersion { app: None, version: version("1.0.1") }), &["unrecognised"]);
        check(Cell::AppVersion(AppVersion::default()), &["not_reported"]);
        check(Cell::Platform(Some(Platform::parse("web").into())), &["web", "web"]);
        check(Cell::Platform(Some(Platform::parse("macos-aarch64").into())), &["macos", "macos-aarch64"]);
        check(Cell::Language(Some(Locale::parse("de-CH").into())), &["de", "de-CH"]);
    }

    #[test]
    fn the_canonical_order_has_not_reported_lowest_and_newer_versions_higher() {
        let version = |text| Some(Observed::Recognised(Version::parse(text).unwrap()));
        let ordered =
            [None, Some(Observed::Unrecognised), version("0.9.0"), version("1.0.0-rc.1"), version("1.0.0")];
        assert!(ordered.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn direct_clients_have_no_families_of_pods() {
        assert!(Family::of(Population::Direct).all(|family| family.rule() == Rule::Installations));
        assert_eq!(Family::of(Population::Pod).count(), Family::ALL.len());
    }
}
