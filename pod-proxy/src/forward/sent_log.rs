//! What is about to leave the Pod → a bounded file that its operator can read: one line for each event, byte for byte.
//!
//! A request is recorded, and the record synced, before anything of it leaves. So nothing leaves that is not in the log,
//! however the process ends. The lines of a request's events are followed by a line of fixed length for the answer. It says
//! `unknown` until the answer is written over it, which needs no space on the disk. If nothing of a request left, its
//! record is removed.
//!
//! There are two files. When the newer one is full it replaces the older one, so that together they stay within the bound.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::filter::FilteredEvent;

const NEWER: &str = "sent.ndjson";
const OLDER: &str = "sent.old.ndjson";

/// The request is in progress, or the process was killed before there was an answer, perhaps before anything left.
const UNKNOWN: &str = "unknown";
/// The request was aborted, by a reload or a stop. It may have left.
const INTERRUPTED: &str = "interrupted";
/// The request did not leave, but its record could not be removed.
const NOTHING_LEFT: &str = "nothing_left";

/// How the line of an answer begins. No line of an event begins like this.
const ANSWER: &[u8] = br#"{"answer":"#;
/// The length of that line, in bytes, with the line feed.
const ANSWER_BYTES: usize = 48;

/// The log of one proxy. One request at a time writes to it.
#[derive(Debug)]
pub struct SentLog {
    folder: PathBuf,
    /// The bound of one of the two files, in bytes. Zero turns the log off.
    max_bytes: u64,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Where the next request goes.
    end: u64,
}

/// An event that left.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// When its request was sent.
    pub at: String,
    /// The outcome of its request as in the metrics, or `interrupted`, or `unknown`.
    pub answer: String,
    pub event: Box<RawValue>,
}

/// The line of an event in the file.
#[derive(Deserialize)]
struct Stored {
    at: String,
    event: Box<RawValue>,
}

#[derive(Deserialize)]
struct StoredAnswer {
    answer: String,
}

impl SentLog {
    /// The log in `folder`, of at most so many bytes.
    pub fn new(folder: &Path, max_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), max_bytes: max_bytes / 2, open: Mutex::new(None) }
    }

    /// Records a request that is about to leave, and syncs it. After an error, nothing of it may leave.
    pub(super) fn record(self: &Arc<Self>, request: &[u8]) -> io::Result<Record> {
        let mut open = self.open.lock();
        let extent = match self.max_bytes {
            0 => None,
            // After an error the file is opened again, which cuts off an incomplete record.
            _ => Some(self.append(&mut open, request)?),
        };
        drop(open);
        Ok(Record { log: Arc::clone(self), extent, state: State::Recorded })
    }

    fn append(&self, open: &mut Option<Open>, request: &[u8]) -> io::Result<Extent> {
        let length = request.len() as u64;
        if length > self.max_bytes {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "a request is larger than the log may be"));
        }
        let mut newer = match open.take() {
            Some(newer) => newer,
            None => self.open()?,
        };
        if newer.end + length > self.max_bytes {
            fs::rename(self.folder.join(NEWER), self.folder.join(OLDER))?;
            newer = self.open()?;
        }
        let Open { file, end: start } = newer;
        if let Err(error) = file.write_all_at(request, start).and_then(|()| file.sync_data()) {
            // An incomplete record may take the last space on the disk. If this fails, opening cuts it off.
            let _ = file.set_len(start);
            return Err(error);
        }
        let end = start + length;
        *open = Some(Open { file: Arc::clone(&file), end });
        Ok(Extent { file, start, end })
    }

    /// Opens the newer file, or creates it. An incomplete record is cut off: its request has not left.
    fn open(&self) -> io::Result<Open> {
        let path = self.folder.join(NEWER);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let (mut end, mut read) = (0, 0);
        for_each_line(&file, |line| {
            read += line.len() as u64;
            if line.starts_with(ANSWER) && line.ends_with(b"\n") {
                end = read;
            }
        })?;
        file.set_len(end)?;
        // The folder's entries of new and renamed files are to be on disk too.
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { file: Arc::new(file), end })
    }
}

