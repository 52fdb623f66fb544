//! Entries of the spool → filtered once more → batches to the vendor → removed when the vendor has them.

pub mod client;
pub mod retry;
pub mod schedule;
pub mod sent_log;
pub(crate) mod told_to_wait;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shared::clock::Clock;
use tokio::sync::watch;

use self::client::Answer;
use self::sent_log::{Record, SentLog};
use crate::complaint::Complaint;
use crate::filter::{Dropped, FilteredEvent, filter};
use crate::live::Live;
use crate::metrics::{Discarded, Metrics};
use crate::spool::{Entry, EntryId, Spool, StoreError};

/// The most events in one request. The vendor takes 1,000; fewer are lost if a proxy in between takes offence.
const MAX_BATCH: usize = 500;

/// What one attempt to send everything has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Events that the vendor has taken.
    pub sent: usize,
    /// Events that the vendor will never take. They are discarded.
    pub rejected: usize,
    /// Entries that the policy of this moment does not let out. They are discarded.
    pub withheld: usize,
    /// Entries that still wait.
    pub left: usize,
    /// Why it ended.
    pub ended: Ended,
}

/// Why an attempt to send everything ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was there has been dealt with.
    #[default]
    Done,
    /// The vendor cannot take it now, and perhaps asked to wait.
    VendorAway {
        /// What happened, as a metric label.
        reason: &'static str,
        /// How long the vendor asked to wait.
        asked: Option<Duration>,
    },
    /// `min_cohort_size` is set, and the number of accounts is not known; what waits goes on waiting.
    UnknownCohort,
    /// What is to be sent cannot be written down in the log of what was sent, so it does not leave.
    NotRecorded,
    /// The spool does not work.
    SpoolFault,
}

/// What an attempt sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// What waits at its beginning.
    WaitsNow,
    /// What is left of what the last attempt was to send, as it was then, and nothing that came since.
    WaitedThen,
}

/// Sends what waits. One attempt at a time.
#[derive(Debug)]
pub struct Forwarder {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    sent_log: Arc<SentLog>,
    not_recorded: Complaint<ErrorKind>,
    sending: tokio::sync::Mutex<()>,
    /// The day on which the spool was last searched for what is too old.
    searched_on: AtomicU32,
}

/// Events that may leave while the configuration that filtered them is in force.
struct Batch {
    events: Vec<(EntryId, FilteredEvent)>,
    filtered_by: Arc<Live>,
}

