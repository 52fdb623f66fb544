//! Failures in a row → how long to wait before the next attempt. Pure.

use std::time::Duration;

/// The first wait after a failure, before jitter.
const FIRST: Duration = Duration::from_secs(1);

/// Any time up to a bound that doubles with each failure
/// ([full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)), so that Pods that
/// failed together do not come back together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    /// How long to wait after one more failure. `jitter` is between 0 and 1. `retry_after` is waited for in any case,
    /// and `longest` bounds what is added to it.
    pub fn next(&mut self, longest: Duration, jitter: f64, retry_after: Option<Duration>) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        retry_after.unwrap_or_default() + bound.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// The longest wait between two attempts without a `Retry-After`: an interval, but at least four seconds, to spare a
/// vendor that is down, and at most an hour.
pub fn longest_backoff(flush_interval: Duration) -> Duration {
    flush_interval.clamp(Duration::from_secs(4), Duration::from_secs(3_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound_and_never_undercuts_what_was_asked() {
        let longest = Duration::from_secs(60);
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(longest, 1.0, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert!(backoff.next(longest, 0.5, None) == longest / 2);
        }
        assert_eq!(backoff.next(longest, 0.0, Some(longest * 9)), longest * 9);
    }
}
