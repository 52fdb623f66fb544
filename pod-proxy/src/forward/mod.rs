//! Entries of the spool → filtered once more → batches to the vendor → removed once the vendor has them.

pub mod phase;
pub mod retry;
pub(crate) mod retry_after;
pub mod schedule;
pub mod sent_log;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::clock::Clock;
use tokio::sync::watch;

use self::sent_log::{Record, SentLog};
use crate::filter::{Dropped, FilteredEvent, filter};
use crate::live::Live;
use crate::log_throttle::LogThrottle;
use crate::metrics::{Discarded, Metrics};
use crate::spool::{Entry, EntryId, Spool, StoreError};
use crate::vendor::{Answer, Route};

/// The most events in one request. The vendor takes 1,000; with fewer, less is lost if a proxy in between interferes.
const MAX_BATCH: usize = 500;

/// What an attempt to send did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Events that the vendor has taken.
    pub sent: usize,
    /// Events that the vendor will never take. They were discarded.
    pub rejected: usize,
    /// Entries that the current policy does not let out. They were discarded.
    pub withheld: usize,
    /// Entries that still wait.
    pub left: usize,
    pub ended: Ended,
}

/// Why an attempt to send ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Nothing of the snapshot is left.
    #[default]
    Done,
    /// The vendor cannot take it now.
    VendorAway {
        /// What happened, as a metric label.
        reason: &'static str,
        retry_after: Option<Duration>,
    },
    /// `min_cohort_size` is set and the number of accounts is unknown. The entries wait.
    UnknownCohort,
    /// The log of what was sent cannot be written, so nothing leaves.
    NotRecorded,
    /// The spool does not work.
    SpoolFault,
}

/// What an attempt sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// What waits at its beginning.
    New,
    /// What is left of the last snapshot, unchanged, and nothing that arrived since.
    Again,
}

/// Sends what waits. One attempt at a time.
#[derive(Debug)]
pub struct Forwarder {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    sent_log: Arc<SentLog>,
    record_failures: LogThrottle<ErrorKind>,
    sending: tokio::sync::Mutex<Sending>,
}

/// What the attempt in progress has to itself.
#[derive(Debug, Default)]
struct Sending {
    /// The day on which the spool was last searched for entries that are too old.
    searched_on: Option<u32>,
}

impl From<StoreError> for Ended {
    fn from(_: StoreError) -> Self {
        Self::SpoolFault
    }
}

impl Forwarder {
    pub(crate) fn new(
        spool: Arc<Spool>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        sent_log: SentLog,
    ) -> Self {
        Self {
            spool,
            metrics,
            clock,
            sent_log: Arc::new(sent_log),
            record_failures: LogThrottle::default(),
            sending: Default::default(),
        }
    }

    /// The next attempt may send what waits now, and nothing that arrives later.
    pub(crate) async fn snapshot(&self) {
        let _sending = self.sending.lock().await;
        // The store has logged the fault, and the snapshot has everything else.
        let _ = self.spool.snapshot().await;
    }

    /// Sends what waits. A new policy acts at once: `live` is read before each request, and a request in progress is
    /// aborted when it changes.
    pub(crate) async fn flush(&self, attempt: Attempt, live: watch::Receiver<Arc<Live>>) -> FlushReport {
        let mut sending = self.sending.lock().await;
        if attempt == Attempt::New {
            let _ = self.spool.snapshot().await;
        }
        let mut report = FlushReport::default();
        report.ended = match self.flush_into(&mut report, &mut sending, live).await {
            Ok(()) => Ended::Done,
            Err(ended) => ended,
        };
        report.left = usize::try_from(self.spool.usage().entries).unwrap_or(usize::MAX);
        if report.ended == Ended::Done {
            self.record_failures.reset();
        }
        report
    }

    async fn flush_into(
        &self,
        report: &mut FlushReport,
        sending: &mut Sending,
        live: watch::Receiver<Arc<Live>>,
    ) -> Result<(), Ended> {
        let max_age = live.borrow().config.quota.max_age;
        self.discard_old(max_age, sending).await?;
        let mut route = Route::Many;
        let mut after = None;
        loop {
            let entries = self.spool.read(after.clone(), MAX_BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.id.clone()) else { return Ok(()) };
            let current = Arc::clone(&live.borrow());
            let events = self.filter(&current, entries, report).await?;
            after = match events.is_empty() {
                true => Some(last),
                false => self.send(events, &current, &live, &mut route, report).await?.or(after),
            };
        }
    }

    /// What of `entries` may leave now. The rest is discarded.
    async fn filter(
        &self,
        live: &Live,
        entries: Vec<Entry>,
        report: &mut FlushReport,
    ) -> Result<Vec<(EntryId, FilteredEvent)>, Ended> {
        let facts = live.facts_for_sending().await;
        let mut events = Vec::with_capacity(entries.len());
        let mut discarded = Vec::new();
        for Entry { id, report } in entries {
            let reason = match report.map(|report| filter(&live.config.policy, &facts, report)) {
                Some(Ok(event)) => {
                    events.push((id, event));
                    continue;
                }
                Some(Err(Dropped::UnknownCohort)) => return Err(Ended::UnknownCohort),
                Some(Err(reason)) => Discarded::Policy(reason),
                None => Discarded::Unreadable,
            };
            discarded.push((id, reason));
        }
        report.withheld += discarded.len();
        for (_, reason) in &discarded {
            self.metrics.discarded(*reason, 1);
        }
        self.spool.remove(discarded.into_iter().map(|(id, _)| id)).await?;
        Ok(events)
    }

