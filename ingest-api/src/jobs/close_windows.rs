//! Windows that are over → releases.
//!
//! A close has three steps. It stops writes to the window. One transaction counts, folds, rounds, writes the
//! release and puts the window's tables away. Then it destroys the key. After a kill at any step, the next
//! run continues from there. Tables that were put away are dropped later.

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

/// Why a window could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key directory failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Reports wait to be merged, and the window's key is missing.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The window is not open.
    #[error("the window `{0}` is not open; `ingest-api windows list` shows those that are")]
    NotOpen(Window),
}

/// How long a window stays open after its end. So instances with slightly different clocks agree that it is
/// over.
pub const GRACE: Duration = Duration::from_secs(60);

/// Whether to close a window that has unmerged reports but no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutKey {
    /// Keep it open.
    Refuse,
    /// Close it, and lose the unmerged reports.
    GiveUp,
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Closed {
    /// The windows that this run released.
    pub released: Vec<Window>,
    /// Families that became one block because the audit ran out of steps.
    pub untried: Vec<(Window, Family)>,
    /// Windows that lost unmerged reports, and how many pieces: the key was missing, or did not seal them.
    pub given_up: Vec<(Window, u64)>,
    /// Windows to close later, though nothing is wrong: another instance holds the turn, or somebody reads
    /// their tables.
    pub put_off: Vec<Window>,
    /// The errors of the other windows. The next run tries them again.
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

/// What closing a window needs.
#[derive(Clone, Debug)]
pub struct CloseWindows {
    /// The database.
    pub database: Database,
    /// The key directory.
    pub keys: KeyDirectory,
    /// The threshold of each kind of window.
    pub thresholds: Thresholds,
}

impl CloseWindows {
    /// Closes every window that has been over for [`GRACE`] at `now`, and those whose close was begun. An
    /// error in one window does not delay the others.
    pub async fn run(&self, now: Timestamp) -> Closed {
        let mut closed = Closed::default();
        let due = now.saturating_sub(GRACE).unwrap_or(now);
        match self.database.open_windows().await {
            Ok(windows) => {
                for stored in windows.iter().filter(|stored| stored.closing || stored.window.is_over(due)) {
                    match self.close(stored.window, WithoutKey::Refuse).await {
                        Ok(one) => closed.extend(one),
                        // Another instance closed it first.
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

    /// Destroys the keys that a run left behind because it was killed after its release.
    async fn destroy_left_keys(&self) -> Result<(), CloseError> {
        for window in self.keys.windows()? {
            if self.database.is_released(window).await? {
                self.keys.destroy(window)?;
            }
        }
        Ok(())
    }

    /// Closes one window, whether it is over or not. Releases nothing if another instance did so first.
    ///
    /// # Errors
    /// If the database or the key directory fails, or unmerged reports have no key. Completed steps stay; the
    /// next call continues from there.
    pub async fn close(&self, window: Window, without_key: WithoutKey) -> Result<Closed, CloseError> {
        let stored = self.database.open_window(window).await?.ok_or(CloseError::NotOpen(window))?;
        // Twice: first so that an open window stays open on an error, then again after the last write.
        self.key_for(&stored, without_key).await?;
        self.database.begin_closing(&stored).await?;
        let key = self.key_for(&stored, without_key).await?;
        let mut given_up = merge_most(&self.database, &stored, key.as_ref()).await?;
        let threshold = self.thresholds.of(window.kind());
        let released = release(&self.database, &stored, key.as_ref(), threshold).await?;
        if !self.keys.destroy_key_of(window, stored.key_check)? {
            tracing::warn!(%window, "the key directory keeps a key that does not belong to this window");
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

    /// The window's key. `None` if it is missing and nothing waits for it, or `without_key` gives up what
    /// waits.
    async fn key_for(
        &self,
        stored: &StoredWindow,
        without_key: WithoutKey,
    ) -> Result<Option<WindowKey>, CloseError> {
        match key_of(&self.keys, stored) {
            Ok(key) => Ok(Some(key)),
            // These errors do not mean that the key is lost.
            Err(error @ (WindowError::Store(_) | WindowError::Key(KeyError::Io(_)))) => Err(error.into()),
            Err(_) if without_key == WithoutKey::GiveUp => Ok(None),
            Err(error) => {
                let (waiting, _) = self.database.waiting(stored).await?;
                if waiting > 0 { Err(error.into()) } else { Ok(None) }
            }
        }
    }
}

/// The outcome of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The families that became one block because the audit ran out of steps.
    pub untried: BTreeSet<Family>,
    /// How many pieces could not be opened, and were lost.
    pub unopened: u64,
}

/// Counts a window that is being closed, writes its release, and puts its tables away: all of it or nothing.
/// Without a key, unmerged reports are lost. `None` if another instance has released the window meanwhile.
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
            tracing::warn!(%window, "installations beyond their Pods' allowances were not counted");
        }
        Ok(Some(Released { untried: published.untried, unopened }))
    };
    database.in_turn(stored, work).await
}
