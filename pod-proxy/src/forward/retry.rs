//! What the vendor answered → settled, retry later, or discard; and how long later is. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// The first wait after a failure, before jitter.
const FIRST: Duration = Duration::from_secs(1);
/// The longest that a vendor may tell us to wait.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// What an answer means for what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The vendor has it.
    Settled,
    /// The vendor does not know this route.
    NoSuchRoute,
    /// It was too much at once.
    TooLarge,
    /// The vendor will not have it, now or later.
    Discard,
    /// The vendor cannot take it now.
    Later,
}

/// What a status means. A redirection is not followed: it is a network that wants to show a page, or a vendor who
/// has moved, and neither has the event. 407 comes from a proxy in between, and not from the vendor.
pub fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Settled,
        404 | 405 => Verdict::NoSuchRoute,
        413 => Verdict::TooLarge,
        407 | 408 | 425 | 429 => Verdict::Later,
        400..=499 => Verdict::Discard,
        _ => Verdict::Later,
    }
}

/// `Retry-After` ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)): seconds or a
/// date. Bounded, as nobody may silence a Pod for good.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = if header.bytes().all(|byte| byte.is_ascii_digit()) && !header.is_empty() {
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// How long to wait after failures in a row: any time up to a bound that doubles with each
/// ([full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)), so that Pods that
/// failed together do not come back together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How many failures there were in a row.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// How long to wait after one more failure. `jitter` is between 0 and 1; `asked` is what the vendor asked for
    /// and is waited for in any case; `longest` bounds the rest.
    pub fn next(&mut self, longest: Duration, jitter: f64, asked: Option<Duration>) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        asked.unwrap_or_default() + bound.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// The longest wait between two attempts where the vendor asks for none: an interval, but neither so short that it
/// is a burden to a vendor who is away, nor longer than an hour.
pub fn longest_backoff(flush_interval: Duration) -> Duration {
    flush_interval.clamp(Duration::from_secs(4), Duration::from_secs(3_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_becomes_of_what_was_sent() {
        for (status, expected) in [
            (200, Verdict::Settled),
            (204, Verdict::Settled),
            (301, Verdict::Later),
            (400, Verdict::Discard),
            (404, Verdict::NoSuchRoute),
            (405, Verdict::NoSuchRoute),
            (407, Verdict::Later),
            (408, Verdict::Later),
            (413, Verdict::TooLarge),
            (422, Verdict::Discard),
            (429, Verdict::Later),
            (500, Verdict::Later),
            (503, Verdict::Later),
            (599, Verdict::Later),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let check = |header: &str, expected: Option<u64>| {
            assert_eq!(retry_after(header, now), expected.map(Duration::from_secs), "{header}");
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("99999999999999999999999", Some(86_400));
        check("Sun, 01 Mar 2026 10:02:00 GMT", Some(120));
        check("Sun, 01 Mar 2026 09:00:00 GMT", Some(0));
        check("Sun, 01 Mar 2099 09:00:00 GMT", Some(86_400));
        check("", None);
        check("soon", None);
        check("-1", None);
    }

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
