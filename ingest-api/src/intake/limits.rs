//! A network and what it sends → accepted, or refused with the reason and how long to wait.
//!
//! Somebody with one address can still invent Pods; these limits bound how many. Only Pods that are *new* to
//! a network are limited. So a company that hosts many Pods behind one address is delayed on the first day at
//! most. A known Pod is a keyed hash in memory, and the hash key is lost when the process ends.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::clock::Clock;

use super::ValidReport;
use crate::rates::{Limiter, Rate, Source};

/// A network forgets a Pod that was silent for one to two generations.
const GENERATION: SignedDuration = SignedDuration::from_hours(48);
/// How many Pods a generation holds: some ten megabytes.
const MAX_KNOWN: usize = 300_000;

/// What one network may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeRates {
    /// Requests. Default: 1,000 at once, and ten a second.
    pub requests: Rate,
    /// Events, alone or in batches. Default: 20,000 at once, and twenty a second. The burst is at least one
    /// full batch.
    pub events: Rate,
    /// Pods, and XMPP servers of direct clients, that are new to the network. Default: 50 at once, and thirty
    /// an hour.
    pub new_pods: Rate,
}

impl Default for IntakeRates {
    fn default() -> Self {
        Self {
            requests: Rate::new(1_000, 36_000),
            events: Rate::new(20_000, 72_000),
            new_pods: Rate::new(50, 30),
        }
    }
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests.
    Requests,
    /// Events.
    Events,
    /// New Pods.
    NewPods,
}

impl Limit {
    /// A stable name, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Events => "events",
            Self::NewPods => "new_pods",
        }
    }

    /// What to say to the sender of a request that exceeds the burst, and so is always refused.
    pub fn never(self) -> &'static str {
        match self {
            Self::Requests | Self::Events => {
                "The request has more events than a network may send at once. Send fewer in each request."
            }
            Self::NewPods => {
                "The request has more new Pods than a network may report for at once. Send fewer in each request."
            }
        }
    }

    /// What to say to the sender of a request that may be accepted later.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Requests => "Send fewer requests, with more events in each.",
            Self::Events => "Send fewer events, or retry later.",
            Self::NewPods => "Too many new Pods report from this network. Retry later.",
        }
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch {
    /// Which limit was exceeded.
    pub limit: Limit,
    /// How long to wait; `None` if the request exceeds the burst, so that waiting does not help.
    pub wait: Option<Duration>,
}

impl TooMuch {
    fn later(limit: Limit, wait: Duration) -> Self {
        Self { limit, wait: Some(wait) }
    }
}

/// The limits of intake.
#[derive(Debug)]
pub struct IntakeLimits {
    requests: Limiter<Source>,
    events: Limiter<Source>,
    new_pods: Limiter<Source>,
    known: Mutex<Known>,
    clock: Arc<dyn Clock>,
}

impl IntakeLimits {
    /// With every allowance full.
    pub fn new(rates: IntakeRates, clock: &Arc<dyn Clock>) -> Self {
        let limiter = |rate| Limiter::new(rate, Arc::clone(clock));
        Self {
            requests: limiter(rates.requests),
            events: limiter(rates.events),
            new_pods: limiter(rates.new_pods),
            known: Mutex::new(Known::new(clock.now())),
            clock: Arc::clone(clock),
        }
    }

    /// Counts a request, before its body is read.
    ///
    /// # Errors
    /// If there are too many requests.
    pub fn take_request(&self, source: Source) -> Result<(), TooMuch> {
        self.requests.take(&source, 1).map_err(|wait| TooMuch::later(Limit::Requests, wait))
    }

    /// Counts all reports of a request, before they are written, or none of them. A refusal for new Pods
    /// still costs the events, unless waiting does not help.
    ///
    /// # Errors
    /// If there are too many events or new Pods.
    pub fn take_reports(&self, source: Source, reports: &[ValidReport]) -> Result<(), TooMuch> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.age(self.clock.now());
        // A proxy's batch comes from one Pod.
        let same_pod = |one: &ValidReport, next: &ValidReport| {
            (one.population(), one.pod()) == (next.population(), next.pod())
        };
        let mut pods: Vec<u64> =
            reports.chunk_by(same_pod).map(|of_one| known.hash(source, &of_one[0])).collect();
        pods.sort_unstable();
        pods.dedup();
        let new = pods.iter().filter(|pod| !known.contains(**pod)).count();
        let asked = [(&self.events, reports.len(), Limit::Events), (&self.new_pods, new, Limit::NewPods)];
        if let Some((.., limit)) = asked.into_iter().find(|(limiter, n, _)| !limiter.fits(*n)) {
            return Err(TooMuch { limit, wait: None });
        }
        for (limiter, n, limit) in asked {
            limiter.take(&source, n).map_err(|wait| TooMuch::later(limit, wait))?;
        }
        known.note(pods);
        Ok(())
    }
}

