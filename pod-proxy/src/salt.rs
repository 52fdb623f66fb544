//! The salt file → the [`Salt`]. It is created once, with mode 0600, and never changed, shown or logged.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shared::pseudonym::Salt;

/// Why there is no salt.
#[derive(Debug, thiserror::Error)]
pub enum SaltError {
    /// The file does not have the length of a salt. Pseudonyms made with it would differ from those before.
    #[error(
        "the salt file {path} has {found} bytes and not {expected}, so it is damaged or not a salt; restore it from a \
         backup, or delete it: all installations then count as new",
        path = .path.display(), expected = Salt::LEN
    )]
    NotASalt {
        path: PathBuf,
        /// The length of the file, in bytes.
        found: usize,
    },
    #[error("cannot use the salt file {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The salt in the file at `path`. If there is no file, a new salt is written to it.
pub fn load_or_create(path: &Path) -> Result<Salt, SaltError> {
    match load(path)? {
        Some(salt) => Ok(salt),
        None => create(path),
    }
}

/// The salt in the file at `path`, if there is a file.
pub fn load(path: &Path) -> Result<Option<Salt>, SaltError> {
    match fs::read(path) {
        Ok(bytes) => Salt::from_bytes(&bytes)
            .map(Some)
            .ok_or_else(|| SaltError::NotASalt { path: path.to_owned(), found: bytes.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SaltError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a new salt beside `path`, syncs it, and only then renames it. If another process created the file meanwhile,
/// its salt is used.
fn create(path: &Path) -> Result<Salt, SaltError> {
    let written = || -> io::Result<Option<Salt>> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let salt = Salt::generate(&mut rand::rng());
        // `NamedTempFile` makes files of mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(salt.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error.error),
        }
        File::open(folder)?.sync_all()?;
        Ok(Some(salt))
    };
    let error = |source| SaltError::Io { path: path.to_owned(), source };
    match written().map_err(error)? {
        Some(salt) => Ok(salt),
        None => load(path)?.ok_or_else(|| error(io::ErrorKind::NotFound.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_salt_is_kept_for_the_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        let salt = load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), salt.as_bytes());
        assert_eq!(load_or_create(&path).unwrap().as_bytes(), salt.as_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn the_salt_file_of_a_pod_server_is_used_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        fs::write(&path, [7; Salt::LEN]).unwrap();
        assert_eq!(load_or_create(&path).unwrap().as_bytes(), &[7; Salt::LEN]);
    }

    #[test]
    fn a_truncated_or_empty_salt_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        for length in [0, 1, 255, 257] {
            fs::write(&path, vec![7; length]).unwrap();
            let error = load_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("has {length} bytes and not 256")), "{error}");
            assert_eq!(fs::read(&path).unwrap().len(), length);
        }
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named_in_the_error() {
        let error = load_or_create(Path::new("/nonexistent/salt")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use the salt file /nonexistent/salt: "), "{error}");
    }
}
