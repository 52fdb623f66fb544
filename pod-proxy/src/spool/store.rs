//! Changes → one transaction in the embedded store ([redb](https://docs.rs/redb)), on disk when it returns.

use std::fs;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::entry::{Entry, EntryId, Key, decode, merge};
use super::quota::Held;
use crate::complaint::Complaint;
use crate::config::SpoolBounds;

/// Key → (number of the entry, day of arrival since 1970, value).
type Entries = TableDefinition<'static, &'static [u8], (u64, u32, &'static [u8])>;
const ENTRIES: Entries = TableDefinition::new("entries.v1");
/// What came for a key while its entry was sealed. Each of its keys has an entry; when that is removed, this takes its
/// place, and at the next seal it is merged into it.
const BESIDE: Entries = TableDefinition::new("beside.v1");

/// Enough for the pages of a group of commits.
const CACHE_BYTES: usize = 1 << 20;
/// A file of this size is not worth making smaller.
const SMALL_FILE_BYTES: u64 = 4 << 20;

/// Why the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the spool {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The system does not let us.
    #[error("cannot open the spool {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

/// Why a change is not on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Something else.
    #[error("the spool cannot be written")]
    Fault,
}

/// One change, applied together with others.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Keeps a value, merged with the one of the same key. `under` is the generation of the configuration that let it
    /// through.
    Keep { key: Key, day: u32, value: Vec<u8>, under: u64 },
    /// Removes an entry, unless another has taken its place.
    Remove(EntryId),
    /// Removes what arrived before that day.
    RemoveBefore(u32),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Kept,
    /// There was no room for it.
    NoRoom,
    /// The configuration that let it through is not in force any more.
    Overtaken,
    Removed(usize),
}

/// Makes a database of the file at a path, or opens it; otherwise only where a disk is simulated.
type Create = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The store, open. It is used by one thread.
pub(super) struct Store {
    path: PathBuf,
    create: Create,
    /// Gone after an error, until it is opened again: redb answers nothing more after one.
    database: Option<Database>,
    bounds: SpoolBounds,
    held: Held,
    next_number: u64,
    /// Entries with a smaller number are sealed. Not on disk: after a start none is, until the next seal.
    sealed: u64,
    failed: Complaint<StoreError>,
}

enum Opening {
    Refused(OpenError),
    Damaged,
}

impl Store {
    /// Opens the store at `path`, or makes it. One that is damaged is set aside, under the name that is returned.
    pub(super) fn open(path: &Path, bounds: SpoolBounds) -> Result<(Self, Option<PathBuf>), OpenError> {
        Self::open_on(Box::new(|path| Builder::new().set_cache_size(CACHE_BYTES).create(path)), path, bounds)
    }

