//! `usage.user_app_version`: which app an installation is, in which version.

use super::{
    Counted, DataPoint, Declaration, Family, NOT_REPORTED, Options, Path, Shape, Unfit, version_path,
};
use crate::app::AppName;
use crate::code::Coded;
use crate::event::{App, Observed, UNRECOGNISED};
use crate::preset::Named;
use crate::version::Version;

/// The app of an installation and its version.
#[derive(Debug)]
pub enum UserAppVersion {}

/// An app and its version. They are one value, so that a merge takes both from one report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppVersion {
    /// The app; `None` if it was not reported.
    pub app: Option<Observed<AppName>>,
    /// Its version; `None` if it was not reported.
    pub version: Option<Observed<Version>>,
}

impl Coded for AppVersion {
    const MAX: u64 = <(Option<Observed<AppName>>, Option<Observed<Version>>)>::MAX;

    fn to_code(self) -> u64 {
        (self.app, self.version).to_code()
    }

    fn from_code(code: u64) -> Option<Self> {
        let (app, version) = Coded::from_code(code)?;
        Some(Self { app, version })
    }
}

impl DataPoint for UserAppVersion {
    type In = App;

    const DECLARATION: Declaration = Declaration {
        key: "usage.user_app_version",
        identifies: false,
        fields: &["origin.app.name", "origin.app.version"],
        normal_form: "one of Prose's own apps; SemVer as for `usage.pod_version`",
        question: "Which versions of the apps are running in the wild?",
        since: "0.1.0",
        options: &[],
        on_in: &[Named::Gdpr, Named::Lgpd],
        family: Some(Family {
            name: "app_versions",
            title: "App versions",
            value: "Version",
            shape: Shape::Versions { of_each_app: true },
            examples: &["1.0.1", "1.1.0"],
            reader_label: |_| None,
        }),
    };

    fn share(_: Options<'_>, from: &App, to: &mut App) {
        to.name = from.name;
        to.version = from.version;
    }
}

impl Counted for UserAppVersion {
    type Value = AppVersion;

    fn value(said: &App) -> Result<AppVersion, Unfit> {
        Ok(AppVersion { app: said.name, version: said.version })
    }

    fn path(AppVersion { app, version }: AppVersion) -> Path {
        let Some(Observed::Recognised(app)) = app else {
            // Without a known app, a version says nothing.
            let silent = app.is_none() && version.is_none();
            return Path::of([if silent { NOT_REPORTED } else { UNRECOGNISED }]);
        };
        let below = Path::observed(version, version_path).labels().into_iter();
        let below = below.map(|label| format!("{app} {label}"));
        Path::of(std::iter::once(app.to_string()).chain(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(app: Option<AppName>, version: Option<&str>, expected: &[&str]) {
        let version = version.map(|text| Version::parse(text).into());
        let value = AppVersion { app: app.map(Observed::Recognised), version };
        assert_eq!(UserAppVersion::path(value).labels(), expected);
    }

    #[test]
    fn a_version_stands_below_its_series_and_its_app() {
        let web = Some(AppName::Web);
        check(web, Some("1.0.1"), &["prose-app-web", "prose-app-web 1.0", "prose-app-web 1.0.1"]);
        check(web, None, &["prose-app-web", "prose-app-web not_reported"]);
        check(web, Some("own"), &["prose-app-web", "prose-app-web unrecognised"]);
        check(None, Some("1.0.1"), &["unrecognised"]);
        check(None, None, &["not_reported"]);
    }
}
