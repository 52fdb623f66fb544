//! Deletes data that has expired: opt-in domains that were not reported for two closed weeks, and releases
//! older than the retention.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::store::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// Deletes the domains that have expired at `now`, and returns how many.
///
/// # Errors
/// If the database fails.
pub async fn purge_domains(database: &Database, now: Timestamp) -> Result<u64, StoreError> {
    let this_week = Window::containing(WindowKind::Week, now).start();
    database.purge_domains(this_week.saturating_sub(2.weeks())).await
}

/// Deletes the releases of windows that ended more than `retention` ago, and returns how many windows.
///
/// # Errors
/// If the database fails.
pub async fn purge_releases(
    database: &Database,
    now: Timestamp,
    retention: Duration,
) -> Result<u64, StoreError> {
    let Ok(until) = now.checked_sub(retention) else { return Ok(0) };
    database.purge_releases(until.to_zoned(TimeZone::UTC).date()).await
}
