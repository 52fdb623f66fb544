//! Windows that are over → releases.
//!
//! For each window: let nobody write to it any more; in one transaction count, fold, round, write the release and put away what
//! it has; destroy the key. Killed at any step, the next run goes on from there. What was put away is dropped afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::jobs::merge::{merge_most, tell_given_up};
use crate::keys::{KeyDirectory, KeyError};
use crate::open_windows::{WindowError, key_of};
use crate::release::{Count, Family, Threshold, publish};
use crate::store::open_windows::StoredWindow;
use crate::store::{Database, StoreError, Turn};
use crate::window::record::{Merge, Read};
use crate::window::seal::Opened;
use crate::window::{Window, WindowKey};

/// Why windows could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key directory failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something waits to be merged, and the window's key is not here.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// There is nothing to close.
    #[error("the window `{0}` is not open; `ingest-api windows list` shows those that are")]
    NotOpen(Window),
}

/// How long after its end a window stays open, so that instances whose clocks differ a little agree that it is over.
pub const GRACE: Duration = Duration::from_secs(60);

/// Whether a window may be closed whose key is not here, though something waits to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutKey {
    /// It may not.
    Refuse,
    /// It may, and what waits is given up.
    GiveUp,
}

/// What became of the windows that were over.
#[derive(Debug, Default)]
pub struct Closed {
    /// Those that this run has released.
    pub released: Vec<Window>,
    /// Families of theirs that became one block because not everything that they may tell together could be tried.
    pub untried: Vec<(Window, Family)>,
    /// Windows in which something was given up, and how many pieces: their key had not sealed them, or was not there.
    pub given_up: Vec<(Window, u64)>,
    /// Those that could not be closed now, though nothing is wrong: another instance is at work, or somebody reads their tables.
    pub put_off: Vec<Window>,
    /// What went wrong with others. They are tried again by the next run.
    pub failed: Vec<CloseError>,
}

impl Closed {
    fn extend(&mut self, other: Self) {
        self.released.extend(other.released);
        self.untried.extend(other.untried);
        self.given_up.extend(other.given_up);
        self.put_off.extend(other.put_off);
        self.failed.extend(other.failed);
    }
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
                    match self.close(stored.window, WithoutKey::Refuse).await {
                        Ok(one) => closed.extend(one),
                        // Another instance was faster.
                        Err(CloseError::NotOpen(_)) => {}
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

    /// Closes one window, over or not. Nothing is released if another instance was faster.
    ///
    /// # Errors
    /// If the database or the key directory fails, or there is something to merge and no key to do so; what has been done stays
    /// so, and the next call goes on from there.
    pub async fn close(&self, window: Window, without_key: WithoutKey) -> Result<Closed, CloseError> {
        let stored = self.database.open_window(window).await?.ok_or(CloseError::NotOpen(window))?;
        // Before, so that a window that is open stays so; and after, when nobody writes to it any more.
        self.key_for(&stored, without_key).await?;
        self.database.begin_closing(&stored).await?;
        let key = self.key_for(&stored, without_key).await?;
        let mut given_up = merge_most(&self.database, &stored, key.as_ref()).await?;
        let threshold = self.thresholds.of(window.kind());
        let released = release(&self.database, &stored, key.as_ref(), threshold).await?;
        if !self.keys.destroy_key_of(window, stored.key_check)? {
            tracing::warn!(%window, "a key that is not of this window was left in the key directory");
        }
        let mut closed = Closed::default();
        if let Some(Released { untried, unopened }) = released {
            tell_given_up(&stored, unopened);
            given_up += unopened;
            closed.released.push(window);
            closed.untried.extend(untried.into_iter().map(|family| (window, family)));
        }
        closed.given_up.extend((given_up > 0).then_some((window, given_up)));
        Ok(closed)
    }

    /// The key of a window; none if it is not here and nothing waits for it, or what waits may be given up.
    async fn key_for(
        &self,
        stored: &StoredWindow,
        without_key: WithoutKey,
    ) -> Result<Option<WindowKey>, CloseError> {
        match key_of(&self.keys, stored) {
            Ok(key) => Ok(Some(key)),
            // Whatever else it is, the key may be there.
            Err(error @ (WindowError::Store(_) | WindowError::Key(KeyError::Io(_)))) => Err(error.into()),
            Err(_) if without_key == WithoutKey::GiveUp => Ok(None),
            Err(error) => {
                let (waiting, _) = self.database.waiting(stored).await?;
                if waiting > 0 { Err(error.into()) } else { Ok(None) }
            }
        }
    }
}

/// What became of a window that was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The families that became one block because their audit ran out of steps.
    pub untried: BTreeSet<Family>,
    /// How many pieces could not be opened, and were given up.
    pub unopened: u64,
}

/// Counts a window that is being closed, writes its release, and puts away what it has: all of it or nothing. Without a
/// key, what waits to be merged is given up. `None` if another instance has released the window meanwhile.
///
/// # Errors
/// If the database fails.
#[doc(hidden)]
pub async fn release(
    database: &Database,
    stored: &StoredWindow,
    key: Option<&WindowKey>,
    threshold: &Threshold,
) -> Result<Option<Released>, StoreError> {
    let (window, key, threshold) = (stored.window, key.cloned(), *threshold);
    let work = async move |turn: Turn<'_>| {
        let Some(mut releasing) = turn.begin_releasing().await? else { return Ok(None) };
        let mut opened = Opened::with(key.as_ref());
        releasing.take(|piece| opened.add(piece)).await?;
        let Opened { records, unopened, .. } = opened;
        let (mut merge, mut count) = (Merge::new(records.into()), Count::default());
        releasing.read_packs(|pack| merge.with(Read(pack), |record| count.add(record))).await?;
        merge.end(|record| count.add(record));
        let published = publish(window, count.finish(), &threshold);
        releasing.commit(&published).await?;
        if published.capped > 0 {
            tracing::warn!(%window, "more installations than Pods of their size can have were left out");
        }
        Ok(Some(Released { untried: published.untried, unopened }))
    };
    database.in_turn(stored, work).await
}
