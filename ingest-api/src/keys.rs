//! The key directory: one random key for each open window, each in a file of its own, outside Postgres.
//!
//! Write-ahead logs and backups of a database keep deleted rows; a file can be destroyed. All instances of
//! the service share the directory, and it belongs in no backup. Without a window's key, nobody can compute
//! subjects from identifiers, or compare them with those of another window. The process overwrites a key in
//! memory when nothing needs it any more, but not copies that the compiler may have made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::Rng;
use zeroize::Zeroizing;

use crate::window::{Window, WindowKey, WindowKind};

/// An error of the key directory.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("the key directory cannot be used: {0}")]
    Io(io::Error),
    /// A key file has been cut off or written to.
    #[error(
        "the key file of the window `{0}` does not hold 32 bytes; restore it, or close the window without the reports since its last merge (`ingest-api windows close {0} --without-key`)"
    )]
    Damaged(Window),
}

impl From<io::Error> for KeyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The directory that holds the keys.
#[derive(Clone, Debug)]
pub struct KeyDirectory(PathBuf);

impl KeyDirectory {
    /// Opens the directory. Creates it (mode 0700) if it does not exist.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The key of a window; `None` if it has none.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub fn read(&self, window: Window) -> Result<Option<WindowKey>, KeyError> {
        let bytes = match fs::read(self.file(window)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => Zeroizing::new(read?),
        };
        let bytes: &[u8; WindowKey::LEN] =
            bytes.as_slice().try_into().map_err(|_| KeyError::Damaged(window))?;
        Ok(Some(WindowKey::new(bytes)))
    }

    /// The key of a window; creates one if it has none. If several instances do so at the same time, all get
    /// the same key.
    ///
    /// # Errors
    /// If the directory cannot be written, or the key is damaged.
    pub fn read_or_create(&self, window: Window) -> Result<WindowKey, KeyError> {
        if let Some(key) = self.read(window)? {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; WindowKey::LEN]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        let mut suffix = [0; 8];
        rand::rng().fill_bytes(&mut suffix);
        let draft = self.0.join(format!(".new-{:016x}", u64::from_be_bytes(suffix)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes.as_slice())?;
        file.sync_all()?;
        // A link instead of a rename: it never replaces another instance's key.
        let linked = fs::hard_link(&draft, self.file(window));
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => File::open(&self.0)?.sync_all()?,
        }
        self.read(window)?.ok_or(KeyError::Damaged(window))
    }

    /// Destroys the key of a window: overwrites the file, then removes it. Does nothing if it has none.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn destroy(&self, window: Window) -> Result<(), KeyError> {
        let path = self.file(window);
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.write_all(&[0; WindowKey::LEN])?;
        file.sync_all()?;
        match fs::remove_file(&path) {
            // Another instance removed it first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }

    /// Destroys the key of a window, unless its check value differs: then it belongs to another database.
    /// Returns whether the window has no key now.
    ///
    /// # Errors
    /// If the file cannot be read or removed.
    pub fn destroy_key_of(&self, window: Window, check: i64) -> Result<bool, KeyError> {
        // The key that an instance left if it was killed between overwriting and removing.
        let overwritten = WindowKey::new(&[0; WindowKey::LEN]).check();
        match self.read(window) {
            Ok(Some(key)) if ![check, overwritten].contains(&key.check()) => Ok(false),
            // A truncated key is destroyed, too.
            Ok(_) | Err(KeyError::Damaged(_)) => self.destroy(window).map(|()| true),
            Err(error) => Err(error),
        }
    }

    /// The windows that have a key.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn windows(&self) -> Result<Vec<Window>, KeyError> {
        let mut windows = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let parsed = name.to_str().and_then(|name| {
                let (kind, day) = name.strip_suffix(".key")?.split_once('-')?;
                Some(Window::of_day(WindowKind::parse(kind)?, day.parse().ok()?))
            });
            windows.extend(parsed);
        }
        windows.sort();
        Ok(windows)
    }

    fn file(&self, window: Window) -> PathBuf {
        self.0.join(format!("{}-{}.key", window.kind().as_str(), window.start()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn window(day: &str) -> Window {
        Window::of_day(WindowKind::Day, day.parse().unwrap())
    }

    #[test]
    fn a_key_is_made_once_kept_and_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(&folder.path().join("keys")).unwrap();
        let today = window("2026-11-22");
        let check = keys.read_or_create(today).unwrap().check();
        assert_eq!(keys.read_or_create(today).unwrap().check(), check);
        assert_ne!(keys.read_or_create(window("2026-11-23")).unwrap().check(), check);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("keys")), 0o700);
        assert_eq!(mode(&folder.path().join("keys/day-2026-11-22.key")), 0o600);
        keys.destroy(today).unwrap();
        keys.destroy(today).unwrap();
        assert_eq!(keys.windows().unwrap(), [window("2026-11-23")]);
        assert!(keys.read(today).unwrap().is_none());
    }

    #[test]
    fn instances_that_make_a_key_at_once_get_the_same_one() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let today = window("2026-11-22");
        let checks: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..16).map(|_| scope.spawn(|| keys.read_or_create(today).unwrap().check())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(checks.iter().all(|check| *check == checks[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn the_key_of_another_database_is_not_destroyed_and_what_is_left_of_ours_is() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        let today = window("2026-11-22");
        let check = keys.read_or_create(today).unwrap().check();
        assert!(!keys.destroy_key_of(today, check + 1).unwrap());
        assert!(keys.read(today).unwrap().is_some());
        assert!(keys.destroy_key_of(today, check).unwrap());
        for left in [&[0; 32][..], &[7; 20]] {
            fs::write(folder.path().join("day-2026-11-22.key"), left).unwrap();
            assert!(keys.destroy_key_of(today, check).unwrap());
            assert!(keys.read(today).unwrap().is_none());
        }
        assert!(keys.destroy_key_of(today, check).unwrap(), "there is none");
    }

    #[test]
    fn a_key_that_was_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::open(folder.path()).unwrap();
        fs::write(folder.path().join("day-2026-11-22.key"), [1; 31]).unwrap();
        assert!(matches!(keys.read_or_create(window("2026-11-22")), Err(KeyError::Damaged(_))));
    }
}
