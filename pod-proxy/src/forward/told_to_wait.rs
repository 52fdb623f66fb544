//! How long the vendor asked to wait → a tiny file in the data folder, so that a restart does not cut it short.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::retry::MAX_RETRY_AFTER;
use super::schedule::after;

const NAME: &str = "not-before";

/// The moment before which nothing is sent, where the vendor asked for one.
#[derive(Debug)]
pub(crate) struct ToldToWait {
    path: PathBuf,
}

impl ToldToWait {
    /// That of the proxy with this data folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME) }
    }

    /// The moment, if it is still to come. No longer than a vendor may ask for: a clock that was set back since cannot
    /// prolong it. What cannot be read counts as nothing.
    pub(crate) fn read(&self, now: Timestamp) -> Option<Timestamp> {
        let until: Timestamp = fs::read_to_string(&self.path).ok()?.trim().parse().ok()?;
        (until > now).then(|| until.min(after(now, MAX_RETRY_AFTER)))
    }

    /// Writes the moment down; the disk has it when this returns.
    ///
    /// # Errors
    /// If it cannot be written; what was there before may still be.
    pub(crate) fn write(&self, until: Timestamp) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{until}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// The vendor takes again: there is nothing to wait for.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn what_the_vendor_asked_for_is_read_back_until_it_is_over_and_for_a_day_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let told = ToldToWait::new(folder.path());
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let minutes = SignedDuration::from_mins;
        assert_eq!(told.read(now), None);
        told.write(now + minutes(90)).unwrap();
        assert_eq!(told.read(now), Some(now + minutes(90)));
        assert_eq!(told.read(now + minutes(90)), None);
        let set_back = now - minutes(60 * 24 * 365);
        assert_eq!(told.read(set_back), Some(set_back + minutes(60 * 24)));
        fs::write(folder.path().join(NAME), "soon").unwrap();
        assert_eq!(told.read(now), None);
        told.remove().unwrap();
        told.remove().unwrap();
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
