//! Two values of two families → what everybody knows about their combination. Pure.

use shared::app::AppName;
use shared::code::Coded;
use shared::data_point::{AppVersion, Counted, CountedPoint, DataPoint, UserAppVersion, UserPlatform};
use shared::event::Observed;
use shared::platform;

/// How two values go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// No reporter has both: an app does not run on a platform that it was not built for.
    Apart,
    /// Nothing is known.
    Open,
    /// One is among the few that go with the other, such as iOS for an iOS app.
    Kin,
}

/// What matters of a value to [`relation`]. It maps thousands of values to a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Essence {
    /// An app, in any version.
    App(AppName),
    /// A family of platforms, with any architecture.
    Platform(platform::Family),
    /// Anything else, which goes with everything.
    Any,
}

/// The essence of the value with that code.
pub(super) fn essence(point: &CountedPoint, code: u64) -> Essence {
    let is = |key| point.declaration.key == key;
    if is(UserAppVersion::DECLARATION.key)
        && let Some(AppVersion { app: Some(Observed::Recognised(app)), .. }) = AppVersion::from_code(code)
    {
        return Essence::App(app);
    }
    if is(UserPlatform::DECLARATION.key)
        && let Some(Some(Observed::Recognised(platform))) = <UserPlatform as Counted>::Value::from_code(code)
    {
        return Essence::Platform(platform.family);
    }
    Essence::Any
}

/// What is known about reporters with both values, whatever is published: only which app runs where. A value
/// that was not reported or not recognised may be any value.
pub(super) fn relation(a: Essence, b: Essence) -> Relation {
    let ((Essence::App(app), Essence::Platform(family)) | (Essence::Platform(family), Essence::App(app))) =
        (a, b)
    else {
        return Relation::Open;
    };
    match app.platforms() {
        None => Relation::Open,
        Some(families) if families.contains(&family) => Relation::Kin,
        Some(_) => Relation::Apart,
    }
}

#[cfg(test)]
mod tests {
    use shared::data_point::Reporter;
    use shared::event::App;
    use shared::platform::Platform;

    use super::*;

    #[track_caller]
    fn check(app: Option<AppName>, platform: Option<&str>, expected: Relation) {
        let [app_version, of_platform, ..] = App::COUNTED else { panic!("an app and a platform come first") };
        let app = AppVersion { app: app.map(Observed::Recognised), version: None };
        let platform = platform.map(|text| Observed::from(Platform::parse(text)));
        let (app, platform) = (essence(app_version, app.to_code()), essence(of_platform, platform.to_code()));
        assert_eq!((relation(app, platform), relation(platform, app)), (expected, expected));
    }

    #[test]
    fn an_app_runs_where_it_is_built_for() {
        check(Some(AppName::Ios), Some("ipados-aarch64"), Relation::Kin);
        check(Some(AppName::Ios), Some("windows"), Relation::Apart);
        check(Some(AppName::Desktop), Some("freebsd"), Relation::Kin);
        check(Some(AppName::Web), Some("ios"), Relation::Open);
        check(Some(AppName::Ios), Some("plan9"), Relation::Open);
        check(Some(AppName::Ios), None, Relation::Open);
        check(None, Some("ios"), Relation::Open);
        assert_eq!(relation(Essence::Any, Essence::App(AppName::Ios)), Relation::Open);
    }
}
