//! Releases that readers asked for → kept in memory: a release never changes, so that it is read once.
//!
//! Whoever wants some asks first which windows have been released, so that a new release is there at once, and one that was
//! purged is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::release::Family;
use crate::release::{Release, ReleasedWindows};
use crate::store::{Database, StoreError};
use crate::window::Window;

/// How many published numbers are kept, of some 80 bytes each: two or three years of all windows.
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

    /// The windows that have been released, as the database says now. Others are forgotten.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn released_windows(&self) -> Result<ReleasedWindows, StoreError> {
        let released = self.database.released_windows().await?;
        self.kept().retain(|window, _| released.contains(window));
        Ok(released)
    }

    /// The releases of some windows, in their order; without those that have been purged since they were found.
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
