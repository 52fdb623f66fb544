//! What is kept until the vendor has it: filtered reports → entries on disk, one for each installation.
//!
//! A report is acknowledged after it is on disk. One thread owns the store; it takes whatever has gathered while
//! the last transaction was written, writes it as one, and then answers everybody.
//!
//! Only what is [sealed](Spool::seal) can be read, and it stays as it was then: what comes meanwhile, also for the same
//! installation, is not in what is sent before the next seal. So what is sent again after a failure tells nothing of
//! what came since.

mod entry;
mod quota;
mod store;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use self::entry::{Entry, EntryId};
pub use self::quota::Held;
use self::store::{Change, Changed, Store};
pub use self::store::{OpenError, StoreError};
use crate::config::SpoolBounds;
use crate::filter::FilteredEvent;

/// The file in the data folder.
pub const FILE_NAME: &str = "spool.redb";

/// The most jobs that wait for the thread, and the most that are written together.
const MAX_GROUP: usize = 1_024;

/// Why a report was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum KeepError {
    /// `max_spool_bytes` or `max_spool_entries` is reached, or the disk is full.
    #[error("there is no room left")]
    Full,
    /// The store does not work, or is closed.
    #[error("the spool does not work")]
    Fault,
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::Full,
            StoreError::Fault => Self::Fault,
        }
    }
}

/// What became of a report that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is on disk.
    OnDisk,
    /// Nothing of it is: another configuration has come into force since it was filtered.
    Overtaken,
}

/// The spool of one proxy.
#[derive(Debug)]
pub struct Spool {
    jobs: mpsc::Sender<Job>,
    held: Arc<HeldNow>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is known on both sides of the queue.
#[derive(Debug, Default)]
struct HeldNow {
    entries: AtomicU64,
    bytes: AtomicU64,
    /// The generation of the configuration in force. What an earlier one let through is not written any more.
    generation: AtomicU64,
}

impl HeldNow {
    fn set(&self, Held { entries, bytes }: Held) {
        self.entries.store(entries, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

enum Job {
    Change(Change, oneshot::Sender<Result<Changed, StoreError>>),
    Wipe(oneshot::Sender<Result<usize, StoreError>>),
    Seal(oneshot::Sender<Result<(), StoreError>>),
    Read(Option<EntryId>, usize, oneshot::Sender<Result<Vec<Entry>, StoreError>>),
    SetBounds(SpoolBounds),
    Close,
}

impl Spool {
    /// Opens the spool in `folder`, or makes it. One that is damaged is set aside, and an empty one takes its place.
    ///
    /// # Errors
    /// If another process uses it, or the system does not let us.
    pub fn open(folder: &Path, bounds: SpoolBounds) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        let (store, set_aside) = Store::open(&path, bounds)?;
        if let Some(aside) = set_aside {
            tracing::error!(path = %aside.display(), "the spool was damaged; it is set aside, and a new one is used");
        }
        let held = Arc::new(HeldNow::default());
        held.set(store.held());
        let (jobs, queue) = mpsc::channel(MAX_GROUP);
        let held_by_thread = Arc::clone(&held);
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || run(store, queue, &held_by_thread))
            .map_err(|error| OpenError::Io { path, reason: error.to_string() })?;
        Ok(Self { jobs, held, thread: Mutex::new(Some(thread)) })
    }

    /// Keeps what may be kept of a filtered event. When this returns, it is on disk. `day` is counted since 1970;
    /// `under` is the generation of the configuration that filtered it.
    ///
    /// # Errors
    /// If it is not on disk; what was held before still is.
    pub async fn keep(&self, event: FilteredEvent, day: u32, under: u64) -> Result<Kept, KeepError> {
        let (key, value) = entry::encode(&event.into_report()).map_err(|_| KeepError::Fault)?;
        match self.change(Change::Keep { key, day, value, under }).await? {
            Changed::Kept | Changed::Removed(_) => Ok(Kept::OnDisk),
            Changed::Overtaken => Ok(Kept::Overtaken),
            Changed::NoRoom => Err(KeepError::Full),
        }
    }

    /// From now on nothing is written that a configuration of an earlier generation let through, however long it has
    /// waited for the thread. What was written before can be wiped.
    pub fn overtake(&self, generation: u64) {
        self.held.generation.fetch_max(generation, Ordering::SeqCst);
    }

    /// Seals what is held: until the next seal [`Spool::read`] has this and nothing else. After opening, it has nothing.
    ///
    /// # Errors
    /// If what came for an installation whose entry was sealed cannot be merged into it; it goes on waiting, and the
    /// rest is sealed.
    pub async fn seal(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Seal(answer)).await.map_err(|_| StoreError::Fault)?;
        answered.await.map_err(|_| StoreError::Fault)?
    }

