//! Reports of open windows → one row a reporter; noted domains → the database.

use crate::intake::DomainNotes;
use crate::store::{Database, StoreError};

/// Merges each open window that has been reported to since it was merged last. What a window holds is then bounded by its
/// reporters and not by their reports, and the order of its rows tells nothing about the order of arrival.
///
/// Returns what failed. One window that cannot be merged does not hold up the others, and the next run tries it again.
pub async fn merge_open_windows(database: &Database) -> Vec<StoreError> {
    let windows = match database.open_windows().await {
        Ok(windows) => windows,
        Err(error) => return vec![error],
    };
    let mut failed = Vec::new();
    for stored in windows.iter().filter(|stored| !stored.closing) {
        match database.merge_window(stored).await {
            Ok(()) => {}
            // Another instance is at it.
            Err(StoreError::Busy) => break,
            Err(error) => failed.push(error),
        }
    }
    failed
}

/// Writes the domains that have been noted. Returns what failed; those domains are kept for the next run.
pub async fn write_domains(database: &Database, domains: &DomainNotes) -> Vec<StoreError> {
    let mut failed = Vec::new();
    for (week, names) in domains.take() {
        if let Err(error) = database.note_domains(&names, week).await {
            domains.give_back(week, names);
            failed.push(error);
        }
    }
    failed
}
