//! Releases and open windows → what somebody should look at.

use jiff::Timestamp;

use crate::archive::Archive;
use crate::oddity::{Oddity, history_since, jumps, overdue, unclosed, unreleased};
use crate::store::{Database, StoreError};
use crate::window::WindowKind;

/// What is odd at `now`: in the order of the kinds of windows, open windows last.
///
/// # Errors
/// If the database fails.
pub(crate) async fn find_oddities(
    database: &Database,
    archive: &Archive,
    now: Timestamp,
) -> Result<Vec<Oddity>, StoreError> {
    let mut oddities = Vec::new();
    let open = database.open_windows().await?;
    let mut known: Vec<_> = open.iter().map(|stored| stored.window).collect();
    let released = archive.released_windows().await?;
    known.extend(WindowKind::ALL.iter().filter_map(|kind| released.of(*kind).first()));
    for kind in WindowKind::ALL {
        let Some(newest) = released.newest(kind) else {
            oddities.extend(unreleased(kind, known.iter().copied(), now));
            continue;
        };
        oddities.extend(overdue(newest, now));
        let recent = released.between(kind, history_since(newest), newest.start());
        oddities.extend(jumps(&archive.releases(recent).await?));
    }
    oddities.extend(open.iter().filter_map(|stored| unclosed(stored.window, now)));
    Ok(oddities)
}
