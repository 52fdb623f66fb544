//! Releases that readers asked for → a cache: a release never changes, so it is read once.
//!
//! Readers ask first which windows are released. So a new release is visible at once, and a purged one
//! disappears at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::release::Family;
use crate::release::{Release, ReleasedWindows};
use crate::store::{Database, StoreError};
use crate::window::Window;

/// How many published numbers are cached, at some 80 bytes each: two or three years of all windows.
const MAX_KEPT: usize = 150_000;

/// The releases, for readers.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseCache {
    database: Database,
    kept: Arc<Mutex<HashMap<Window, Release>>>,
}

impl ReleaseCache {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, kept: Arc::default() }
    }

    /// The released windows, as the database lists them now. Drops all others from the cache.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn released_windows(&self) -> Result<ReleasedWindows, StoreError> {
        let released = self.database.released_windows().await?;
        self.kept().retain(|window, _| released.contains(window));
        Ok(released)
    }

    /// The releases of these windows, in their order, without those purged meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn releases(&self, windows: &[Window]) -> Result<Vec<Release>, StoreError> {
        let mut found: BTreeMap<Window, Release> = {
            let kept = self.kept();
            windows.iter().filter_map(|window| Some((*window, kept.get(window)?.clone()))).collect()
        };
        let missing: Vec<_> = windows.iter().filter(|window| !found.contains_key(window)).copied().collect();
        if !missing.is_empty() {
            let read = self.database.releases(&missing, &Family::ALL).await?;
            self.keep(&read);
            found.extend(read.into_iter().map(|release| (release.window, release)));
        }
        Ok(found.into_values().collect())
    }

    /// Caches releases, as far as there is room. A full cache is emptied.
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
