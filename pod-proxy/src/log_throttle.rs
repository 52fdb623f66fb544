//! A fault that lasts → whether to log it now: when it begins, and then once an hour.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a fault stays silent after it was logged.
const SILENCE: Duration = Duration::from_secs(3_600);

/// When each kind of fault was last logged.
#[derive(Debug)]
pub(crate) struct LogThrottle<K>(Mutex<BTreeMap<K, Instant>>);

impl<K> Default for LogThrottle<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> LogThrottle<K> {
    /// Whether to log a fault of this kind now. If so, it counts as logged.
    pub(crate) fn admit(&self, kind: K, now: Instant) -> bool {
        let mut logged = self.0.lock();
        let admitted = logged.get(&kind).is_none_or(|at| now.saturating_duration_since(*at) >= SILENCE);
        if admitted {
            logged.insert(kind, now);
        }
        admitted
    }

    /// The faults are over: the next one is logged at once.
    pub(crate) fn reset(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_logged_when_it_begins_and_then_once_an_hour() {
        let throttle = LogThrottle::default();
        let start = Instant::now();
        let check = |kind: &'static str, minutes: u64, expected: bool| {
            let now = start + Duration::from_secs(minutes * 60);
            assert_eq!(throttle.admit(kind, now), expected, "{kind} after {minutes} minutes");
        };
        check("disk full", 0, true);
        check("disk full", 59, false);
        check("another", 59, true);
        check("disk full", 60, true);
        check("disk full", 61, false);
        check("another", 118, false);
        throttle.reset();
        assert!(throttle.admit("disk full", start + Duration::from_secs(61 * 60)));
    }
}
