//! The network of a sender, and how much it takes → accepted, or how long to wait.
//!
//! Everything here is in memory and ends with the process. Nothing of it is logged, written, or counted by
//! source. A source is a network, never a single address. Memory is bounded: when it is full, new sources
//! share one allowance.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use shared::clock::Clock;

/// How many keys a limiter tracks: a few megabytes.
const MAX_KEYS: usize = 50_000;
/// How often a full limiter looks for keys whose allowance is full again.
const SWEEP: Duration = Duration::from_secs(1);

/// The network of a request: the first 24 bits of an IPv4 address, or the first 48 of an IPv6 address. Never
/// shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source([u8; 6]);

impl Source {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // No IPv6 address in use begins with zeros.
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self([0, 0, 0, a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self([a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source[redacted]")
    }
}

/// A rate limit: a burst, and how fast it refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most at once, after a pause.
    pub burst: NonZeroU32,
    /// How much is refilled in an hour, evenly.
    pub per_hour: NonZeroU32,
}

impl Rate {
    /// A rate. 0 becomes 1.
    pub const fn new(burst: u32, per_hour: u32) -> Self {
        const fn at_least_one(n: u32) -> NonZeroU32 {
            match NonZeroU32::new(n) {
                Some(n) => n,
                None => NonZeroU32::MIN,
            }
        }
        Self { burst: at_least_one(burst), per_hour: at_least_one(per_hour) }
    }

    /// The time to refill one.
    fn period(self) -> Duration {
        (Duration::from_secs(3_600) / self.per_hour.get()).max(Duration::from_nanos(1))
    }
}

/// A rate limit for each key.
pub struct Limiter<K: Clone + Eq + Hash> {
    rate: Rate,
    rates: RateLimiter<K, Kept<K>, Ticks, NoOpMiddleware<Duration>>,
    kept: Kept<K>,
}

impl<K: Clone + Eq + Hash> Limiter<K> {
    /// With every allowance full.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::with_period(rate.period())
            .unwrap_or_else(|| Quota::per_hour(rate.per_hour))
            .allow_burst(rate.burst);
        let kept = Kept::default();
        Self { rate, rates: RateLimiter::new(quota, kept.clone(), Ticks::new(clock)), kept }
    }

    /// Checks that one is available; takes nothing.
    ///
    /// # Errors
    /// How long to wait until one is.
    pub fn peek(&self, key: &K) -> Result<(), Duration> {
        let Some(full_at) = self.kept.full_at(key) else { return Ok(()) };
        // The first one is available this long before the allowance is full.
        let others = self.rate.period().saturating_mul(self.rate.burst.get() - 1);
        let wait = Duration::from(full_at).saturating_sub(others).saturating_sub(self.rates.clock().now());
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Whether the burst is at least `n`.
    pub fn fits(&self, n: usize) -> bool {
        n <= self.rate.burst.get() as usize
    }

    /// Takes `n` or nothing. More than the burst is never available.
    ///
    /// # Errors
    /// How long to wait until `n` are available.
    pub fn take(&self, key: &K, n: usize) -> Result<(), Duration> {
        let Some(n) = NonZeroU32::new(u32::try_from(n).unwrap_or(u32::MAX)) else { return Ok(()) };
        if self.rates.clock().is_time_to_sweep(self.rates.len()) {
            self.rates.retain_recent();
        }
        match self.rates.check_key_n(key, n) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(until.wait_time_from(self.rates.clock().now())),
            Err(_) => Err(self.rate.period().saturating_mul(n.get())),
        }
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// When each key has its full allowance again. Keys without room of their own share the entry `None`.
#[derive(Clone)]
struct Kept<K>(Arc<Mutex<HashMap<Option<K>, Nanos>>>);

impl<K: Clone + Eq + Hash> Kept<K> {
    fn full_at(&self, key: &K) -> Option<Nanos> {
        let kept = lock(&self.0);
        let shared = || (kept.len() >= MAX_KEYS).then(|| kept.get(&None)).flatten();
        kept.get(&Some(key.clone())).or_else(shared).copied()
    }
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> StateStore for Kept<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut kept = lock(&self.0);
        let own = Some(key.clone());
        let key = if kept.len() < MAX_KEYS || kept.contains_key(&own) { own } else { None };
        let (taken, full_at) = decide(kept.get(&key).copied())?;
        kept.insert(key, full_at);
        Ok(taken)
    }
}

impl<K: Clone + Eq + Hash> ShrinkableKeyedStateStore<K> for Kept<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        lock(&self.0).retain(|_, full_at| *full_at > drop_below);
    }