    /// The first `limit` sealed entries after `after`, in the order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn read(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Read(after, limit, answer)).await.map_err(|_| StoreError::Fault)?;
        answered.await.map_err(|_| StoreError::Fault)?
    }

    /// Removes these entries, but for those whose place has been taken by another since they were read. What came for
    /// their installations since they were sealed stays.
    ///
    /// # Errors
    /// If the store cannot be written; the entries are then sent once more, which changes nothing.
    pub async fn remove(&self, entries: impl IntoIterator<Item = EntryId>) -> Result<usize, StoreError> {
        let mut removed = 0;
        let mut answers = Vec::new();
        for id in entries {
            let (answer, answered) = oneshot::channel();
            let job = Job::Change(Change::Remove(id), answer);
            self.jobs.send(job).await.map_err(|_| StoreError::Fault)?;
            answers.push(answered);
        }
        for answered in answers {
            if let Changed::Removed(n) = answered.await.map_err(|_| StoreError::Fault)?? {
                removed += n;
            }
        }
        Ok(removed)
    }

    /// Removes what arrived before that day.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_before(&self, day: u32) -> Result<usize, StoreError> {
        match self.change(Change::RemoveBefore(day)).await? {
            Changed::Removed(n) => Ok(n),
            Changed::Kept | Changed::NoRoom | Changed::Overtaken => Ok(0),
        }
    }

    /// Removes everything, so that no byte of it stays.
    ///
    /// # Errors
    /// If the store cannot be made anew.
    pub async fn wipe(&self) -> Result<usize, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Wipe(answer)).await.map_err(|_| StoreError::Fault)?;
        answered.await.map_err(|_| StoreError::Fault)?
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Change(change, answer)).await.map_err(|_| StoreError::Fault)?;
        answered.await.map_err(|_| StoreError::Fault)?
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let HeldNow { entries, bytes, generation: _ } = &*self.held;
        Held { entries: entries.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
    }

    /// Other bounds from now on. What is held already stays.
    pub async fn set_bounds(&self, bounds: SpoolBounds) {
        // If the thread is gone there is nothing to bound.
        let _ = self.jobs.send(Job::SetBounds(bounds)).await;
    }

    /// Does what is still to be done, and closes the store. Everything after this fails.
    pub async fn close(&self) {
        let _ = self.jobs.send(Job::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Resolves when the thread is gone.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }
}

/// The thread: takes what has gathered, writes it as one transaction, then answers everybody.
fn run(mut store: Store, mut queue: mpsc::Receiver<Job>, held: &HeldNow) {
    let mut group = Vec::new();
    let mut open = true;
    while open && let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < MAX_GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        let mut reads = Vec::new();
        let mut wipes = Vec::new();
        let mut seals = Vec::new();
        let in_force = held.generation.load(Ordering::SeqCst);
        for job in group.drain(..) {
            match job {
                Job::Change(Change::Keep { under, .. }, answer) if under < in_force => {
                    let _ = answer.send(Ok(Changed::Overtaken));
                }
                Job::Change(change, answer) => {
                    changes.push(change);
                    answers.push(answer);
                }
                Job::Read(after, limit, answer) => reads.push((after, limit, answer)),
                Job::Wipe(answer) => wipes.push(answer),
                Job::Seal(answer) => seals.push(answer),
                Job::SetBounds(bounds) => store.set_bounds(bounds),
                Job::Close => open = false,
            }
        }
        if !changes.is_empty() {
            let outcome = store.apply(&changes);
            held.set(store.held());
            // Who does not wait any more need not be answered.
            match outcome {
                Ok(outcomes) => {
                    for (answer, changed) in answers.into_iter().zip(outcomes) {
                        let _ = answer.send(Ok(changed));
                    }
                }
                Err(error) => answers.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(error));
                }),
            }
        }
        for answer in seals {
            let outcome = store.seal();
            held.set(store.held());
            let _ = answer.send(outcome);
        }
        for answer in wipes {
            let outcome = store.wipe();
            held.set(store.held());
            let _ = answer.send(outcome);
        }
        for (after, limit, answer) in reads {
            let _ = answer.send(store.read(after.as_ref(), limit));
        }
    }
}

#[cfg(test)]
mod tests;
