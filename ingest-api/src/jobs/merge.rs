//! Reports of open windows → one row a reporter; noted domains → the database.

use std::time::{Duration, Instant};

use crate::intake::DomainNotes;
use crate::store::{Database, StoreError};

/// Merges each open window that has been reported to since it was merged last. What a window holds is then bounded by its
/// reporters and not by their reports, and the order of its rows tells nothing about the order of arrival.
///
/// Returns how long the merges took, and what failed. One window that cannot be merged does not hold up the others, and the
/// next run tries it again.
pub async fn merge_open_windows(database: &Database) -> (Duration, Vec<StoreError>) {
    let windows = match database.open_windows().await {
        Ok(windows) => windows,
        Err(error) => return (Duration::ZERO, vec![error]),
    };
    let (mut took, mut failed) = (Duration::ZERO, Vec::new());
    for stored in windows.iter().filter(|stored| !stored.closing) {
        let start = Instant::now();
        match database.merge_window(stored).await {
            Ok(()) => took += start.elapsed(),
            // Another instance is at it.
            Err(StoreError::Busy) => break,
            // Nor does whoever reads one of them.
            Err(StoreError::InUse) => {}
            Err(error) => failed.push(error),
        }
    }
    (took, failed)
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
