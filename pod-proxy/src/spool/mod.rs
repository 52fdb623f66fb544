//! Filtered reports → entries on disk, one for each installation, until the vendor has them.
//!
//! A report is acknowledged after it is on disk. One thread owns the store. It takes the jobs that arrived during the last
//! transaction, writes them as one, and then answers them.
//!
//! Only the [snapshot](Spool::snapshot) can be read, and it does not change: what arrives later, also for the same
//! installation, is in the next one. So a repeated attempt to send tells nothing of what arrived in between.

mod entry;
mod quota;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use self::entry::{Entry, EntryId};
pub use self::quota::{SpoolBounds, Usage};
use self::store::{Change, Changed, Store};
pub use self::store::{OpenError, StoreError};
use crate::filter::FilteredEvent;

/// The file in the data folder.
pub const FILE_NAME: &str = "spool.redb";

/// The most jobs that wait for the thread, and the most that are written together.
const MAX_GROUP: usize = 1_024;

/// Why a report was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum PutError {
    /// `max_spool_bytes` or `max_spool_entries` is reached, or the disk is full.
    #[error("there is no room left")]
    Full,
    /// The store does not work, or is closed.
    #[error("the spool does not work")]
    Fault,
}

impl From<StoreError> for PutError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::Full,
            StoreError::Fault => Self::Fault,
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is on disk.
    Stored,
    /// It is not, because another configuration replaced the one that filtered it.
    Outdated,
}

