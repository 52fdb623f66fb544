//! Reports of open windows → one row a reporter; noted domains → the database.

use crate::intake::DomainNotes;
use crate::store::{Database, StoreError};

/// Merges each open window of which that is worth it. What a window holds is then bounded by its reporters and not by
/// their reports, and the order of its rows tells nothing about the order of arrival.
///
/// # Errors
/// If the database fails; the next run goes on from there.
pub async fn merge_open_windows(database: &Database) -> Result<(), StoreError> {
    for stored in database.open_windows().await?.iter().filter(|stored| !stored.closing) {
        database.merge_window(stored).await?;
    }
    Ok(())
}

/// Writes the domains that have been noted.
///
/// # Errors
/// If the database fails; the domains are kept for the next run.
pub async fn write_domains(database: &Database, domains: &DomainNotes) -> Result<(), StoreError> {
    for (week, names) in domains.take() {
        if let Err(error) = database.note_domains(&names, week).await {
            domains.give_back(week, names);
            return Err(error);
        }
    }
    Ok(())
}
