//! Deletes opt-in domains that have not been reported for two closed weeks.

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
