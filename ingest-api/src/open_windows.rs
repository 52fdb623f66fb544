//! The windows that are open now, each with its key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::keys::{KeyDirectory, KeyError};
use crate::store::open_windows::StoredWindow;
use crate::store::{Database, StoreError};
use crate::window::{Window, WindowKey, WindowKind};

/// Why a window cannot be written to.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key directory failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The window is open, but its key is missing here.
    #[error(
        "the key of the open window `{0}` is missing from the key directory; share the directory with the instance that has it, restore the file, or close the window without the reports since its last merge, normally up to an hour: `ingest-api windows close {0} --without-key`"
    )]
    KeyMissing(Window),
    /// The window was opened with another key.
    #[error(
        "the key of the open window `{0}` is not the one that it was opened with; all instances must share one key directory. To go on without the right key, close the window without the reports since its last merge: `ingest-api windows close {0} --without-key`"
    )]
    OtherKey(Window),
}

/// Reads the key of a window that is open or being closed.
///
/// # Errors
/// If it is missing from the directory, or is not the key that the window was opened with.
pub fn key_of(keys: &KeyDirectory, stored: &StoredWindow) -> Result<WindowKey, WindowError> {
    let key = keys.read(stored.window)?.ok_or(WindowError::KeyMissing(stored.window))?;
    if key.check() == stored.key_check { Ok(key) } else { Err(WindowError::OtherKey(stored.window)) }
}

/// The result of the last lookup, by kind: the window, and how to write to it; `None` if it was released
/// before its end.
type Known = Vec<(Window, Option<(StoredWindow, WindowKey)>)>;

/// Opens windows at their start, and remembers them until their end. Clones share the memory.
#[derive(Clone, Debug)]
pub struct OpenWindows {
    keys: KeyDirectory,
    known: Arc<Mutex<Known>>,
}

impl OpenWindows {
    /// Takes keys from that directory.
    pub fn new(keys: KeyDirectory) -> Self {
        Self { keys, known: Arc::default() }
    }

    /// The windows that contain `now`, one of each kind, without those that were released before their end.
    ///
    /// # Errors
    /// If the database or the key directory fails. **Never** opens a second key for an open window.
    pub async fn current(
        &self,
        database: &Database,
        now: Timestamp,
    ) -> Result<Vec<(StoredWindow, WindowKey)>, WindowError> {
        let wanted = WindowKind::ALL.map(|kind| Window::containing(kind, now));
        let mut known = self.known().clone();
        if !known.iter().map(|(window, _)| *window).eq(wanted) {
            known.clear();
            for window in wanted {
                let open = self.open(database, window).await?;
                if open.is_none() {
                    tracing::warn!(%window, "released before its end, or the clock is behind: reports do not count in it");
                }
                known.push((window, open));
            }
            self.known().clone_from(&known);
        }
        Ok(known.into_iter().filter_map(|(_, open)| open).collect())
    }

    /// The key of a window that is open or being closed, from the directory. If the file is lost, the
    /// remembered key is used, so that arrivals can still be opened.
    ///
    /// # Errors
    /// As for [`key_of`].
    pub fn key_of(&self, stored: &StoredWindow) -> Result<WindowKey, WindowError> {
        key_of(&self.keys, stored).or_else(|error| {
            let known = self.known();
            let mut open = known.iter().filter_map(|(_, open)| open.as_ref());
            let remembered = open.find(|(known, _)| known.id == stored.id).map(|(_, key)| key.clone());
            remembered.ok_or(error)
        })
    }

    /// Forgets all windows, so that the next call looks them up again.
    pub fn forget(&self) {
        self.known().clear();
    }

    /// Forgets windows that are over at `now`, and their keys. Without this, they would stay until the next
    /// report.
    pub fn forget_ended(&self, now: Timestamp) {
        self.known().retain(|(window, _)| !window.is_over(now));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whether reports could be written at `now`. Opens nothing.
    ///
    /// # Errors
    /// Why they could not.
    pub async fn check(keys: &KeyDirectory, database: &Database, now: Timestamp) -> Result<(), WindowError> {
        for kind in WindowKind::ALL {
            let window = Window::containing(kind, now);
            if let Some(stored) = database.open_window(window).await? {
                key_of(keys, &stored)?;
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        database: &Database,
        window: Window,
    ) -> Result<Option<(StoredWindow, WindowKey)>, WindowError> {
        let stored = match database.open_window(window).await? {
            Some(stored) => stored,
            None if database.is_released(window).await? => return Ok(None),
            None => {
                // The key first: a window whose key was lost in between could not be written to.
                let key = self.keys.read_or_create(window)?;
                let Some(stored) = database.create_window(window, key.check()).await? else {
                    return Ok(None);
                };
                stored
            }
        };
        let key = key_of(&self.keys, &stored)?;
        Ok((!stored.closing).then_some((stored, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_when_its_window_is_over_though_nothing_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let windows = OpenWindows::new(keys.clone());
        let before: Timestamp = "2026-11-22T23:59:00Z".parse().unwrap();
        *windows.known() = WindowKind::ALL
            .map(|kind| {
                let window = Window::containing(kind, before);
                let key = keys.read_or_create(window).unwrap();
                let stored = StoredWindow { id: 1, window, key_check: key.check(), closing: false };
                (window, Some((stored, key)))
            })
            .into();
        let remembered = |now: &str| {
            windows.clone().forget_ended(now.parse().unwrap());
            windows.known().iter().map(|(window, _)| window.kind()).collect::<Vec<_>>()
        };
        assert_eq!(remembered("2026-11-22T23:59:59Z"), WindowKind::ALL);
        // A Sunday ends the week as well.
        assert_eq!(remembered("2026-11-23T00:00:00Z"), [WindowKind::Month]);
    }
}
