//! Deletes what is not kept any longer: opt-in domains that have not been reported for two closed weeks, and releases
//! that are older than their retention.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::store::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// Deletes what is due at `now`, and says how many domains.
///
/// # Errors
/// If the database fails.
pub async fn purge_domains(database: &Database, now: Timestamp) -> Result<u64, StoreError> {
    let this_week = Window::containing(WindowKind::Week, now).start();
    database.purge_domains(this_week.saturating_sub(2.weeks())).await
}

/// Deletes the releases of windows that ended longer ago than `retention`, and says how many windows.
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
