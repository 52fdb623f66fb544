//! Windows that are over → releases.
//!
//! For each window: take its tables away from the writers; in one transaction count, fold, round, write the release
//! and drop the rows; destroy the key. Killed at any step, the next run goes on from there.

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::keys::{KeyDirectory, KeyError};
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
    /// Closes every window that is over at `now`, and those that somebody began to close. Returns those that this
    /// run has released.
    ///
    /// # Errors
    /// If the database or the key directory fails; what has been released stays so.
    pub async fn run(&self, now: Timestamp) -> Result<Vec<Window>, CloseError> {
        let mut released = Vec::new();
        for stored in self.database.open_windows().await? {
            if !stored.closing && !stored.window.is_over(now) {
                continue;
            }
            match self.close(stored.window).await {
                Ok(true) => released.push(stored.window),
                // Another instance was faster.
                Ok(false) | Err(CloseError::NotOpen(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // A run that was killed after its release has left a key behind.
        for window in self.keys.windows()? {
            if self.database.is_released(window).await? {
                self.keys.destroy(window)?;
            }
        }
        Ok(released)
    }

    /// Closes one window, over or not. Returns whether this call has released it.
    ///
    /// # Errors
    /// As [`Self::run`]; and [`CloseError::NotOpen`].
    pub async fn close(&self, window: Window) -> Result<bool, CloseError> {
        let stored = self.database.open_window(window).await?.ok_or(CloseError::NotOpen(window))?;
        self.database.begin_closing(&stored).await?;
        let released = self.database.release(&stored, self.thresholds.of(window.kind())).await?;
        self.keys.destroy(window)?;
        Ok(released)
    }
}
