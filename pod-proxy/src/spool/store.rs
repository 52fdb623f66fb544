//! Changes → one transaction in the embedded store ([redb](https://docs.rs/redb)), on disk when it returns.

use std::fs;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    Table, TableDefinition, TableHandle,
};

use super::entry::{Entry, EntryId, Key, decode, merge};
use super::quota::{SpoolBounds, Usage};
use crate::log_throttle::LogThrottle;

/// The number of the entry, the day of its arrival since 1970, its value.
type Row = (u64, u32, &'static [u8]);
const ENTRIES: TableDefinition<'static, &'static [u8], Row> = TableDefinition::new("entries.v1");
/// What arrived for a key while its entry was in a snapshot. Each of its keys has an entry. When that is removed, this takes
/// its place; at the next snapshot it is merged into it.
const PENDING: TableDefinition<'static, &'static [u8], Row> = TableDefinition::new("beside.v1");

/// Enough for the pages of one transaction.
const CACHE_BYTES: usize = 1 << 20;
/// Smaller files are not compacted.
const SMALL_FILE_BYTES: u64 = 4 << 20;

/// Why the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the spool {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("cannot open the spool {}: {reason}", path.display())]
    Io { path: PathBuf, reason: String },
}

/// Why a change is not on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum StoreError {
    #[error("the disk is full")]
    DiskFull,
    #[error("the spool cannot be written")]
    Fault,
}

/// One change, applied together with others.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Stores a value, merged with the one of the same key. `generation` is that of the configuration that let it through.
    Put { key: Key, day: u32, value: Vec<u8>, generation: u64 },
    /// Removes an entry, unless it was replaced.
    Remove(EntryId),
    /// Removes what arrived before that day.
    RemoveBefore(u32),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Stored,
    NoRoom,
    /// The configuration that let it through is not in force any more.
    Outdated,
    Removed(usize),
}

/// Creates or opens the database at a path. Tests put a simulated disk here.
type Create = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The open store. One thread uses it.
pub(super) struct Store {
    path: PathBuf,
    create: Create,
    /// `None` after an error, until it is opened again: redb answers nothing after one.
    database: Option<Database>,
    bounds: SpoolBounds,
    usage: Usage,
    next_number: u64,
    /// Entries with a smaller number are in the snapshot. Not on disk: after a start there is no snapshot.
    snapshot_end: u64,
    failures: LogThrottle<StoreError>,
}

enum OpenFailure {
    Refused(OpenError),
    Damaged,
}

impl Store {
    /// Opens the store at `path`, or creates it. A damaged one is set aside, under the name that is returned.
    pub(super) fn open(path: &Path, bounds: SpoolBounds) -> Result<(Self, Option<PathBuf>), OpenError> {
        Self::open_on(Box::new(|path| Builder::new().set_cache_size(CACHE_BYTES).create(path)), path, bounds)
    }

    fn open_on(
        create: Create,
        path: &Path,
        bounds: SpoolBounds,
    ) -> Result<(Self, Option<PathBuf>), OpenError> {
        let refused = |failure| match failure {
            OpenFailure::Refused(error) => error,
            OpenFailure::Damaged => {
                OpenError::Io { path: path.to_owned(), reason: "it is damaged".to_owned() }
            }
        };
        let (opened, aside) = match open(path, &create) {
            Ok(opened) => (opened, None),
            Err(OpenFailure::Refused(error)) => return Err(error),
            Err(OpenFailure::Damaged) => {
                let aside = set_aside(path)?;
                (open(path, &create).map_err(refused)?, Some(aside))
            }
        };
        let (database, usage, next_number) = opened;
        let store = Self {
            path: path.to_owned(),
            create,
            database: Some(database),
            bounds,
            usage,
            next_number,
            snapshot_end: 0,
            failures: LogThrottle::default(),
        };
        Ok((store, aside))
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn set_bounds(&mut self, bounds: SpoolBounds) {
        self.bounds = bounds;
    }

    /// Applies all of `changes`, or none of them.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Changed>, StoreError> {
        let applied = self.write(|tables| changes.iter().map(|change| tables.apply(change)).collect())?;
        for change in changes {
            if let Change::RemoveBefore(first_day) = change
                && let Err(error) = remove_set_aside(&self.path, Some(*first_day))
            {
                tracing::error!(%error, "a damaged spool that was set aside cannot be removed");
            }
        }
        Ok(applied)
    }

    /// From now on [`Store::read`] has what is there now, and nothing else.
    ///
    /// Pending values are merged into their entries. If that cannot be written, they stay pending, and the snapshot has
    /// everything else: if the disk is full, sending makes room.
    pub(super) fn snapshot(&mut self) -> Result<(), StoreError> {
        let is_empty =
            self.guarded(|_, database| Ok(database.begin_read()?.open_table(PENDING)?.is_empty()?));
        let merged = is_empty
            .and_then(|is_empty| if is_empty { Ok(()) } else { self.write(|tables| tables.merge_pending()) });
        self.snapshot_end = self.next_number;
        merged
    }