/// How a flush goes on after a batch.
enum Next {
    /// With the next batch.
    GoOn,
    /// With what comes after this entry: the configuration was replaced, and what of the batch has not been sent is
    /// to be filtered by the new one.
    FilterAgain(Option<EntryId>),
    /// Not at all.
    Stop(Ended),
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
            not_recorded: Complaint::default(),
            sending: Default::default(),
            searched_on: AtomicU32::new(u32::MAX),
        }
    }

    /// Lets what waits now leave with the next attempt, and nothing that comes later.
    pub(crate) async fn seal(&self) {
        let _sending = self.sending.lock().await;
        self.seal_spool().await;
    }

    async fn seal_spool(&self) {
        // The store has said what is wrong; what could be sealed is.
        let _ = self.spool.seal().await;
    }

    /// Sends what waits. What comes while it does stays for another time. A policy acts at once: `live` is asked before
    /// each request, and a request that is on its way when it changes is broken off.
    pub(crate) async fn flush(&self, which: Which, live: watch::Receiver<Arc<Live>>) -> FlushReport {
        let _sending = self.sending.lock().await;
        if which == Which::WaitsNow {
            self.seal_spool().await;
        }
        let mut report = FlushReport::default();
        report.ended = match self.flush_into(&mut report, live).await {
            Ok(()) => Ended::Done,
            Err(ended) => ended,
        };
        report.left = usize::try_from(self.spool.held().entries).unwrap_or(usize::MAX);
        self.metrics.sent_log_failing.set(i64::from(report.ended == Ended::NotRecorded));
        if report.ended == Ended::Done {
            self.not_recorded.settle();
        }
        report
    }

    async fn flush_into(
        &self,
        report: &mut FlushReport,
        live: watch::Receiver<Arc<Live>>,
    ) -> Result<(), Ended> {
        let now = || Arc::clone(&live.borrow());
        self.discard_old(&now()).await?;
        let mut vendor_takes_many = true;
        let mut after = None;
        loop {
            let entries = self.spool.read(after.clone(), MAX_BATCH).await?;
            let Some(last) = entries.last().map(|entry| entry.id.clone()) else { return Ok(()) };
            let batch = self.filter(&now(), entries, report).await?;
            let next = if batch.events.is_empty() {
                Next::GoOn
            } else {
                self.send(batch, &live, &mut vendor_takes_many, report).await?
            };
            match next {
                Next::GoOn => after = Some(last),
                Next::FilterAgain(sent) => after = sent.or(after),
                Next::Stop(ended) => return Err(ended),
            }
        }
    }

    /// What of `entries` may leave now. What may not is discarded.
    async fn filter(
        &self,
        live: &Arc<Live>,
        entries: Vec<Entry>,
        report: &mut FlushReport,
    ) -> Result<Batch, Ended> {
        let facts = live.facts_for_sending().await;
        let mut events = Vec::with_capacity(entries.len());
        let mut discarded = Vec::new();
        for Entry { id, report } in entries {
            match report.map(|report| filter(&live.config.policy, &facts, report)) {
                Some(Ok(event)) => events.push((id, event)),
                Some(Err(Dropped::UnknownCohort)) => return Err(Ended::UnknownCohort),
                Some(Err(reason)) => discarded.push((id, Discarded::Policy(reason))),
                None => discarded.push((id, Discarded::Unreadable)),
            }
        }
        report.withheld += discarded.len();
        for (_, reason) in &discarded {
            self.metrics.discarded(*reason, 1);
        }
        self.spool.remove(discarded.into_iter().map(|(id, _)| id)).await?;
        Ok(Batch { events, filtered_by: Arc::clone(live) })
    }

    /// Sends a batch, in one request or, where the vendor has no route for that, one by one.
    async fn send(
        &self,
        batch: Batch,
        live: &watch::Receiver<Arc<Live>>,
        vendor_takes_many: &mut bool,
        report: &mut FlushReport,
    ) -> Result<Next, Ended> {
        let Batch { events, filtered_by } = batch;
        let in_force = || Arc::ptr_eq(&live.borrow(), &filtered_by);
        let overtaken = || async {
            let mut live = live.clone();
            // The sender outlives us; if it did not, nothing would be in force any more.
            let _ = live.wait_for(|now| !Arc::ptr_eq(now, &filtered_by)).await;
        };
        if !in_force() {
            return Ok(Next::FilterAgain(None));
        }
        if *vendor_takes_many {
            let (ids, events): (Vec<_>, Vec<_>) = events.iter().cloned().unzip();
            let record = self.record(&events).await?;
            let request = filtered_by.client.send_many(&events, self.clock.now());
            let answer = tokio::select! {
                biased;
                () = overtaken() => return Ok(Next::FilterAgain(None)),
                answer = self.attempt(record, request) => answer,
            };
            match answer {
                Answer::NoSuchRoute => *vendor_takes_many = false,
                Answer::TooLarge => {}
                answer => return self.settle(ids, answer, report).await,
            }
        }
        let mut sent = None;
        for (id, event) in events {
            if !in_force() {
                return Ok(Next::FilterAgain(sent));
            }
            let record = self.record(std::slice::from_ref(&event)).await?;
            let request = filtered_by.client.send_one(&event, self.clock.now());
            let answer = tokio::select! {
                biased;
                () = overtaken() => return Ok(Next::FilterAgain(sent)),
                answer = self.attempt(record, request) => answer,
            };
            if let Next::Stop(ended) = self.settle(vec![id.clone()], answer, report).await? {
                return Ok(Next::Stop(ended));
            }
            sent = Some(id);
        }
        Ok(Next::GoOn)
    }

    /// Removes what need not be sent again.
    async fn settle(
        &self,
        ids: Vec<EntryId>,
        answer: Answer,
        report: &mut FlushReport,
    ) -> Result<Next, Ended> {
        let rejected = match answer {
            Answer::Taken { rejected } => (0..ids.len()).filter(|index| rejected.contains(index)).count(),
            Answer::NoSuchRoute | Answer::TooLarge | Answer::Refused => ids.len(),
            Answer::Later { reason, asked, left: _ } => {
                return Ok(Next::Stop(Ended::VendorAway { reason, asked }));
            }
        };
        let taken = ids.len() - rejected;
        self.spool.remove(ids).await?;
        report.sent += taken;
        report.rejected += rejected;
        self.metrics.sent.inc_by(taken as u64);
        self.metrics.discarded(Discarded::Refused, rejected);
        Ok(Next::GoOn)
    }

    /// Writes down what is about to leave. What cannot be written down does not leave.
    async fn record(&self, events: &[FilteredEvent]) -> Result<Record, Ended> {
        let log = Arc::clone(&self.sent_log);
        let request = sent_log::encode(self.clock.now(), events);
        let recorded = tokio::task::spawn_blocking(move || log.record(&request?)).await;
        let recorded = recorded.unwrap_or_else(|panicked| Err(panicked.into()));
        recorded.map_err(|error| {
            self.metrics.requested("not_recorded");
            if self.not_recorded.is_due(error.kind(), Instant::now()) {
                tracing::error!(
                    %error,
                    "nothing is sent, as what leaves cannot be written down in the log of what was sent; \
                     it waits, and is tried again"
                );
            }
            Ended::NotRecorded
        })
    }

    /// Makes the request, and writes down the answer. Nothing leaves before this is polled.
    async fn attempt(&self, mut record: Record, request: impl Future<Output = Answer>) -> Answer {
        record.leaves();
        let answer = request.await;
        self.metrics.requested(answer.label());
        match answer {
            Answer::Later { left: false, .. } => record.nothing_left(),
            _ => record.answered(answer.label()),
        }
        answer
    }

    /// Discards what waited too long. Once a day is enough, as days are all that is known.
    async fn discard_old(&self, live: &Live) -> Result<(), StoreError> {
        let today = schedule::day(self.clock.now());
        if self.searched_on.load(Ordering::Relaxed) == today {
            return Ok(());
        }
        let days = live.config.quota.max_age.as_secs().div_ceil(86_400);
        let first_day = today.saturating_sub(u32::try_from(days).unwrap_or(u32::MAX));
        let removed = self.spool.remove_before(first_day).await?;
        if removed > 0 {
            tracing::warn!(
                removed,
                "discarded what had waited longer than `max_spool_age`, as the clock has it"
            );
        }
        self.metrics.discarded(Discarded::TooOld, removed);
        self.searched_on.store(today, Ordering::Relaxed);
        Ok(())
    }

    /// Discards everything: the operator turned analytics off.
    pub(crate) async fn discard_all(&self) {
        match self.spool.wipe().await {
            Ok(removed) => self.metrics.discarded(Discarded::Policy(Dropped::Disabled), removed),
            Err(_) => tracing::error!("what waits could not be discarded; none of it will be sent"),
        }
    }
}