    fn len(&self) -> usize {
        lock(&self.0).len()
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// Elapsed time on a clock that may be set back; then it stands still.
#[derive(Clone, Debug)]
struct Ticks {
    clock: Arc<dyn Clock>,
    passed: Arc<Mutex<Passed>>,
}

#[derive(Debug)]
struct Passed {
    seen: Timestamp,
    since_start: Duration,
    swept: Duration,
}

impl Ticks {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let passed = Passed { seen: clock.now(), since_start: Duration::ZERO, swept: Duration::ZERO };
        Self { clock, passed: Arc::new(Mutex::new(passed)) }
    }

    fn is_time_to_sweep(&self, keys: usize) -> bool {
        if keys < MAX_KEYS {
            return false;
        }
        let now = self.now();
        let mut passed = lock(&self.passed);
        let due = now >= passed.swept + SWEEP;
        if due {
            passed.swept = now;
        }
        due
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let now = self.clock.now();
        let mut passed = lock(&self.passed);
        let since = Duration::try_from(now.duration_since(passed.seen)).unwrap_or_default();
        passed.since_start += since;
        passed.seen = now;
        passed.since_start
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use shared::clock::FixedClock;

    use super::*;

    fn limiter(burst: u32, per_hour: u32) -> (Limiter<u32>, Arc<FixedClock>) {
        let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
        (Limiter::new(Rate::new(burst, per_hour), clock.clone()), clock)
    }

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn a_source_is_a_network_and_does_not_show() {
        assert_eq!(source("192.0.2.1"), source("192.0.2.254"));
        assert_ne!(source("192.0.2.1"), source("192.0.3.1"));
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:ffff::"));
        assert_ne!(source("2001:db8:1::"), source("2001:db8:2::"));
        assert_eq!(source("::ffff:192.0.2.9"), source("192.0.2.1"), "the same address in IPv6");
        assert_eq!(format!("{:?}", source("192.0.2.1")), "Source[redacted]");
    }

    #[test]
    fn what_was_taken_comes_back_evenly() {
        let (limiter, clock) = limiter(3, 60);
        assert_eq!(limiter.take(&1, 2), Ok(()));
        assert_eq!(limiter.take(&1, 2), Err(Duration::from_secs(60)), "one is left");
        assert_eq!(limiter.take(&2, 3), Ok(()), "others have their own");
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!(limiter.take(&1, 2), Ok(()));
        clock.advance(SignedDuration::from_hours(5));
        assert_eq!(limiter.take(&1, 3), Ok(()));
        assert!(limiter.take(&1, 1).is_err(), "never more than the burst");
    }

    #[test]
    fn who_looks_takes_nothing_and_is_told_as_who_takes() {
        let (limiter, clock) = limiter(3, 60);
        for _ in 0..10 {
            assert_eq!(limiter.peek(&1), Ok(()));
        }
        assert_eq!(limiter.take(&1, 2), Ok(()));
        assert_eq!(limiter.peek(&1), Ok(()), "one is left");
        assert_eq!(limiter.take(&1, 1), Ok(()));
        assert_eq!(limiter.peek(&1), Err(Duration::from_secs(60)));
        assert_eq!(limiter.peek(&2), Ok(()), "others have their own");
        clock.advance(SignedDuration::from_secs(59));
        assert_eq!(limiter.peek(&1), Err(Duration::from_secs(1)));
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(limiter.peek(&1), Ok(()));
    }

    #[test]
    fn more_than_the_burst_is_never_there() {
        let (limiter, _) = limiter(3, 60);
        assert_eq!(limiter.take(&1, 4), Err(Duration::from_secs(240)));
        assert_eq!(limiter.take(&1, 3), Ok(()), "and takes nothing");
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_and_takes_nothing_away() {
        let (limiter, clock) = limiter(1, 60);
        assert_eq!(limiter.take(&1, 1), Ok(()));
        clock.advance(SignedDuration::from_hours(-3));
        assert!(limiter.take(&1, 1).is_err());
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!(limiter.take(&1, 1), Ok(()), "and not only three hours later");
    }

    #[test]
    fn memory_is_bounded_and_who_comes_last_shares() {
        let (limiter, clock) = limiter(2, 60);
        let many = u32::try_from(MAX_KEYS).unwrap();
        for key in 0..many {
            assert_eq!(limiter.take(&key, 2), Ok(()));
        }
        assert_eq!(limiter.take(&many, 2), Ok(()));
        assert!(limiter.take(&(many + 1), 1).is_err(), "there is one allowance for all of them");
        assert!(limiter.take(&7, 1).is_err(), "who was there before is still known");
        assert_eq!(limiter.rates.len(), MAX_KEYS + 1);
        clock.advance(SignedDuration::from_mins(10));
        assert_eq!(limiter.take(&(many + 1), 2), Ok(()));
        assert_eq!(limiter.rates.len(), 1, "who has everything again is forgotten");
    }

    proptest! {
        /// In any sequence of requests, a key gets no more than the burst plus the refill since the start.
        #[test]
        fn nobody_takes_more_than_the_burst_and_what_comes_back(
            burst in 1_u32..50,
            per_hour in 1_u32..5_000,
            asked in prop::collection::vec((0_i64..600, 1_usize..20), 1..200),
        ) {
            let (limiter, clock) = limiter(burst, per_hour);
            let (mut taken, mut seconds) = (0_u64, 0_u64);
            for (wait, n) in asked {
                clock.advance(SignedDuration::from_secs(wait));
                seconds += u64::try_from(wait).unwrap();
                if limiter.take(&1, n).is_ok() {
                    taken += n as u64;
                }
                prop_assert!(taken <= u64::from(burst) + seconds * u64::from(per_hour) / 3_600 + 1);
            }
        }

        /// A request succeeds after the wait that the limiter named.
        #[test]
        fn who_waits_as_told_is_served(burst in 1_u32..50, per_hour in 1_u32..5_000, n in 1_usize..60) {
            let n = n.min(burst as usize);
            let (limiter, clock) = limiter(burst, per_hour);
            limiter.take(&1, burst as usize).unwrap();
            let wait = limiter.take(&1, n).unwrap_err();
            clock.advance(SignedDuration::try_from(wait).unwrap());
            prop_assert_eq!(limiter.take(&1, n), Ok(()));
        }
    }
}
