//! Releases and open windows → what somebody should look at.

use jiff::Timestamp;

use crate::oddity::{Oddity, history_since, jumps, overdue, unclosed};
use crate::release::Family;
use crate::store::{Database, StoreError};
use crate::window::WindowKind;

/// What is odd at `now`: in the order of the kinds of windows, open windows last.
///
/// # Errors
/// If the database fails.
pub async fn find_oddities(database: &Database, now: Timestamp) -> Result<Vec<Oddity>, StoreError> {
    let mut oddities = Vec::new();
    for kind in WindowKind::ALL {
        let Some(newest) = database.newest_release(kind).await? else { continue };
        oddities.extend(overdue(newest, now));
        let families = [Family::Pods, Family::Installations];
        let history = database.releases(kind, history_since(newest), newest.start(), &families).await?;
        oddities.extend(jumps(&history));
    }
    let open = database.open_windows().await?;
    oddities.extend(open.iter().filter_map(|stored| unclosed(stored.window, now)));
    Ok(oddities)
}