    fn open_on(
        create: Create,
        path: &Path,
        bounds: SpoolBounds,
    ) -> Result<(Self, Option<PathBuf>), OpenError> {
        let refused = |opening| match opening {
            Opening::Refused(error) => error,
            Opening::Damaged => OpenError::Io { path: path.to_owned(), reason: "it is damaged".to_owned() },
        };
        let (opened, aside) = match open(path, &create) {
            Ok(opened) => (opened, None),
            Err(Opening::Refused(error)) => return Err(error),
            Err(Opening::Damaged) => {
                let aside = set_aside(path)?;
                (open(path, &create).map_err(refused)?, Some(aside))
            }
        };
        let (database, held, next_number) = opened;
        let (path, failed) = (path.to_owned(), Complaint::default());
        let database = Some(database);
        Ok((Self { path, create, database, bounds, held, next_number, sealed: 0, failed }, aside))
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    pub(super) fn set_bounds(&mut self, bounds: SpoolBounds) {
        self.bounds = bounds;
    }

    /// Applies all of `changes`, or none of them.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Changed>, StoreError> {
        self.guarded(|store, database| {
            let mut held = store.held;
            let mut next_number = store.next_number;
            let mut outcomes = Vec::with_capacity(changes.len());
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(ENTRIES)?;
                let mut beside = transaction.open_table(BESIDE)?;
                for change in changes {
                    outcomes.push(match change {
                        Change::Keep { key, day, value, under: _ } => {
                            let first = stored(&table, key)?;
                            let second = if first.is_some() { stored(&beside, key)? } else { None };
                            // What is sealed leaves as it is; what comes meanwhile waits beside it.
                            let goes_beside = second.is_some()
                                || first.as_ref().is_some_and(|first| first.number < store.sealed);
                            let old = if goes_beside { second } else { first };
                            let replaced = old.as_ref().map(|old| size(key, &old.value));
                            let value =
                                old.map_or_else(|| value.clone(), |old| merge(key, &old.value, value));
                            let next = match goes_beside {
                                true => held.with_beside(size(key, &value), replaced),
                                false => held.with(size(key, &value), replaced),
                            };
                            if held.may_become(next, store.bounds) {
                                let place = if goes_beside { &mut beside } else { &mut table };
                                place.insert(key.as_slice(), (next_number, *day, value.as_slice()))?;
                                next_number += 1;
                                held = next;
                                Changed::Kept
                            } else {
                                Changed::NoRoom
                            }
                        }
                        Change::Remove(EntryId { key, number }) => match stored(&table, key)? {
                            Some(found) if found.number == *number => {
                                table.remove(key.as_slice())?;
                                held = held.without(size(key, &found.value));
                                if let Some(next) = stored(&beside, key)? {
                                    beside.remove(key.as_slice())?;
                                    table.insert(key.as_slice(), next.as_value())?;
                                    held.entries += 1;
                                }
                                Changed::Removed(1)
                            }
                            _ => Changed::Removed(0),
                        },
                        Change::RemoveBefore(first_day) => {
                            beside.retain(|key, (_, day, value)| {
                                let stays = day >= *first_day;
                                if !stays {
                                    held.bytes = held.bytes.saturating_sub(size(key, value));
                                }
                                stays
                            })?;
                            let mut removed = 0;
                            table.retain(|key, (_, day, value)| {
                                let stays = day >= *first_day;
                                if !stays {
                                    held = held.without(size(key, value));
                                    removed += 1;
                                }
                                stays
                            })?;
                            for key in keys(&beside)? {
                                if table.get(key.as_slice())?.is_none()
                                    && let Some(next) = stored(&beside, &key)?
                                {
                                    beside.remove(key.as_slice())?;
                                    table.insert(key.as_slice(), next.as_value())?;
                                    held.entries += 1;
                                    removed -= 1;
                                }
                            }
                            Changed::Removed(removed)
                        }
                    });
                }
            }
            transaction.commit()?;
            store.held = held;
            store.next_number = next_number;
            for change in changes {
                if let Change::RemoveBefore(first_day) = change
                    && let Err(error) = remove_set_aside(&store.path, Some(*first_day))
                {
                    tracing::error!(%error, "a damaged spool that was set aside cannot be removed");
                }
            }
            Ok(outcomes)
        })
    }

    /// Seals what is there: until the next seal [`Store::read`] has this and nothing else, whatever comes meanwhile.
    ///
    /// What waits beside an entry is merged into it. If that cannot be written, it goes on waiting, and the rest is
    /// sealed all the same: where the disk is full, it is sending that makes room.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        let merged = self.guarded(|store, database| {
            if keys(&database.begin_read()?.open_table(BESIDE)?)?.is_empty() {
                return Ok(());
            }
            let mut held = store.held;
            let mut next_number = store.next_number;
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(ENTRIES)?;
                let mut beside = transaction.open_table(BESIDE)?;
                for key in keys(&beside)? {
                    let Some(new) = stored(&beside, &key)? else { continue };
                    let old = stored(&table, &key)?;
                    let value = old
                        .as_ref()
                        .map_or_else(|| new.value.clone(), |old| merge(&key, &old.value, &new.value));
                    beside.remove(key.as_slice())?;
                    table.insert(key.as_slice(), (next_number, new.day, value.as_slice()))?;
                    next_number += 1;
                    held.bytes = held.bytes.saturating_sub(size(&key, &new.value));
                    held = held.with(size(&key, &value), old.map(|old| size(&key, &old.value)));
                }
            }
            transaction.commit()?;
            store.held = held;
            store.next_number = next_number;
            Ok(())
        });
        self.sealed = self.next_number;
        merged
    }

    /// Removes everything by removing the file, so that not even unused pages tell what was there, and whatever was set
    /// aside. Returns how many entries there were.
    pub(super) fn wipe(&mut self) -> Result<usize, StoreError> {
        let removed = self.held.entries;
        self.database = None;
        fs::remove_file(&self.path).map_err(|_| StoreError::Fault)?;
        remove_set_aside(&self.path, None).map_err(|_| StoreError::Fault)?;
        self.held = Held::default();
        self.guarded(|_, _| Ok(()))?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    /// The first `limit` sealed entries after `after`, in the order of their keys.
    pub(super) fn read(&mut self, after: Option<&EntryId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.guarded(|store, database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.key.as_slice()));
            let mut entries = Vec::new();
            for entry in table.range::<&[u8]>((start, Bound::Unbounded))? {
                if entries.len() == limit {
                    break;
                }
                let (key, value) = entry?;
                let (number, _, value) = value.value();
                if number >= store.sealed {
                    continue;
                }
                let id = EntryId { key: key.value().to_vec(), number };
                entries.push(Entry { report: decode(key.value(), value), id });
            }
            Ok(entries)
        })
    }

    /// Runs `work` on the database, which is opened again if an earlier error has closed it.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let (database, held, next_number) =
                    open(&self.path, &self.create).map_err(|_| StoreError::Fault)?;
                self.held = held;
                self.next_number = self.next_number.max(next_number);
                database
            }
        };
        match catch_unwind(AssertUnwindSafe(|| work(self, &database))) {
            Ok(Ok(done)) => {
                self.database = Some(database);
                Ok(done)
            }
            Ok(Err(error)) => {
                let kind = if is_disk_full(&error) { StoreError::DiskFull } else { StoreError::Fault };
                if self.failed.is_due(kind, Instant::now()) {
                    tracing::error!(%error, "the spool failed");
                }
                Err(kind)
            }
            Err(_) => Err(StoreError::Fault),
        }
    }
}

