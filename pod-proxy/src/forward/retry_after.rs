//! The vendor's `Retry-After` → a small file in the data folder, so that a restart does not cut the wait short.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::phase::after;
use crate::vendor::MAX_RETRY_AFTER;

const NAME: &str = "not-before";

/// The file with the moment before which nothing is sent, if the vendor asked for one.
#[derive(Debug)]
pub(crate) struct RetryAfterFile {
    path: PathBuf,
}

impl RetryAfterFile {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME) }
    }

    /// The moment, if it is in the future. It is at most as far away as a vendor may ask for, so that a clock that was
    /// set back does not prolong it. An unreadable file counts as none.
    pub(crate) fn read(&self, now: Timestamp) -> Option<Timestamp> {
        let until: Timestamp = fs::read_to_string(&self.path).ok()?.trim().parse().ok()?;
        (until > now).then(|| until.min(after(now, MAX_RETRY_AFTER)))
    }

    /// Writes the moment; it is on disk when this returns. After an error, the old file may still be there.
    pub(crate) fn write(&self, until: Timestamp) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        writeln!(file, "{until}")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }

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
        let file = RetryAfterFile::new(folder.path());
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let minutes = SignedDuration::from_mins;
        assert_eq!(file.read(now), None);
        file.write(now + minutes(90)).unwrap();
        assert_eq!(file.read(now), Some(now + minutes(90)));
        assert_eq!(file.read(now + minutes(90)), None);
        let set_back = now - minutes(60 * 24 * 365);
        assert_eq!(file.read(set_back), Some(set_back + minutes(60 * 24)));
        fs::write(folder.path().join(NAME), "soon").unwrap();
        assert_eq!(file.read(now), None);
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