/// Which Pods each network has reported for, in two generations. When the younger one is old or full, the
/// older one is dropped.
struct Known {
    key: RandomState,
    /// The elements are hashes already.
    younger: HashSet<u64, foldhash::fast::RandomState>,
    older: HashSet<u64, foldhash::fast::RandomState>,
    since: Timestamp,
}

impl Known {
    fn new(now: Timestamp) -> Self {
        let (younger, older) = Default::default();
        Self { key: RandomState::new(), younger, older, since: now }
    }

    fn hash(&self, source: Source, report: &ValidReport) -> u64 {
        self.key.hash_one((source, report.population(), report.pod()))
    }

    fn contains(&self, pod: u64) -> bool {
        self.younger.contains(&pod) || self.older.contains(&pod)
    }

    fn note(&mut self, pods: Vec<u64>) {
        self.younger.extend(pods);
    }

    fn age(&mut self, now: Timestamp) {
        let age = now.duration_since(self.since);
        if age >= GENERATION * 2 {
            *self = Self::new(now);
        } else if age >= GENERATION || age.is_negative() || self.younger.len() >= MAX_KNOWN {
            self.older = std::mem::take(&mut self.younger);
            self.since = now;
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::clock::FixedClock;

    use super::*;

    const HERE: [u8; 4] = [192, 0, 2, 1];
    const THERE: [u8; 4] = [198, 51, 100, 1];

    fn limits(burst: u32, per_hour: u32) -> (IntakeLimits, Arc<FixedClock>) {
        let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
        let shared: Arc<dyn Clock> = clock.clone();
        let rates = IntakeRates { new_pods: Rate::new(burst, per_hour), ..IntakeRates::default() };
        (IntakeLimits::new(rates, &shared), clock)
    }

    fn reports(pods: std::ops::Range<u32>) -> Vec<ValidReport> {
        let report = |pod: u32| {
            let event =
                json!({ "proxied": true, "origin": { "pod": { "domain_hash": format!("{pod:016x}") } } });
            ValidReport::from_json(event.to_string().as_bytes()).unwrap()
        };
        pods.map(report).collect()
    }

    fn send(limits: &IntakeLimits, from: [u8; 4], pods: std::ops::Range<u32>) -> Result<(), TooMuch> {
        limits.take_reports(Source::of(from.into()), &reports(pods))
    }

    fn refused(seconds: u64) -> Result<(), TooMuch> {
        Err(TooMuch { limit: Limit::NewPods, wait: Some(Duration::from_secs(seconds)) })
    }

    #[test]
    fn pods_that_are_known_are_free_and_new_ones_are_not() {
        let (limits, clock) = limits(3, 60);
        assert_eq!(send(&limits, HERE, 0..3), Ok(()));
        assert_eq!(send(&limits, HERE, 0..3), Ok(()), "again");
        assert_eq!(send(&limits, HERE, 3..4), refused(60));
        assert_eq!(send(&limits, THERE, 3..4), Ok(()), "another network");
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!(send(&limits, HERE, 3..4), Ok(()));
    }

    #[test]
    fn a_batch_is_taken_as_a_whole_or_not_at_all() {
        let (limits, _) = limits(3, 60);
        let never = Err(TooMuch { limit: Limit::NewPods, wait: None });
        assert_eq!(send(&limits, HERE, 0..4), never, "more than there ever is");
        assert_eq!(send(&limits, HERE, 0..2), Ok(()), "nothing of it was taken");
        assert_eq!(send(&limits, HERE, 0..4), refused(60), "two are known, and one is left");
    }

    #[test]
    fn many_pods_behind_one_address_are_heard_within_a_day_and_then_every_day() {
        let IntakeRates { new_pods, .. } = IntakeRates::default();
        let (limits, clock) = limits(new_pods.burst.get(), new_pods.per_hour.get());
        let heard = |pods| (0..pods).filter(|pod| send(&limits, HERE, *pod..pod + 1).is_ok()).count();
        for _ in 0..24 {
            heard(700);
            clock.advance(SignedDuration::from_hours(1));
        }
        for _ in 0..10 {
            assert_eq!(heard(700), 700);
            clock.advance(SignedDuration::from_hours(24));
        }
        clock.advance(SignedDuration::from_hours(24 * 5));
        assert!(heard(700) < 100, "after a long silence they are new again");
    }

    #[test]
    fn what_is_known_is_bounded() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut known = Known::new(now);
        for batch in 0..700 {
            known.age(now);
            known.note((batch * 1_000..(batch + 1) * 1_000).collect());
        }
        assert!(known.younger.len() + known.older.len() <= 2 * (MAX_KNOWN + 1_000));
        assert!(known.contains(699_999) && !known.contains(0), "the newest are known");
    }
}
