//! The time and what happened → what the proxy does now, or until when it sleeps. Pure.
//!
//! Each interval has a point of the Pod's own, and what an attempt may send is fixed at such a point. Otherwise a vendor
//! that fails on purpose would learn, from what is new in the next attempt, when it arrived. A point that passes during
//! an attempt is skipped, so that a slow vendor cannot choose the moment.

use std::time::Duration;

use jiff::Timestamp;
use shared::pseudonym::Salt;

use super::phase::{Phase, after, next_flush, next_report};
use super::retry::{Backoff, longest_backoff};
use super::{Attempt, Ended};
use crate::filter::PodReport;

/// The longest sleep without a look at the clock, which may be set or stand still.
const LONGEST_NAP: Duration = Duration::from_secs(900);
/// The longest wait after a fault of this machine, where a new attempt costs nobody anything.
const AFTER_FAULT: Duration = Duration::from_secs(300);

/// What happened since the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// The last step is done, or the sleep is over.
    Woke,
    /// The attempt to send ended.
    Ended(Ended),
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the Pod's own report into the spool.
    Report(PodReport),
    /// Fix what the attempt that is waited for may send.
    Snapshot,
    /// Send, and say how it ended.
    Send(Attempt),
    /// Remember over a restart that nothing may be sent before this moment, or that there is no such moment any more.
    RetryAfter(Option<Timestamp>),
    /// Sleep for `nap`, or until the configuration changes. Nothing is due before `until`.
    Sleep { until: Timestamp, nap: Duration },
}

/// When the Pod sends and reports.
#[derive(Debug)]
pub struct Schedule {
    salt: Salt,
    /// Waits for the next point, since the last attempt or snapshot.
    flush: Alarm,
    /// Waits for the next daily report. There is none before the first report.
    report: Option<Alarm>,
    /// Waits for the next attempt after one that failed.
    retry: Option<Retry>,
    backoff: Backoff,
    /// Whether a restart would honour a `Retry-After`.
    remembers_retry_after: bool,
}

#[derive(Debug)]
struct Retry {
    since: Alarm,
    wait: Duration,
}

impl Schedule {
    /// The schedule of a proxy that starts `now`. Before `retry_after`, nothing may be sent.
    pub fn new(salt: &Salt, now: Timestamp, retry_after: Option<Timestamp>) -> Self {
        let wait = retry_after.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        Self {
            salt: salt.clone(),
            flush: Alarm::new(now),
            report: None,
            retry: wait.map(|wait| Retry { since: Alarm::new(now), wait }),
            backoff: Backoff::default(),
            remembers_retry_after: wait.is_some(),
        }
    }

    /// What to do `now`.
    pub fn next(&mut self, now: Timestamp, flush_interval: Duration, happened: Happened) -> Step {
        if let Happened::Ended(ended) = happened
            && let Some(retry_after) = self.attempt_ended(now, flush_interval, ended)
        {
            return Step::RetryAfter(retry_after);
        }
        let Some(report) = &mut self.report else {
            self.report = Some(Alarm::new(now));
            return Step::Report(PodReport::Startup);
        };
        let report_due = report.due(now, |from| next_report(from, Phase::of_report(&self.salt)));
        if report_due <= now {
            *report = Alarm::new(now);
            return Step::Report(PodReport::Daily);
        }
        let flush_due =
            self.flush.due(now, |from| next_flush(from, flush_interval, Phase::of_flush(&self.salt)));
        let retry_due =
            self.retry.as_mut().map(|Retry { since, wait }| since.due(now, |from| after(from, *wait)));
        match retry_due {
            None if flush_due <= now => return Step::Send(Attempt::New),
            Some(_) if flush_due <= now => {
                self.flush = Alarm::new(now);
                return Step::Snapshot;
            }
            Some(retry_due) if retry_due <= now => return Step::Send(Attempt::Again),
            None | Some(_) => {}
        }
        let until = retry_due.into_iter().fold(flush_due.min(report_due), Timestamp::min);
        Step::Sleep { until, nap: nap(now, until) }
    }

    /// Takes into account how an attempt ended. Returns what is to be remembered of `Retry-After`, if that changes.
    fn attempt_ended(
        &mut self,
        now: Timestamp,
        flush_interval: Duration,
        ended: Ended,
    ) -> Option<Option<Timestamp>> {
        let longest = longest_backoff(flush_interval);
        let (wait, is_asked) = match ended {
            Ended::Done => {
                self.backoff = Backoff::default();
                (None, false)
            }
            Ended::VendorAway { retry_after, .. } => {
                let jitter = Phase::of_wait(&self.salt, self.backoff.failures());
                (Some(self.backoff.next(longest, jitter, retry_after)), retry_after.is_some())
            }
            Ended::UnknownCohort | Ended::SpoolFault | Ended::NotRecorded => {
                (Some(longest.min(AFTER_FAULT)), false)
            }
        };
        self.flush = Alarm::new(now);
        self.retry = wait.map(|wait| Retry { since: Alarm::new(now), wait });
        let remembered = std::mem::replace(&mut self.remembers_retry_after, is_asked);
        (is_asked || remembered).then(|| wait.filter(|_| is_asked).map(|wait| after(now, wait)))
    }
}

/// How long to sleep until `due`, which is after `now`, or until the next look at the clock.
fn nap(now: Timestamp, due: Timestamp) -> Duration {
    due.duration_since(now).unsigned_abs().min(LONGEST_NAP)
}

/// A wait that begins at a moment. If the clock is set back, it begins again from there, so that it never lasts longer
/// than it would have.
#[derive(Debug)]
struct Alarm {
    from: Timestamp,
}

impl Alarm {
    fn new(now: Timestamp) -> Self {
        Self { from: now }
    }

    fn due(&mut self, now: Timestamp, due: impl FnOnce(Timestamp) -> Timestamp) -> Timestamp {
        self.from = self.from.min(now);
        due(self.from)
    }
}

#[cfg(test)]
mod tests;