    /// Sends a batch that `filtered_by` lets out: in one request or, if the vendor has no route for that, one by one.
    /// Returns the last entry that is settled. If another configuration replaces `filtered_by`, the entries after it have
    /// to be filtered again.
    async fn send(
        &self,
        events: Vec<(EntryId, FilteredEvent)>,
        filtered_by: &Arc<Live>,
        live: &watch::Receiver<Arc<Live>>,
        route: &mut Route,
        report: &mut FlushReport,
    ) -> Result<Option<EntryId>, Ended> {
        let (ids, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        if *route == Route::Many {
            match self.request(Route::Many, &events, filtered_by, live).await? {
                None => return Ok(None),
                Some(Answer::NoSuchRoute) => *route = Route::One,
                Some(Answer::TooLarge) => {}
                Some(answer) => {
                    let last = ids.last().cloned();
                    self.settle(ids, answer, report).await?;
                    return Ok(last);
                }
            }
        }
        let mut settled = None;
        for (id, event) in ids.into_iter().zip(&events) {
            let request = self.request(Route::One, std::slice::from_ref(event), filtered_by, live);
            let Some(answer) = request.await? else { return Ok(settled) };
            self.settle(vec![id.clone()], answer, report).await?;
            settled = Some(id);
        }
        Ok(settled)
    }

    /// Makes one request, with its record in the log of what was sent. `None` if another configuration has replaced
    /// `filtered_by` before there was an answer.
    async fn request(
        &self,
        route: Route,
        events: &[FilteredEvent],
        filtered_by: &Arc<Live>,
        live: &watch::Receiver<Arc<Live>>,
    ) -> Result<Option<Answer>, Ended> {
        if !Arc::ptr_eq(&live.borrow(), filtered_by) {
            return Ok(None);
        }
        let mut record = self.record(events).await?;
        let answer = async {
            record.leaves();
            filtered_by.client.send(route, events, self.clock.now()).await
        };
        let mut live = live.clone();
        let answer = tokio::select! {
            biased;
            // The sender outlives this; without it, no configuration would be in force.
            _ = live.wait_for(|live| !Arc::ptr_eq(live, filtered_by)) => return Ok(None),
            answer = answer => answer,
        };
        self.metrics.requested(answer.label());
        match answer {
            Answer::Later { left: false, .. } => record.nothing_left(),
            _ => record.answered(answer.label()),
        }
        Ok(Some(answer))
    }

    /// Removes what need not be sent again.
    async fn settle(&self, ids: Vec<EntryId>, answer: Answer, report: &mut FlushReport) -> Result<(), Ended> {
        let rejected = match answer {
            Answer::Taken { rejected } => (0..ids.len()).filter(|index| rejected.contains(index)).count(),
            Answer::NoSuchRoute | Answer::TooLarge | Answer::Refused => ids.len(),
            Answer::Later { reason, retry_after, left: _ } => {
                return Err(Ended::VendorAway { reason, retry_after });
            }
        };
        let taken = ids.len() - rejected;
        self.spool.remove(ids).await?;
        report.sent += taken;
        report.rejected += rejected;
        self.metrics.sent.inc_by(taken as u64);
        self.metrics.discarded(Discarded::Refused, rejected);
        Ok(())
    }

    /// Records what is about to leave. What cannot be recorded does not leave.
    async fn record(&self, events: &[FilteredEvent]) -> Result<Record, Ended> {
        let log = Arc::clone(&self.sent_log);
        let request = sent_log::encode(self.clock.now(), events);
        let recorded = tokio::task::spawn_blocking(move || log.record(&request?)).await;
        let recorded = recorded.unwrap_or_else(|panicked| Err(panicked.into()));
        recorded.map_err(|error| {
            self.metrics.requested("not_recorded");
            if self.record_failures.admit(error.kind(), Instant::now()) {
                tracing::error!(
                    %error,
                    "nothing is sent, because the log of what was sent cannot be written; trying again later"
                );
            }
            Ended::NotRecorded
        })
    }

    /// Discards what waited too long. Once a day is enough, because only the day of arrival is known.
    async fn discard_old(&self, max_age: Duration, sending: &mut Sending) -> Result<(), StoreError> {
        let today = phase::day(self.clock.now());
        if sending.searched_on == Some(today) {
            return Ok(());
        }
        let days = max_age.as_secs().div_ceil(86_400);
        let first_day = today.saturating_sub(u32::try_from(days).unwrap_or(u32::MAX));
        let removed = self.spool.remove_before(first_day).await?;
        if removed > 0 {
            tracing::warn!(removed, "discarded entries older than `max_spool_age` by this machine's clock");
        }
        self.metrics.discarded(Discarded::TooOld, removed);
        sending.searched_on = Some(today);
        Ok(())
    }

    /// Discards everything: the operator turned analytics off.
    pub(crate) async fn discard_all(&self) {
        match self.spool.wipe().await {
            Ok(removed) => self.metrics.discarded(Discarded::Policy(Dropped::Disabled), removed),
            Err(_) => tracing::error!("the spool could not be wiped; nothing of it will be sent"),
        }
    }
}
