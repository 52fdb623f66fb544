//! Releases that readers asked for → kept in memory: a release never changes, so that it is read once.
//!
//! Which windows have been released is asked each time, so that a new release is there at once, and one that was purged
//! is gone.

use std::collections::{BTreeMap, HashMap};
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
        let mut found: BTreeMap<Window, Release> = {
            let mut kept = self.kept();
            kept.retain(|window, _| {
                window.kind() != kind
                    || !(from..=to).contains(&window.start())
                    || windows.binary_search(window).is_ok()
            });
            windows.iter().filter_map(|window| Some((*window, kept.get(window)?.clone()))).collect()
        };
        let mut missing =
            windows.iter().filter(|window| !found.contains_key(window)).map(|window| window.start());
        if let Some(first) = missing.next() {
            let last = missing.next_back().unwrap_or(first);
            let read = self.database.releases(kind, first, last, &Family::ALL).await?;
            self.keep(&read);
            found.extend(read.into_iter().map(|release| (release.window, release)));
        }
        Ok(found.into_values().collect())
    }

    /// Keeps releases as far as there is room. If there is none left, all that was kept is forgotten.
    fn keep(&self, read: &[Release]) {
        let numbers = |release: &Release| release.blocks().len();
        let new: usize = read.iter().map(numbers).sum();
        if new > MAX_KEPT {
            return;
        }
        let mut kept = self.kept();
        if kept.values().map(numbers).sum::<usize>() + new > MAX_KEPT {
            kept.clear();
        }
        kept.extend(read.iter().map(|release| (release.window, release.clone())));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Window, Release>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
