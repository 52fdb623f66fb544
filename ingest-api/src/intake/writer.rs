//! Reports of many requests → few commits. Each request is answered when its own reports are on disk.
//!
//! There is no fixed delay: a commit takes whatever gathered during the commit before it. The queue is
//! bounded; when it is full, senders get 503 and retry.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinError;

use super::domain_notes::DomainNotes;
use super::rekey::rekey;
use super::validate::ValidReport;
use crate::metrics::Metrics;
use crate::open_windows::{OpenWindows, WindowError};
use crate::store::arrivals::{Appended, Appender};
use crate::store::open_windows::StoredWindow;
use crate::store::{Database, StoreError};
use crate::window::{self, Window, WindowKey, WindowKind};

/// How many reports may wait for a commit.
pub const MAX_WAITING: usize = 20_000;
/// How many reports go into one commit. A request is never split, so the last one may exceed it.
const MAX_GROUP: usize = 5_000;
/// Beyond this many unsealed reports, sealing moves to a thread where no request waits for it.
const LARGE_GROUP: usize = 1_000;
/// A larger request is sealed on such a thread before it is queued, while other commits run. Sealing this
/// many takes a good part of a millisecond.
const LARGE_REQUEST: usize = 64;

/// How long one commit may take. This includes a restart of Postgres.
const GROUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sender waits for its answer: for the commit before its own, and for its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Why reports were not written. The sender may retry: counting is a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue is full.
    #[error("too many reports are waiting")]
    Overloaded,
    /// The database or the key directory failed.
    #[error("the reports could not be written")]
    Unavailable,
}

/// Why a group could not be written.
#[derive(Debug, thiserror::Error)]
enum GroupError {
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("windows are closed faster than they can be written to")]
    WindowsKeepClosing,
    #[error("all current windows have been released already; is the clock right?")]
    NoWindow,
    // Without the panic's message, which may quote reports.
    #[error("a group of reports was not sealed: the task panicked, or the service stopped")]
    NotSealed(#[source] JoinError),
    #[error("the database did not commit within {} seconds", GROUP_TIMEOUT.as_secs())]
    TimedOut,
}

/// A handle to the writing task.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Request>,
    room: Arc<Semaphore>,
    database: Database,
    windows: OpenWindows,
    clock: Arc<dyn Clock>,
}

/// Sealed pieces, each list with its window.
type Sealed = Vec<(StoredWindow, Vec<Vec<u8>>)>;

#[derive(Debug)]
struct Request {
    reports: Arc<Vec<ValidReport>>,
    /// For the windows that were open when the request arrived.
    sealed: Option<Sealed>,
    done: oneshot::Sender<Result<(), WriteError>>,
    _room: OwnedSemaphorePermit,
}

impl Writer {
    /// A handle, and the task to spawn. The task ends when every handle is dropped and everything is written.
    pub fn new(
        database: Database,
        windows: OpenWindows,
        domains: DomainNotes,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, requests) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let handle = Self {
            queue,
            room,
            database: database.clone(),
            windows: windows.clone(),
            clock: Arc::clone(&clock),
        };
        let task =
            Task { appender: Appender::new(database.clone()), database, windows, domains, clock, metrics };
        (handle, task.run(requests))
    }

    /// Writes reports; returns when they are committed.
    ///
    /// # Errors
    /// [`WriteError`] if they are not committed, or it is unknown whether they are.
    pub async fn write(&self, reports: Vec<ValidReport>) -> Result<(), WriteError> {
        if reports.is_empty() {
            return Ok(());
        }
        let weight = u32::try_from(reports.len()).map_err(|_| WriteError::Overloaded)?;
        let room = self.room.clone().try_acquire_many_owned(weight).map_err(|_| WriteError::Overloaded)?;
        let reports = Arc::new(reports);
        let sealed = self.seal_beforehand(&reports).await;
        let (done, answer) = oneshot::channel();
        self.queue
            .send(Request { reports, sealed, done, _room: room })
            .map_err(|_| WriteError::Unavailable)?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => Err(WriteError::Unavailable),
        }
    }

    /// Seals a large request before it is queued. Ignores errors: the writing task will meet them again.
    async fn seal_beforehand(&self, reports: &Arc<Vec<ValidReport>>) -> Option<Sealed> {
        if reports.len() <= LARGE_REQUEST {
            return None;
        }
        let windows = self.windows.current(&self.database, self.clock.now()).await.ok()?;
        seal(windows, vec![Arc::clone(reports)], LARGE_REQUEST).await.ok()
    }
}

