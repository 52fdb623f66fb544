//! The windows that are open now, each with its key.

use jiff::Timestamp;

use crate::keys::{KeyDirectory, KeyError, WindowKey};
use crate::store::open_windows::StoredWindow;
use crate::store::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// Why a window cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key directory failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The window is open, and there is no key for it here.
    #[error(
        "the key of the open window `{0}` is missing from the key directory; share the directory with the instance that has it, restore the file, or close the window with what it holds: `ingest-api windows close {0}`"
    )]
    KeyMissing(Window),
    /// The window was opened with another key.
    #[error(
        "the key of the open window `{0}` is not the one that it was opened with; all instances must share one key directory. To go on without the right key, close the window with what it holds: `ingest-api windows close {0}`"
    )]
    OtherKey(Window),
}

/// Opens windows when their time has come, and remembers them until it is over.
#[derive(Debug)]
pub struct OpenWindows {
    keys: KeyDirectory,
    /// What was found out last, and when that ends: for each kind the window, and how to write to it unless it has
    /// been released before its end.
    known: Vec<(Window, Option<(StoredWindow, WindowKey)>)>,
}

impl OpenWindows {
    /// Uses the keys of that directory.
    pub fn new(keys: KeyDirectory) -> Self {
        Self { keys, known: Vec::new() }
    }

    /// The windows that `now` falls into: one of each kind, but those that have been released before their end.
    ///
    /// # Errors
    /// If the database or the key directory fails. **Never** opens a second key for an open window.
    pub async fn current(
        &mut self,
        database: &Database,
        now: Timestamp,
    ) -> Result<Vec<(StoredWindow, WindowKey)>, WindowError> {
        let wanted = WindowKind::ALL.map(|kind| Window::containing(kind, now));
        if !self.known.iter().map(|(window, _)| *window).eq(wanted) {
            let mut known = Vec::with_capacity(wanted.len());
            for window in wanted {
                let open = self.open(database, window).await?;
                if open.is_none() {
                    tracing::warn!(%window, "released before its end, or the clock is behind: reports do not count in it");
                }
                known.push((window, open));
            }
            self.known = known;
        }
        Ok(self.known.iter().filter_map(|(_, open)| open.clone()).collect())
    }

    /// Looks everything up again next time.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Whether reports could be written at `now`, without opening anything.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(keys: &KeyDirectory, database: &Database, now: Timestamp) -> Result<(), WindowError> {
        for kind in WindowKind::ALL {
            let window = Window::containing(kind, now);
            if let Some(stored) = database.open_window(window).await? {
                let key = keys.read(window)?.ok_or(WindowError::KeyMissing(window))?;
                if key.check() != stored.key_check {
                    return Err(WindowError::OtherKey(window));
                }
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        database: &Database,
        window: Window,
    ) -> Result<Option<(StoredWindow, WindowKey)>, WindowError> {
        let (stored, key) = match database.open_window(window).await? {
            Some(stored) => (stored, self.keys.read(window)?.ok_or(WindowError::KeyMissing(window))?),
            None if database.is_released(window).await? => return Ok(None),
            None => {
                // The key first: a window whose key got lost on the way could not be written to.
                let key = self.keys.read_or_create(window)?;
                match database.create_window(window, key.check()).await? {
                    Some(stored) => (stored, key),
                    None => return Ok(None),
                }
            }
        };
        if stored.closing {
            return Ok(None);
        }
        if stored.key_check != key.check() {
            return Err(WindowError::OtherKey(window));
        }
        Ok(Some((stored, key)))
    }
}
