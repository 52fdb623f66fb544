//! Releases and open windows → the anomalies that an operator should look at.

use jiff::Timestamp;

use crate::anomaly::{Anomaly, history_since, jumps, overdue, unclosed, unreleased};
use crate::release_cache::ReleaseCache;
use crate::store::{Database, StoreError};
use crate::window::WindowKind;

/// The anomalies at `now`, by kind of window; open windows come last.
///
/// # Errors
/// If the database fails.
pub(crate) async fn find_anomalies(
    database: &Database,
    releases: &ReleaseCache,
    now: Timestamp,
) -> Result<Vec<Anomaly>, StoreError> {
    let mut anomalies = Vec::new();
    let open = database.open_windows().await?;
    let mut known: Vec<_> = open.iter().map(|stored| stored.window).collect();
    let released = releases.released_windows().await?;
    known.extend(WindowKind::ALL.iter().filter_map(|kind| released.of(*kind).first()));
    for kind in WindowKind::ALL {
        let Some(newest) = released.newest(kind) else {
            anomalies.extend(unreleased(kind, known.iter().copied(), now));
            continue;
        };
        anomalies.extend(overdue(newest, now));
        let recent = released.between(kind, history_since(newest), newest.start());
        anomalies.extend(jumps(&releases.releases(recent).await?));
    }
    anomalies.extend(open.iter().filter_map(|stored| unclosed(stored.window, now)));
    Ok(anomalies)
}