/// Seals the reports of some requests for some windows. More than `few` reports are sealed where no request
/// waits for it.
async fn seal(
    windows: Vec<(StoredWindow, WindowKey)>,
    requests: Vec<Arc<Vec<ValidReport>>>,
    few: usize,
) -> Result<Sealed, JoinError> {
    let is_large = requests.iter().map(|reports| reports.len()).sum::<usize>() > few;
    let seal = move || {
        let of =
            |key| window::seal::seal(key, &rekey(key, requests.iter().flat_map(|reports| reports.iter())));
        windows.iter().map(|(window, key)| (*window, of(key))).collect()
    };
    if is_large { tokio::task::spawn_blocking(seal).await } else { Ok(seal()) }
}

/// The requests of one commit.
#[derive(Default)]
struct Group {
    requests: Vec<Request>,
    /// How many reports they have.
    size: usize,
}

impl Group {
    fn add(&mut self, request: Request) {
        self.size += request.reports.len();
        self.requests.push(request);
    }

    /// The pieces of all its reports for these windows. A request that was sealed beforehand is sealed again
    /// only if it was for other windows.
    async fn seal(&mut self, windows: Vec<(StoredWindow, WindowKey)>) -> Result<Sealed, JoinError> {
        let (mut pieces, mut others) = (Vec::new(), Vec::new());
        for request in &mut self.requests {
            let for_these = |sealed: &Sealed| {
                sealed.iter().map(|(window, _)| window).eq(windows.iter().map(|(window, _)| window))
            };
            match request.sealed.take().filter(for_these) {
                Some(sealed) => pieces.extend(sealed),
                None => others.push(Arc::clone(&request.reports)),
            }
        }
        pieces.extend(seal(windows, others, LARGE_GROUP).await?);
        Ok(pieces)
    }
}

struct Task {
    appender: Appender,
    database: Database,
    windows: OpenWindows,
    domains: DomainNotes,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Task {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = requests.recv().await {
            let mut group = Group::default();
            group.add(first);
            while group.size < MAX_GROUP {
                let Ok(next) = requests.try_recv() else { break };
                group.add(next);
            }
            let written = tokio::time::timeout(GROUP_TIMEOUT, self.write(&mut group)).await;
            let written = written.unwrap_or(Err(GroupError::TimedOut));
            if let Err(error) = &written {
                // The remembered windows may be the cause.
                self.windows.forget();
                tracing::error!(%error, reports = group.size, "a group of reports could not be written");
            }
            self.metrics.group_written(written.is_ok());
            let answer = written.map_err(|_| WriteError::Unavailable);
            for Request { done, .. } in group.requests {
                // The sender may have disconnected; its reports count anyway.
                let _ = done.send(answer);
            }
        }
    }

    async fn write(&mut self, group: &mut Group) -> Result<(), GroupError> {
        // A window may be closed between looking it up and writing to it. Then the next lookup finds its
        // successor.
        for _ in 0..3 {
            let now = self.clock.now();
            let windows = self.windows.current(&self.database, now).await?;
            if windows.is_empty() {
                return Err(GroupError::NoWindow);
            }
            let pieces = group.seal(windows).await.map_err(GroupError::NotSealed)?;
            match self.appender.append(&pieces).await? {
                Appended::WindowClosed => self.windows.forget(),
                Appended::Committed => {
                    let week = Window::containing(WindowKind::Week, now).start();
                    let reports = group.requests.iter().flat_map(|request| request.reports.iter());
                    reports
                        .filter_map(ValidReport::domain)
                        .for_each(|domain| self.domains.note(domain, week));
                    return Ok(());
                }
            }
        }
        Err(GroupError::WindowsKeepClosing)
    }
}
