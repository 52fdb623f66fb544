//! What is about to leave the Pod → a bounded file that its operator can read: one line for each event, word for word.
//!
//! A request is written down, and the disk has it, before anything of it leaves. So nothing leaves that is not in the
//! log, however the process ends. After the events of a request comes a line for the answer. It has a fixed length and
//! says `unknown` at first; what the answer was is written over that, which needs no room on the disk. A request of
//! which nothing left is taken out again.
//!
//! Two files take turns. When the newer one is full it takes the place of the older one, so that together they
//! never have more than the bound.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::filter::FilteredEvent;

const NEWER: &str = "sent.ndjson";
const OLDER: &str = "sent.old.ndjson";

/// The smallest bound, in bytes, of a log that keeps anything: each of the two files has room for a whole request.
pub const MIN_BYTES: u64 = 2 << 20;

/// Nobody wrote down how the request ended: it is still on its way, or the process was killed before there was an
/// answer, perhaps before anything left.
const UNKNOWN: &str = "unknown";
/// Nobody waited for the answer: the configuration was replaced, or the proxy stopped. It may have left.
const INTERRUPTED: &str = "interrupted";
/// It did not leave, and could not be taken out of the log.
const NOTHING_LEFT: &str = "nothing_left";

/// How the line of an answer begins. No line of an event does.
const ANSWER: &[u8] = br#"{"answer":"#;
/// The length of that line, in bytes, with the line feed.
const ANSWER_BYTES: usize = 48;

/// The log of one proxy. It is written by one request at a time.
#[derive(Debug)]
pub struct SentLog {
    folder: PathBuf,
    /// The bound of one of the two files, in bytes. Zero keeps nothing.
    max_bytes: u64,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Where the next request goes.
    end: u64,
}

/// One event that left.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// When it was sent: the moment of the whole request.
    pub at: String,
    /// What became of the request it was in: the outcome as in the metrics, `interrupted`, or `unknown`.
    pub answer: String,
    /// What was sent, byte for byte.
    pub event: Box<RawValue>,
}

/// The line of an event, as it is in the file.
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

    /// Writes down a request that is about to leave, and waits until the disk has it.
    ///
    /// # Errors
    /// If it is not written down: nothing of it may leave.
    pub(super) fn record(self: &Arc<Self>, request: &[u8]) -> io::Result<Record> {
        let mut open = self.lock();
        let place = match self.max_bytes {
            0 => None,
            // After an error the file is opened again, which cuts off what was written of the request.
            _ => Some(self.append(&mut open, request)?),
        };
        drop(open);
        Ok(Record { log: Arc::clone(self), place, state: State::Waits })
    }

    fn append(&self, open: &mut Option<Open>, request: &[u8]) -> io::Result<Place> {
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
            // The room that a part of it takes may be the last there is. If it stays, opening cuts it off.
            let _ = file.set_len(start);
            return Err(error);
        }
        let end = start + length;
        *open = Some(Open { file: Arc::clone(&file), end });
        Ok(Place { file, start, end })
    }

    /// Opens the newer file, or makes it. What was not written to its end is cut off: it has not left.
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
        // The name of a new file, and the other name of the older one, are to be on the disk too.
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { file: Arc::new(file), end })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request as it is written down: its events, and [`UNKNOWN`] for the answer.
///
/// # Errors
/// If an event cannot be written as JSON.
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

/// A request that is written down. It is taken out again if it does not leave.
#[derive(Debug)]
pub(super) struct Record {
    log: Arc<SentLog>,
    place: Option<Place>,
    state: State,
}

#[derive(Debug)]
struct Place {
    file: Arc<File>,
    start: u64,
    end: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing of it has left.
    Waits,
    /// It may have left.
    Leaves,
    /// It is known how it ended.
    Ended,
}

impl Record {
    /// From now on something of it may leave.
    pub(super) fn leaves(&mut self) {
        self.state = State::Leaves;
    }

    /// It left, and this was the answer.
    pub(super) fn answered(mut self, answer: &str) {
        self.state = State::Ended;
        self.write(answer);
    }

    /// Nothing of it left, as nobody could be reached.
    pub(super) fn nothing_left(mut self) {
        self.state = State::Waits;
    }

    fn write(&self, answer: &str) {
        let Some(Place { file, end, .. }) = &self.place else { return };
        // If it cannot be written, it stays unknown.
        let _ = file.write_all_at(answer_line(answer).as_bytes(), end - ANSWER_BYTES as u64);
    }

    fn take_out(&self) {
        let Some(Place { file, start, end }) = &self.place else { return };
        let mut open = self.log.lock();
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
            State::Waits => self.take_out(),
            State::Leaves => self.write(INTERRUPTED),
            State::Ended => {}
        }
    }
}

/// The last `limit` events of the log in `folder`, the oldest first.
///
/// # Errors
/// If there is a file that cannot be read.
pub fn read(folder: &Path, limit: usize) -> io::Result<Vec<Line>> {
    // The newer one first: if the files take turns meanwhile, it is found twice, and not missed.
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
                // What is no whole line was not written to its end, and has not left.
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

/// The file and what tells it from others, if there is one.
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
