//! Releases that readers asked for → kept in memory: a release never changes, so that it is read once.
//!
//! Which windows have been released is asked each time, so that a new release is there at once, and one that was purged
//! is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::civil::Date;

use crate::release::Family;
use crate::store::releases::Release;
use crate::store::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// How many published numbers are kept, of some 80 bytes each: two or three years of all windows.
const MAX_KEPT: usize = 150_000;

/// The releases, for readers.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    database: Database,
    kept: Arc<Mutex<HashMap<Window, Release>>>,
}

impl Archive {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, kept: Arc::default() }
    }

    /// The releases of the windows that start between the two days, both included; oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn releases(
        &self,
        kind: WindowKind,
        from: Date,
        to: Date,
    ) -> Result<Vec<Release>, StoreError> {
        let windows = self.database.released_windows(kind, from, to).await?;
        let missing: Vec<Date> = {
            let mut kept = self.kept();
            kept.retain(|window, _| {
                window.kind() != kind
                    || !(from..=to).contains(&window.start())
                    || windows.binary_search(window).is_ok()
            });
            let is_missing = |window: &&Window| !kept.contains_key(window);
            windows.iter().filter(is_missing).map(|window| window.start()).collect()
        };
        let read = match (missing.first(), missing.last()) {
            (Some(first), Some(last)) => self.database.releases(kind, *first, *last, &Family::ALL).await?,
            _ => Vec::new(),
        };
        let mut kept = self.kept();
        kept.extend(read.into_iter().map(|release| (release.window, release)));
        let releases = windows.iter().filter_map(|window| kept.get(window).cloned()).collect();
        if kept.values().map(|release| release.blocks().len()).sum::<usize>() > MAX_KEPT {
            kept.clear();
        }
        Ok(releases)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Window, Release>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
