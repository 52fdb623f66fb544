//! A moment → when the Pod next sends or reports. Pure, and independent of when the process started or events arrived.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::pseudonym::{Salt, UserHash};

const DAY: Duration = Duration::from_secs(86_400);

/// The Pod's own point within each interval, so that not all Pods send at the same moment. It is derived from the
/// salt, so that it does not tell which Pod is sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phase(u64);

impl Phase {
    pub fn of_flush(salt: &Salt) -> Self {
        Self::of(salt, "flush")
    }

    pub fn of_report(salt: &Salt) -> Self {
        Self::of(salt, "report")
    }

    /// The jitter of the wait after so many failures in a row, between 0 and 1. It comes from the salt, so that the time
    /// of the next attempt depends on the vendor's answers alone.
    pub fn of_wait(salt: &Salt, failures: u32) -> f64 {
        let Self(drawn) = Self::of(salt, &format!("wait {failures}"));
        // 32 bits are enough for a fraction of an hour.
        f64::from(u32::try_from(drawn >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    fn of(salt: &Salt, purpose: &str) -> Self {
        // No full JID has an empty username, so this is not a pseudonym of anybody.
        let digest = salt.apply(UserHash::of_device("", purpose, ""));
        Self(u64::from_be_bytes(*digest.as_bytes()))
    }

    /// How far into an interval it is.
    fn within(self, interval: Duration) -> i128 {
        let nanoseconds = (interval.as_nanos() * u128::from(self.0)) >> 64;
        i128::try_from(nanoseconds).unwrap_or(0)
    }
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phase[redacted]")
    }
}

/// The next moment after `now` at which to send. The intervals are counted from 1970.
pub fn next_flush(now: Timestamp, interval: Duration, phase: Phase) -> Timestamp {
    next(now, interval, phase)
}

/// The next moment after `now` at which the Pod reports about itself.
pub fn next_report(now: Timestamp, phase: Phase) -> Timestamp {
    next(now, DAY, phase)
}

fn next(now: Timestamp, interval: Duration, phase: Phase) -> Timestamp {
    let length = i128::try_from(interval.as_nanos()).unwrap_or(i128::MAX).max(1);
    let offset = phase.within(interval);
    let passed = (now.as_nanosecond() - offset).div_euclid(length);
    Timestamp::from_nanosecond((passed + 1) * length + offset).unwrap_or(Timestamp::MAX)
}

/// The UTC day, counted since 1970.
pub fn day(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().div_euclid(86_400)).unwrap_or(0)
}

pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_flush_is_at_the_pods_own_point_of_the_interval() {
        let half_past = Phase(1 << 63);
        let check = |now: &str, expected: &str| {
            assert_eq!(next_flush(at(now), HOUR, half_past), at(expected), "{now}");
        };
        check("2026-03-01T10:00:00Z", "2026-03-01T10:30:00Z");
        check("2026-03-01T10:29:59.9Z", "2026-03-01T10:30:00Z");
        check("2026-03-01T10:30:00Z", "2026-03-01T11:30:00Z");
        assert_eq!(next_report(at("2026-03-01T10:00:00Z"), half_past), at("2026-03-01T12:00:00Z"));
    }

    #[test]
    fn two_salts_have_two_phases_and_one_salt_has_always_the_same() {
        let salt = |byte| Salt::from_bytes(&[byte; Salt::LEN]).unwrap();
        assert_eq!(Phase::of_flush(&salt(1)), Phase::of_flush(&salt(1)));
        assert_ne!(Phase::of_flush(&salt(1)), Phase::of_flush(&salt(2)));
        assert_ne!(Phase::of_flush(&salt(1)), Phase::of_report(&salt(1)));
        let waits = |byte| [0, 1, 2].map(|failures| Phase::of_wait(&salt(byte), failures));
        assert_eq!(waits(1), waits(1));
        assert!(waits(1).iter().all(|wait| !waits(2).contains(wait) && (0.0..=1.0).contains(wait)));
        assert!(waits(1)[0] != waits(1)[1] && waits(1)[1] != waits(1)[2]);
    }

    #[test]
    fn days_are_counted_since_1970() {
        assert_eq!(day(at("1970-01-01T23:59:59Z")), 0);
        assert_eq!(day(at("1970-01-02T00:00:00Z")), 1);
        assert_eq!(day(at("1969-12-31T00:00:00Z")), 0);
    }

    proptest! {
        #[test]
        fn the_next_flush_is_later_by_at_most_an_interval_and_the_same_for_all_of_it(
            now in -1_000_000_000_i64..4_000_000_000, seconds in 1_u64..700_000, phase: u64, share in 0.0..1.0_f64,
        ) {
            let (now, interval) = (Timestamp::from_second(now).unwrap(), Duration::from_secs(seconds));
            let next = next_flush(now, interval, Phase(phase));
            let wait = next.duration_since(now);
            prop_assert!(wait > SignedDuration::ZERO && wait.unsigned_abs() <= interval);
            let between = after(now, wait.unsigned_abs().mul_f64(share));
            prop_assume!(between < next);
            prop_assert_eq!(next_flush(between, interval, Phase(phase)), next);
        }
    }
}