    /// Removes the file, so that nothing stays in unused pages either, and what was set aside. Returns how many entries
    /// there were.
    pub(super) fn wipe(&mut self) -> Result<usize, StoreError> {
        let removed = self.usage.entries;
        self.database = None;
        fs::remove_file(&self.path).map_err(|_| StoreError::Fault)?;
        remove_set_aside(&self.path, None).map_err(|_| StoreError::Fault)?;
        self.usage = Usage::default();
        self.guarded(|_, _| Ok(()))?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

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
                if number >= store.snapshot_end {
                    continue;
                }
                let id = EntryId { key: key.value().to_vec(), number };
                entries.push(Entry { report: decode(key.value(), value), id });
            }
            Ok(entries)
        })
    }

    /// Runs `work` in a transaction, which is on disk when this returns.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StoreError> {
        self.guarded(|store, database| {
            let transaction = database.begin_write()?;
            let mut tables = Tables {
                entries: transaction.open_table(ENTRIES)?,
                pending: transaction.open_table(PENDING)?,
                bounds: store.bounds,
                snapshot_end: store.snapshot_end,
                usage: store.usage,
                next_number: store.next_number,
            };
            let done = work(&mut tables)?;
            let (usage, next_number) = (tables.usage, tables.next_number);
            drop(tables);
            transaction.commit()?;
            (store.usage, store.next_number) = (usage, next_number);
            Ok(done)
        })
    }

    /// Runs `work` on the database. Opens it again if an earlier error has closed it.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let (database, usage, next_number) =
                    open(&self.path, &self.create).map_err(|_| StoreError::Fault)?;
                self.usage = usage;
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
                if self.failures.admit(kind, Instant::now()) {
                    tracing::error!(%error, "the spool failed");
                }
                Err(kind)
            }
            Err(_) => Err(StoreError::Fault),
        }
    }
}

/// The store in a transaction.
struct Tables<'a> {
    entries: Table<'a, &'static [u8], Row>,
    pending: Table<'a, &'static [u8], Row>,
    bounds: SpoolBounds,
    snapshot_end: u64,
    usage: Usage,
    next_number: u64,
}

impl Tables<'_> {
    fn apply(&mut self, change: &Change) -> Result<Changed, StorageError> {
        match change {
            Change::Put { key, day, value, generation: _ } => self.put(key, *day, value),
            Change::Remove(id) => self.remove(id),
            Change::RemoveBefore(first_day) => self.remove_before(*first_day),
        }
    }

    fn put(&mut self, key: &[u8], day: u32, value: &[u8]) -> Result<Changed, StorageError> {
        let entry = stored(&self.entries, key)?;
        let pending = if entry.is_some() { stored(&self.pending, key)? } else { None };
        // An entry of the snapshot does not change; what arrives is pending.
        let is_pending =
            pending.is_some() || entry.as_ref().is_some_and(|entry| entry.number < self.snapshot_end);
        let old = if is_pending { pending } else { entry };
        let replaced = old.as_ref().map(|old| size(key, &old.value));
        let value = old.map_or_else(|| value.to_vec(), |old| merge(key, &old.value, value));
        let (table, usage) = match is_pending {
            true => (&mut self.pending, self.usage.with_pending(size(key, &value), replaced)),
            false => (&mut self.entries, self.usage.with(size(key, &value), replaced)),
        };
        if !self.usage.may_become(usage, self.bounds) {
            return Ok(Changed::NoRoom);
        }
        table.insert(key, (self.next_number, day, value.as_slice()))?;
        self.next_number += 1;
        self.usage = usage;
        Ok(Changed::Stored)
    }

    fn remove(&mut self, EntryId { key, number }: &EntryId) -> Result<Changed, StorageError> {
        let Some(entry) = stored(&self.entries, key)?.filter(|entry| entry.number == *number) else {
            return Ok(Changed::Removed(0));
        };
        self.entries.remove(key.as_slice())?;
        self.usage = self.usage.without(size(key, &entry.value));
        self.promote(key)?;
        Ok(Changed::Removed(1))
    }

    fn remove_before(&mut self, first_day: u32) -> Result<Changed, StorageError> {
        self.pending.retain(|key, (_, day, value)| {
            if day < first_day {
                self.usage.bytes = self.usage.bytes.saturating_sub(size(key, value));
            }
            day >= first_day
        })?;
        let mut removed = 0;
        self.entries.retain(|key, (_, day, value)| {
            if day < first_day {
                self.usage = self.usage.without(size(key, value));
                removed += 1;
            }
            day >= first_day
        })?;
        for key in keys(&self.pending)? {
            if self.entries.get(key.as_slice())?.is_none() && self.promote(&key)? {
                removed -= 1;
            }
        }
        Ok(Changed::Removed(removed))
    }

    /// Makes the pending value of a key the entry, after the entry is gone. Returns whether there was one.
    fn promote(&mut self, key: &[u8]) -> Result<bool, StorageError> {
        let Some(Stored { number, day, value }) = stored(&self.pending, key)? else { return Ok(false) };
        self.pending.remove(key)?;
        self.entries.insert(key, (number, day, value.as_slice()))?;
        self.usage.entries += 1;
        Ok(true)
    }

    fn merge_pending(&mut self) -> Result<(), StorageError> {
        for key in keys(&self.pending)? {
            let Some(new) = stored(&self.pending, &key)? else { continue };
            let old = stored(&self.entries, &key)?;
            let replaced = old.as_ref().map(|old| size(&key, &old.value));
            let pending_bytes = size(&key, &new.value);
            let value = old.map_or(new.value.clone(), |old| merge(&key, &old.value, &new.value));
            self.pending.remove(key.as_slice())?;
            self.entries.insert(key.as_slice(), (self.next_number, new.day, value.as_slice()))?;
            self.next_number += 1;
            self.usage.bytes = self.usage.bytes.saturating_sub(pending_bytes);
            self.usage = self.usage.with(size(&key, &value), replaced);
        }
        Ok(())
    }
}

