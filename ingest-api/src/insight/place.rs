//! The label of a block of versions → which versions it holds. Pure.

use shared::app::AppName;
use shared::event::UNRECOGNISED;
use shared::version::Version;

use crate::release::{NOT_REPORTED, OTHER, SEVERAL, branch_of};

/// What the label of a block says about the version of the software in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// This version.
    Exact(Version),
    /// A build near this version, or without a number.
    Build(Version),
    /// Some versions of this major and minor number, folded.
    Series(u16, u16),
    /// Folded: any version, no reported version, or another app.
    Folded,
    /// No known version was reported; for an app, perhaps not even the app.
    Untold,
    /// Another app.
    Elsewhere,
}

/// On which side of a version the reporters of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Below the version, all of them.
    Below,
    /// At the version or above it, all of them.
    AtOrAbove,
    /// Some may be on one side, some on the other.
    Either,
    /// Unknown: they reported no version.
    Untold,
    /// They do not run the software in question.
    Neither,
}

/// Reads a label of `pod_versions` or, for one app, of `app_versions`.
pub(crate) fn place(label: &str, app: Option<AppName>) -> Place {
    match label {
        OTHER => return Place::Folded,
        NOT_REPORTED | UNRECOGNISED => return Place::Untold,
        _ => {}
    }
    let Some(app) = app else { return version(label) };
    let Some(rest) = label.strip_prefix(app.as_str()) else { return Place::Elsewhere };
    match rest.strip_prefix(' ') {
        Some(NOT_REPORTED | UNRECOGNISED) => Place::Untold,
        Some(label) => version(label),
        // Versions of this app, folded.
        None => Place::Folded,
    }
}

fn version(label: &str) -> Place {
    let exact = || {
        Version::from_label(label).map(|version| match version.is_exact() {
            true => Place::Exact(version),
            false => Place::Build(version),
        })
    };
    let series = || {
        let (major, minor) = branch_of(label)?.split_once('.')?;
        Some(Place::Series(major.parse().ok()?, minor.parse().ok()?))
    };
    exact().or_else(series).unwrap_or(Place::Folded)
}

impl Place {
    /// Its side, seen from a version.
    pub(crate) fn side(self, version: Version) -> Side {
        match self {
            Self::Exact(own) | Self::Build(own) => match own.is_below(version) {
                Some(true) => Side::Below,
                Some(false) => Side::AtOrAbove,
                None => Side::Either,
            },
            Self::Series(major, minor) if (major, minor) < (version.major(), version.minor()) => Side::Below,
            Self::Series(major, minor) if (major, minor) > (version.major(), version.minor()) => {
                Side::AtOrAbove
            }
            Self::Series(..) | Self::Folded => Side::Either,
            Self::Untold => Side::Untold,
            Self::Elsewhere => Side::Neither,
        }
    }
}

/// Whether a label names what reporters have, rather than that it is unknown.
pub fn is_known(label: &str) -> bool {
    label != OTHER && label != SEVERAL && label != NOT_REPORTED && label != UNRECOGNISED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(label: &str, app: Option<AppName>, expected: Place) {
        assert_eq!(place(label, app), expected, "{label}");
    }

    #[test]
    fn a_label_says_of_which_software_and_version_it_is() {
        let exact = |text| Place::Exact(Version::parse(text).unwrap());
        check("0.4.0-rc.1", None, exact("0.4.0-rc.1"));
        check("0.4/several", None, Place::Series(0, 4));
        let build = |text| Place::Build(Version::parse(text).unwrap());
        check("0.4.0-post", None, build("0.4.0-post"));
        check("edge", None, build("edge"));
        check("other", None, Place::Folded);
        check("not_reported", None, Place::Untold);
        let web = Some(AppName::Web);
        check("prose-app-web 1.0.1", web, exact("1.0.1"));
        check("prose-app-web 1.0/several", web, Place::Series(1, 0));
        check("prose-app-web/several", web, Place::Folded);
        // As earlier versions called it.
        check("prose-app-web 1.0/several", web, Place::Series(1, 0));
        check("prose-app-web not_reported", web, Place::Untold);
        check("prose-app-ios 1.0.1", web, Place::Elsewhere);
        check("prose-app-ios/several", web, Place::Elsewhere);
        check("other", web, Place::Folded);
        check("unrecognised", web, Place::Untold);
    }

    #[test]
    fn a_build_is_on_either_side_of_what_it_may_be_only() {
        let side = |label, version| place(label, None).side(Version::parse(version).unwrap());
        assert_eq!(side("0.19.3-post", "0.19.3"), Side::AtOrAbove);
        assert_eq!(side("0.19.3-post", "0.19.4"), Side::Below);
        assert_eq!(side("0.20.0-dev", "0.20.0"), Side::Below);
        assert_eq!(side("0.20.0-dev", "0.19.9"), Side::AtOrAbove);
        assert_eq!(side("0.19.3-changed", "0.19.3"), Side::Either);
        assert_eq!(side("0.19.3-changed", "0.19.2"), Side::AtOrAbove);
        assert_eq!(side("edge", "0.19.3"), Side::Either);
    }

    #[test]
    fn a_folded_series_is_on_either_side_of_its_own_versions_only() {
        let side = |version| Place::Series(0, 4).side(Version::parse(version).unwrap());
        assert_eq!(side("0.3.9"), Side::AtOrAbove);
        assert_eq!(side("0.4.0"), Side::Either);
        assert_eq!(side("0.4.9"), Side::Either);
        assert_eq!(side("0.5.0-alpha"), Side::Below);
    }
}