/// The record of a request: its events, and [`UNKNOWN`] for the answer.
pub(super) fn encode(at: Timestamp, events: &[FilteredEvent]) -> serde_json::Result<Vec<u8>> {
    let mut request = Vec::new();
    for event in events {
        request.extend_from_slice(format!("{{\"at\":\"{at}\",\"event\":").as_bytes());
        serde_json::to_writer(&mut request, event)?;
        request.extend_from_slice(b"}\n");
    }
    request.extend_from_slice(answer_line(UNKNOWN).as_bytes());
    Ok(request)
}

fn answer_line(answer: &str) -> String {
    let answer = format!("{{\"answer\":\"{answer:.32}\"}}");
    format!("{answer:<width$}\n", width = ANSWER_BYTES - 1)
}

/// A request that is recorded. The record is removed if nothing of it leaves.
#[derive(Debug)]
pub(super) struct Record {
    log: Arc<SentLog>,
    extent: Option<Extent>,
    state: State,
}

#[derive(Debug)]
struct Extent {
    file: Arc<File>,
    start: u64,
    end: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing of it has left.
    Recorded,
    /// It may have left.
    Leaving,
    Answered,
}

impl Record {
    /// From now on something of it may leave.
    pub(super) fn leaves(&mut self) {
        self.state = State::Leaving;
    }

    pub(super) fn answered(mut self, answer: &str) {
        self.state = State::Answered;
        self.write(answer);
    }

    /// Nothing of it left, because there was no connection.
    pub(super) fn nothing_left(mut self) {
        self.state = State::Recorded;
    }

    fn write(&self, answer: &str) {
        let Some(Extent { file, end, .. }) = &self.extent else { return };
        // After an error, it stays unknown.
        let _ = file.write_all_at(answer_line(answer).as_bytes(), end - ANSWER_BYTES as u64);
    }

    fn remove(&self) {
        let Some(Extent { file, start, end }) = &self.extent else { return };
        let mut open = self.log.open.lock();
        match open.as_mut() {
            Some(newer)
                if Arc::ptr_eq(&newer.file, file) && newer.end == *end && file.set_len(*start).is_ok() =>
            {
                newer.end = *start;
            }
            _ => self.write(NOTHING_LEFT),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        match self.state {
            State::Recorded => self.remove(),
            State::Leaving => self.write(INTERRUPTED),
            State::Answered => {}
        }
    }
}

/// The last `limit` events of the log in `folder`, the oldest first.
pub fn read(folder: &Path, limit: usize) -> io::Result<Vec<Line>> {
    // The newer one is opened first. If it is renamed meanwhile, it is found twice, and not missed.
    let newer = open_to_read(&folder.join(NEWER))?;
    let mut older = open_to_read(&folder.join(OLDER))?;
    if let (Some((_, newer)), Some((_, same))) = (&newer, &older)
        && newer == same
    {
        older = None;
    }
    let mut lines = VecDeque::new();
    for (file, _) in older.into_iter().chain(newer) {
        let mut request: Vec<Stored> = Vec::new();
        for_each_line(&file, |line| {
            if !line.starts_with(ANSWER) {
                // An incomplete line has not left.
                request.extend(serde_json::from_slice::<Stored>(line));
                return;
            }
            let answer = serde_json::from_slice(line).map(|StoredAnswer { answer }| answer);
            let answer = answer.unwrap_or_else(|_| UNKNOWN.to_owned());
            for Stored { at, event } in request.drain(..).filter(|_| answer != NOTHING_LEFT) {
                lines.push_back(Line { at, answer: answer.clone(), event });
                if lines.len() > limit {
                    lines.pop_front();
                }
            }
        })?;
    }
    Ok(lines.into())
}

/// The file with its identity, if it exists.
fn open_to_read(path: &Path) -> io::Result<Option<(File, (u64, u64))>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some((file, (metadata.dev(), metadata.ino()))))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each line, with its line feed; the last may have none.
fn for_each_line(file: &File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
