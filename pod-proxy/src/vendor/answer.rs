//! A status and `Retry-After` → what the vendor's answer means. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// The longest wait that a vendor may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// What became of a request to the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The vendor has every event, except those at these positions of the batch, which it will never take.
    Taken { rejected: Vec<usize> },
    /// The vendor does not have this route.
    NoSuchRoute,
    /// The batch is too large.
    TooLarge,
    /// The vendor will never take this.
    Refused,
    /// The vendor cannot take it now.
    Later {
        /// What happened, as a metric label.
        reason: &'static str,
        retry_after: Option<Duration>,
        /// Whether anything may have left the Pod.
        left: bool,
    },
}

impl Answer {
    /// What an answer with this status means.
    ///
    /// A redirection is not followed: it comes from a network with a login page or from a vendor that has moved, and
    /// neither has taken the event. 407 comes from a proxy in between and not from the vendor.
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Taken { rejected: Vec::new() },
            404 | 405 => Self::NoSuchRoute,
            413 => Self::TooLarge,
            429 => Self::Later { reason: "too_many_requests", retry_after, left: true },
            400..=499 if ![407, 408, 425].contains(&status) => Self::Refused,
            _ => Self::Later { reason: "vendor_failure", retry_after, left: true },
        }
    }

    /// The outcome as a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::NoSuchRoute => "no_such_route",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Later { reason, .. } => reason,
        }
    }
}

/// `Retry-After` ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)): seconds or a
/// date. Bounded, so that nobody can silence a Pod for good.
pub fn parse_retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = if header.bytes().all(|byte| byte.is_ascii_digit()) && !header.is_empty() {
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_becomes_of_what_was_sent() {
        let taken = || Answer::Taken { rejected: Vec::new() };
        let later = |reason| Answer::Later { reason, retry_after: None, left: true };
        for (status, expected) in [
            (200, taken()),
            (204, taken()),
            (301, later("vendor_failure")),
            (400, Answer::Refused),
            (404, Answer::NoSuchRoute),
            (405, Answer::NoSuchRoute),
            (407, later("vendor_failure")),
            (408, later("vendor_failure")),
            (413, Answer::TooLarge),
            (422, Answer::Refused),
            (425, later("vendor_failure")),
            (429, later("too_many_requests")),
            (500, later("vendor_failure")),
            (503, later("vendor_failure")),
            (599, later("vendor_failure")),
        ] {
            assert_eq!(Answer::of_status(status, None), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let check = |header: &str, expected: Option<u64>| {
            assert_eq!(parse_retry_after(header, now), expected.map(Duration::from_secs), "{header}");
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
}