/// The spool of one proxy.
#[derive(Debug)]
pub struct Spool {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What both sides of the queue know.
#[derive(Debug, Default)]
struct Shared {
    usage: Mutex<Usage>,
    /// The generation of the configuration in force. What an earlier one let through is not written any more.
    generation: AtomicU64,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Change(Change, Reply<Changed>),
    Wipe(Reply<usize>),
    Snapshot(Reply<()>),
    Read(Option<EntryId>, usize, Reply<Vec<Entry>>),
    SetBounds(SpoolBounds),
    Close,
}

impl Spool {
    /// Opens the spool in `folder`, or creates it. A damaged one is set aside, and an empty one takes its place.
    pub fn open(folder: &Path, bounds: SpoolBounds) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        let (store, set_aside) = Store::open(&path, bounds)?;
        if let Some(aside) = set_aside {
            tracing::error!(path = %aside.display(), "the spool was damaged; it is set aside, and a new one is used");
        }
        let shared = Arc::new(Shared { usage: Mutex::new(store.usage()), generation: AtomicU64::default() });
        let (jobs, queue) = mpsc::channel(MAX_GROUP);
        let shared_with_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || run(store, queue, &shared_with_thread))
            .map_err(|error| OpenError::Io { path, reason: error.to_string() })?;
        Ok(Self { jobs, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Stores what a filtered event has to be kept for; it is on disk when this returns. `day` is counted since 1970, and
    /// `generation` is that of the configuration that filtered the event.
    pub async fn put(&self, event: FilteredEvent, day: u32, generation: u64) -> Result<Put, PutError> {
        let (key, value) = entry::encode(&event.into_report()).map_err(|_| PutError::Fault)?;
        match self.change(Change::Put { key, day, value, generation }).await? {
            Changed::Stored | Changed::Removed(_) => Ok(Put::Stored),
            Changed::Outdated => Ok(Put::Outdated),
            Changed::NoRoom => Err(PutError::Full),
        }
    }

    /// From now on nothing is written that a configuration of an earlier generation let through, however long it waited
    /// for the thread.
    pub fn require_generation(&self, generation: u64) {
        self.shared.generation.fetch_max(generation, Ordering::SeqCst);
    }

    /// From now on [`Spool::read`] has what is there now, and nothing else. After opening, it has nothing.
    ///
    /// After an error, reports that arrived for entries of the last snapshot are missing from this one. They wait for the
    /// next.
    pub async fn snapshot(&self) -> Result<(), StoreError> {
        self.ask(Job::Snapshot).await
    }

    /// The first `limit` entries of the snapshot after `after`, in the order of their keys.
    pub async fn read(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.ask(|reply| Job::Read(after, limit, reply)).await
    }

    /// Removes these entries, unless they were replaced since they were read. Reports that arrived since the snapshot
    /// stay. After an error, the entries are sent once more, which changes nothing.
    pub async fn remove(&self, entries: impl IntoIterator<Item = EntryId>) -> Result<usize, StoreError> {
        let mut removed = 0;
        let mut answers = Vec::new();
        // They are all queued before the first answer, so that one transaction removes them.
        for id in entries {
            let (reply, answer) = oneshot::channel();
            let job = Job::Change(Change::Remove(id), reply);
            self.jobs.send(job).await.map_err(|_| StoreError::Fault)?;
            answers.push(answer);
        }
        for answer in answers {
            if let Changed::Removed(n) = answer.await.map_err(|_| StoreError::Fault)?? {
                removed += n;
            }
        }
        Ok(removed)
    }

    /// Removes what arrived before that day.
    pub async fn remove_before(&self, day: u32) -> Result<usize, StoreError> {
        match self.change(Change::RemoveBefore(day)).await? {
            Changed::Removed(n) => Ok(n),
            Changed::Stored | Changed::NoRoom | Changed::Outdated => Ok(0),
        }
    }

    /// Removes everything, so that no byte of it stays.
    pub async fn wipe(&self) -> Result<usize, StoreError> {
        self.ask(Job::Wipe).await
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        self.ask(|reply| Job::Change(change, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StoreError::Fault)?;
        answer.await.map_err(|_| StoreError::Fault)?
    }

    pub fn usage(&self) -> Usage {
        *self.shared.usage.lock()
    }

    /// Changes the bounds. What is stored already stays.
    pub async fn set_bounds(&self, bounds: SpoolBounds) {
        // If the thread is gone there is nothing to bound.
        let _ = self.jobs.send(Job::SetBounds(bounds)).await;
    }

    /// Finishes the queue and closes the store. Everything after this fails.
    pub async fn close(&self) {
        let _ = self.jobs.send(Job::Close).await;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Resolves when the thread is gone.
    pub async fn closed(&self) {
        self.jobs.closed().await;
    }
}

/// The thread: takes the jobs that wait, writes their changes as one transaction, then answers them.
fn run(mut store: Store, mut queue: mpsc::Receiver<Job>, shared: &Shared) {
    let mut group = Vec::new();
    let mut open = true;
    while open && queue.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
        let (mut changes, mut replies) = (Vec::new(), Vec::new());
        let (mut snapshots, mut wipes, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        let in_force = shared.generation.load(Ordering::SeqCst);
        for job in group.drain(..) {
            match job {
                Job::Change(Change::Put { generation, .. }, reply) if generation < in_force => {
                    let _ = reply.send(Ok(Changed::Outdated));
                }
                Job::Change(change, reply) => {
                    changes.push(change);
                    replies.push(reply);
                }
                Job::Read(after, limit, reply) => reads.push((after, limit, reply)),
                Job::Wipe(reply) => wipes.push(reply),
                Job::Snapshot(reply) => snapshots.push(reply),
                Job::SetBounds(bounds) => store.set_bounds(bounds),
                Job::Close => open = false,
            }
        }
        // A caller that does not wait any more needs no reply.
        if !changes.is_empty() {
            let outcome = store.apply(&changes);
            *shared.usage.lock() = store.usage();
            for (index, reply) in replies.into_iter().enumerate() {
                let _ = reply.send(outcome.as_ref().map(|changed| changed[index]).map_err(|error| *error));
            }
        }
        for reply in snapshots {
            let outcome = store.snapshot();
            *shared.usage.lock() = store.usage();
            let _ = reply.send(outcome);
        }
        for reply in wipes {
            let outcome = store.wipe();
            *shared.usage.lock() = store.usage();
            let _ = reply.send(outcome);
        }
        for (after, limit, reply) in reads {
            let _ = reply.send(store.read(after.as_ref(), limit));
        }
    }
}

#[cfg(test)]
mod tests;