/// A row of a table, read.
struct Stored {
    number: u64,
    day: u32,
    value: Vec<u8>,
}

impl Stored {
    fn as_value(&self) -> (u64, u32, &[u8]) {
        (self.number, self.day, &self.value)
    }
}

fn stored(
    table: &impl ReadableTable<&'static [u8], (u64, u32, &'static [u8])>,
    key: &[u8],
) -> Result<Option<Stored>, StorageError> {
    Ok(table.get(key)?.map(|row| {
        let (number, day, value) = row.value();
        Stored { number, day, value: value.to_vec() }
    }))
}

fn keys(
    table: &impl ReadableTable<&'static [u8], (u64, u32, &'static [u8])>,
) -> Result<Vec<Key>, StorageError> {
    table.iter()?.map(|row| row.map(|(key, _)| key.value().to_vec())).collect()
}

/// The bytes that an entry is counted with.
fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn is_disk_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if matches!(
        error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    ))
}

/// Opens the file and reads all of it, so that damage is found now and not when something is to be sent.
fn open(path: &Path, create: &Create) -> Result<(Database, Held, u64), Opening> {
    let io = |reason: String| Opening::Refused(OpenError::Io { path: path.to_owned(), reason });
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<_, redb::Error> {
        // Made here and not by redb, so that it is its owner's alone.
        fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // The name of a new file is to be on the disk too, and that of one that was removed is not.
        fs::File::open(path.parent().unwrap_or(path))?.sync_all()?;
        let mut database = create(path)?;
        let (held, next_number) = take_stock(&database)?;
        let length = fs::metadata(path)?.len();
        if length > SMALL_FILE_BYTES && length / 4 > held.bytes {
            database.compact()?;
        }
        Ok((database, held, next_number))
    }));
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(Opening::Refused(OpenError::InUse(path.to_owned()))),
        Ok(Err(redb::Error::Io(error)))
            if !matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
            ) =>
        {
            Err(io(error.to_string()))
        }
        Ok(Err(_)) | Err(_) => Err(Opening::Damaged),
    }
}

/// Counts what is there, and makes the tables if they are not.
fn take_stock(database: &Database) -> Result<(Held, u64), redb::Error> {
    let mut held = Held::default();
    let mut next_number = 0;
    let transaction = database.begin_write()?;
    {
        let table = transaction.open_table(ENTRIES)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (number, _, value) = value.value();
            held = held.with(size(key.value(), value), None);
            next_number = next_number.max(number + 1);
        }
        let beside = transaction.open_table(BESIDE)?;
        for row in beside.iter()? {
            let (key, value) = row?;
            let (number, _, value) = value.value();
            held = held.with_beside(size(key.value(), value), None);
            next_number = next_number.max(number + 1);
        }
    }
    transaction.commit()?;
    Ok((held, next_number))
}

/// What a damaged file is called from then on, behind the name of the spool.
const SET_ASIDE: &str = ".damaged-";

/// Gives a damaged file another name, so that somebody can look at it. It takes the place of an earlier one.
fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("{SET_ASIDE}1"));
    let aside = PathBuf::from(aside);
    match remove_set_aside(path, None).and_then(|()| fs::rename(path, &aside)) {
        Ok(()) => Ok(aside),
        Err(error) => Err(OpenError::Io { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Removes what was set aside and last written to before that day since 1970; all of it without one.
fn remove_set_aside(path: &Path, before: Option<u32>) -> std::io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let first = before.map(|day| UNIX_EPOCH + Duration::from_secs(u64::from(day) * 86_400));
    for file in fs::read_dir(folder)? {
        let file = file?;
        let is_aside = file
            .file_name()
            .to_str()
            .is_some_and(|found| found.strip_prefix(name).is_some_and(|rest| rest.starts_with(SET_ASIDE)));
        let is_due = match first {
            Some(first) if is_aside => file.metadata()?.modified()? < first,
            _ => true,
        };
        if is_aside && is_due {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod power_cut;