struct Stored {
    number: u64,
    day: u32,
    value: Vec<u8>,
}

fn stored(
    table: &impl ReadableTable<&'static [u8], Row>,
    key: &[u8],
) -> Result<Option<Stored>, StorageError> {
    Ok(table.get(key)?.map(|row| {
        let (number, day, value) = row.value();
        Stored { number, day, value: value.to_vec() }
    }))
}

fn keys(table: &impl ReadableTable<&'static [u8], Row>) -> Result<Vec<Key>, StorageError> {
    table.iter()?.map(|row| row.map(|(key, _)| key.value().to_vec())).collect()
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn is_disk_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if matches!(
        error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    ))
}

/// Opens the file and reads all of it, so that damage is found now and not when something is sent.
fn open(path: &Path, create: &Create) -> Result<(Database, Usage, u64), OpenFailure> {
    let io = |reason: String| OpenFailure::Refused(OpenError::Io { path: path.to_owned(), reason });
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<_, redb::Error> {
        // Created here and not by redb, for the mode.
        fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // The folder's entry of a new or removed file is to be on disk too.
        fs::File::open(path.parent().unwrap_or(path))?.sync_all()?;
        let mut database = create(path)?;
        let (usage, next_number) = measure(&database)?;
        let length = fs::metadata(path)?.len();
        if length > SMALL_FILE_BYTES && length / 4 > usage.bytes {
            database.compact()?;
        }
        Ok((database, usage, next_number))
    }));
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => {
            Err(OpenFailure::Refused(OpenError::InUse(path.to_owned())))
        }
        Ok(Err(redb::Error::Io(error)))
            if !matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
            ) =>
        {
            Err(io(error.to_string()))
        }
        Ok(Err(_)) | Err(_) => Err(OpenFailure::Damaged),
    }
}

/// The usage and the next number. Creates the tables if they are missing.
fn measure(database: &Database) -> Result<(Usage, u64), redb::Error> {
    let mut usage = Usage::default();
    let mut next_number = 0;
    let transaction = database.begin_write()?;
    for definition in [ENTRIES, PENDING] {
        for row in transaction.open_table(definition)?.iter()? {
            let (key, value) = row?;
            let (number, _, value) = value.value();
            let bytes = size(key.value(), value);
            usage = match definition.name() == ENTRIES.name() {
                true => usage.with(bytes, None),
                false => usage.with_pending(bytes, None),
            };
            next_number = next_number.max(number + 1);
        }
    }
    transaction.commit()?;
    Ok((usage, next_number))
}

/// The suffix of a damaged file's new name.
const SET_ASIDE: &str = ".damaged-";

/// Renames a damaged file, so that somebody can look at it. It replaces an earlier one.
fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("{SET_ASIDE}1"));
    let aside = PathBuf::from(aside);
    match remove_set_aside(path, None).and_then(|()| fs::rename(path, &aside)) {
        Ok(()) => Ok(aside),
        Err(error) => Err(OpenError::Io { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Removes what was set aside and last written to before that day since 1970, or all of it.
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
        let is_old = match first {
            Some(first) if is_aside => file.metadata()?.modified()? < first,
            _ => true,
        };
        if is_aside && is_old {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod power_cut;
