//! The label of a block of versions → which versions it holds. Pure.

use shared::app::AppName;
use shared::event::UNRECOGNISED;
use shared::version::Version;

use crate::release::{NOT_REPORTED, OTHER};

/// What the label of a block says about the version of the software in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// This version.
    Exact(Version),
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
        // Versions of this app that were folded.
        None => Place::Folded,
    }
}

fn version(label: &str) -> Place {
    let exact = || Version::parse(label).map(Place::Exact);
    let series = || {
        let (major, minor) = label.strip_suffix(OTHER)?.strip_suffix('/')?.split_once('.')?;
        Some(Place::Series(major.parse().ok()?, minor.parse().ok()?))
    };
    exact().or_else(series).unwrap_or(Place::Folded)
}

impl Place {
    /// Its side, seen from a version.
    pub(crate) fn side(self, version: Version) -> Side {
        match self {
            Self::Exact(exact) if exact < version => Side::Below,
            Self::Exact(_) => Side::AtOrAbove,
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
    label != OTHER && label != NOT_REPORTED && label != UNRECOGNISED
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
        check("0.4/other", None, Place::Series(0, 4));
        check("other", None, Place::Folded);
        check("not_reported", None, Place::Untold);
        let web = Some(AppName::Web);
        check("prose-app-web 1.0.1", web, exact("1.0.1"));
        check("prose-app-web 1.0/other", web, Place::Series(1, 0));
        check("prose-app-web/other", web, Place::Folded);
        check("prose-app-web not_reported", web, Place::Untold);
        check("prose-app-ios 1.0.1", web, Place::Elsewhere);
        check("prose-app-ios/other", web, Place::Elsewhere);
        check("other", web, Place::Folded);
        check("unrecognised", web, Place::Untold);
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
