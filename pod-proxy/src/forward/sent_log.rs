//! What left the Pod → a bounded file that its operator can read: one line for each event, word for word.
//!
//! Two files take turns. When the newer one is full it takes the place of the older one, so that together they
//! never have more than the bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::filter::FilteredEvent;

const NEWER: &str = "sent.ndjson";
const OLDER: &str = "sent.old.ndjson";

/// The log, open for writing.
#[derive(Debug)]
pub struct SentLog {
    folder: PathBuf,
    /// The bound of one of the two files, in bytes. Zero keeps nothing.
    max_bytes: u64,
    file: Mutex<Option<(File, u64)>>,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When it was sent: the moment of the whole batch.
    pub at: String,
    /// What became of the request it was in.
    pub answer: String,
    /// What was sent, byte for byte.
    pub event: Box<RawValue>,
}

impl SentLog {
    /// The log in `folder`, of at most so many bytes.
    pub fn new(folder: &Path, max_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), max_bytes: max_bytes / 2, file: Mutex::new(None) }
    }

    /// Adds a line for each event. A log that cannot be written does not keep anything from being sent.
    pub(super) fn write(&self, at: Timestamp, answer: &str, events: &[FilteredEvent]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let written = serde_json::to_string(event).map_err(io::Error::from).and_then(|event| {
                let line = format!("{{\"at\":\"{at}\",\"answer\":\"{answer}\",\"event\":{event}}}\n");
                self.write_line(&mut file, line.as_bytes())
            });
            if let Err(error) = written {
                tracing::warn!(%error, "the log of what was sent cannot be written");
                *file = None;
                return;
            }
        }
    }

    fn write_line(&self, open: &mut Option<(File, u64)>, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if length > self.max_bytes {
            return Ok(());
        }
        let (mut file, mut size) = match open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if size + length > self.max_bytes {
            fs::rename(self.folder.join(NEWER), self.folder.join(OLDER))?;
            (file, size) = self.open()?;
        }
        file.write_all(line)?;
        *open = Some((file, size + length));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let path = self.folder.join(NEWER);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

/// The last `limit` lines of the log in `folder`, the oldest first. A line that was cut off by a crash is left out.
///
/// # Errors
/// If there is a file that cannot be read.
pub fn read(folder: &Path, limit: usize) -> io::Result<Vec<Line>> {
    let mut lines = std::collections::VecDeque::new();
    for name in [OLDER, NEWER] {
        let file = match File::open(folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(line) = serde_json::from_slice(&line?) {
                lines.push_back(line);
            }
            if lines.len() > limit {
                lines.pop_front();
            }
        }
    }
    Ok(lines.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use shared::event::Domain;
    use shared::policy::Policy;

    use super::*;
    use crate::facts::PodFacts;
    use crate::filter::{PodReport, Report, filter};

    fn event() -> FilteredEvent {
        let facts = PodFacts::of(Domain::parse("example.org").unwrap()).with_accounts(Some(33));
        filter(&Policy::default(), &facts, Report::Pod(PodReport::Daily)).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_left_is_read_back_word_for_word_the_latest_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = SentLog::new(folder.path(), 1 << 20);
        log.write(at(1), "taken", &[event(), event()]);
        drop(log);
        SentLog::new(folder.path(), 1 << 20).write(at(2), "refused", &[event()]);
        let lines = read(folder.path(), 10).unwrap();
        assert_eq!(
            lines.iter().map(|line| line.answer.as_str()).collect::<Vec<_>>(),
            ["taken", "taken", "refused"]
        );
        assert_eq!(lines[2].at, "1970-01-01T00:00:02Z");
        assert_eq!(lines[2].event.get(), serde_json::to_string(&event()).unwrap());
        assert_eq!(read(folder.path(), 1).unwrap()[0].answer, "refused");
        let mode = fs::metadata(folder.path().join(NEWER)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_two_files_together_never_have_more_than_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let log = SentLog::new(folder.path(), 3_000);
        for second in 0..100 {
            log.write(at(second), "taken", &[event()]);
            let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
            assert!(size(NEWER) + size(OLDER) <= 3_000);
        }
        let lines = read(folder.path(), 1_000).unwrap();
        assert!(lines.len() > 5);
        assert_eq!(lines.last().unwrap().at, at(99).to_string());
    }

    #[test]
    fn a_bound_of_zero_keeps_nothing_and_a_line_that_was_cut_off_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        SentLog::new(folder.path(), 0).write(at(1), "taken", &[event()]);
        assert_eq!(read(folder.path(), 10).unwrap().len(), 0);
        let log = SentLog::new(folder.path(), 1 << 20);
        log.write(at(1), "taken", &[event()]);
        let path = folder.path().join(NEWER);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..whole.len() - 30], b"\xe2\x80\n"].concat()).unwrap();
        assert_eq!(read(folder.path(), 10).unwrap().len(), 1);
    }
}
