//! Two values of two families → what everybody knows of how they go together. Pure.

use shared::event::Observed;
use shared::platform::Platform;

use super::family::Cell;
use crate::window::AppVersion;

/// How two values go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// No reporter has both: an app does not run on a platform that it is not built for.
    Apart,
    /// Nothing is known.
    Open,
    /// One is among the few that go with the other: iOS, for an app for iOS.
    Kin,
}

/// All of a value that a [`relation`] is about, so that thousands of values are a few: an app without its version, a
/// family of platforms.
pub(super) fn essence(cell: Cell) -> Cell {
    match cell {
        Cell::AppVersion(app) => Cell::AppVersion(AppVersion { version: None, ..app }),
        Cell::Platform(Some(Observed::Recognised(platform))) => {
            Cell::Platform(Some(Observed::Recognised(Platform { architecture: None, ..platform })))
        }
        Cell::Platform(_) => Cell::Platform(None),
        _ => Cell::Present,
    }
}

/// What is known about reporters with both values, whatever is published. The only thing known is which app runs
/// where; a value that was not reported or not recognised may be any.
pub(super) fn relation(a: Cell, b: Cell) -> Relation {
    let (app, platform) = match (a, b) {
        (Cell::AppVersion(app), Cell::Platform(platform))
        | (Cell::Platform(platform), Cell::AppVersion(app)) => (app.app, platform),
        _ => return Relation::Open,
    };
    let (Some(Observed::Recognised(app)), Some(Observed::Recognised(platform))) = (app, platform) else {
        return Relation::Open;
    };
    match app.platforms() {
        None => Relation::Open,
        Some(families) if families.contains(&platform.family) => Relation::Kin,
        Some(_) => Relation::Apart,
    }
}

#[cfg(test)]
mod tests {
    use shared::app::AppName;

    use super::*;

    #[track_caller]
    fn check(app: Option<AppName>, platform: Option<&str>, expected: Relation) {
        let app = Cell::AppVersion(AppVersion { app: app.map(Observed::Recognised), version: None });
        let platform = Cell::Platform(platform.map(|text| Platform::parse(text).into()));
        assert_eq!((relation(app, platform), relation(platform, app)), (expected, expected));
        assert_eq!(relation(essence(app), essence(platform)), expected);
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
        assert_eq!(relation(Cell::Language(None), Cell::Platform(None)), Relation::Open);
    }
}
