//! A fault that lasts → whether to say so again: when it begins or is another, and then at most once an hour.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a fault that was told of is not told of again.
const SILENCE: Duration = Duration::from_secs(3_600);

/// What was told of the faults of one place, by their kinds.
#[derive(Debug)]
pub(crate) struct Complaint<K>(Mutex<BTreeMap<K, Instant>>);

impl<K> Default for Complaint<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Complaint<K> {
    /// Whether a fault of this kind is to be told of now. If so, it has been told of.
    pub(crate) fn is_due(&self, kind: K, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.get(&kind).is_none_or(|at| now.saturating_duration_since(*at) >= SILENCE);
        if due {
            told.insert(kind, now);
        }
        due
    }

    /// All is well again: the next fault is a new one.
    pub(crate) fn settle(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_of_when_it_begins_and_then_once_an_hour() {
        let complaint = Complaint::default();
        let start = Instant::now();
        let check = |kind: &'static str, minutes: u64, expected: bool| {
            let now = start + Duration::from_secs(minutes * 60);
            assert_eq!(complaint.is_due(kind, now), expected, "{kind} after {minutes} minutes");
        };
        check("disk full", 0, true);
        check("disk full", 59, false);
        check("another", 59, true);
        check("disk full", 60, true);
        check("disk full", 61, false);
        check("another", 118, false);
        complaint.settle();
        assert!(complaint.is_due("disk full", start + Duration::from_secs(61 * 60)));
    }
}
