//! Windows that are over → releases.
//!
//! For each window: take its tables away from the writers; in one transaction count, fold, round, write the release
//! and drop the rows; destroy the key. Killed at any step, the next run goes on from there.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::keys::{KeyDirectory, KeyError};
use crate::release::Family;
use crate::store::{Database, StoreError};
use crate::window::Window;

/// Why windows could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key directory failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is nothing to close.
    #[error("the window `{0}` is not open; `ingest-api windows list` shows those that are")]
    NotOpen(Window),
}

/// How long after its end a window stays open, so that instances whose clocks differ a little agree that it is over.
pub const GRACE: Duration = Duration::from_secs(60);

/// What became of the windows that were over.
#[derive(Debug, Default)]
pub struct Closed {
    /// Those that this run has released.
    pub released: Vec<Window>,
    /// Families of theirs that became one block because not everything that they may tell together could be tried.
    pub untried: Vec<(Window, Family)>,
    /// Those that could not be closed now, though nothing is wrong: another instance is at work, or somebody reads their tables.
    pub put_off: Vec<Window>,
    /// What went wrong with others. They are tried again by the next run.
    pub failed: Vec<CloseError>,
}

/// What closing needs.
#[derive(Clone, Debug)]
pub struct CloseWindows {
    /// The database.
    pub database: Database,
    /// The key directory.
    pub keys: KeyDirectory,
    /// What is safe to publish.
    pub thresholds: Thresholds,
}

impl CloseWindows {
    /// Closes every window that has been over for [`GRACE`] at `now`, and those that somebody began to close. One that
    /// cannot be closed does not hold up the others.
    pub async fn run(&self, now: Timestamp) -> Closed {
        let mut closed = Closed::default();
        let due = now.saturating_sub(GRACE).unwrap_or(now);
        match self.database.open_windows().await {
            Ok(windows) => {
                for stored in windows.iter().filter(|stored| stored.closing || stored.window.is_over(due)) {
                    match self.close(stored.window).await {
                        Ok(Some(untried)) => {
                            closed.released.push(stored.window);
                            closed.untried.extend(untried.into_iter().map(|family| (stored.window, family)));
                        }
                        // Another instance was faster.
                        Ok(None) | Err(CloseError::NotOpen(_)) => {}
                        Err(CloseError::Store(StoreError::Busy | StoreError::InUse)) => {
                            closed.put_off.push(stored.window);
                        }
                        Err(error) => closed.failed.push(error),
                    }
                }
            }
            Err(error) => closed.failed.push(error.into()),
        }
        if let Err(error) = self.destroy_left_keys().await {
            closed.failed.push(error);
        }
        closed
    }

    /// A run that was killed after its release has left a key behind.
    async fn destroy_left_keys(&self) -> Result<(), CloseError> {
        for window in self.keys.windows()? {
            if self.database.is_released(window).await? {
                self.keys.destroy(window)?;
            }
        }
        Ok(())
    }

    /// Closes one window, over or not. Returns the families that became one block because not everything could be tried, if
    /// this call has released the window.
    ///
    /// # Errors
    /// If the database or the key directory fails; what has been done stays so, and the next call goes on from there.
    pub async fn close(&self, window: Window) -> Result<Option<BTreeSet<Family>>, CloseError> {
        let stored = self.database.open_window(window).await?.ok_or(CloseError::NotOpen(window))?;
        self.database.begin_closing(&stored).await?;
        let released = self.database.release(&stored, self.thresholds.of(window.kind())).await?;
        self.keys.destroy(window)?;
        Ok(released)
    }
}
