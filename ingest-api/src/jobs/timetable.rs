//! When open windows are merged and domains written. Pure.

use std::time::{Duration, Instant};

use super::merge::Which;

/// How often open windows are merged, and domains written: not in the wake of a report.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// How often it is looked whether so much has come to a window that it is merged sooner, and tried again what was put off.
const LOOK: Duration = Duration::from_secs(60);

/// What is due when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timetable {
    merge_at: Instant,
    look_at: Instant,
    domains_at: Instant,
}

impl Timetable {
    /// Of an instance that starts. Nothing is due at once, so that the first reports are merged, and their domains written,
    /// together; and domains are not written when windows are merged, so that nothing seems to belong to them.
    pub(super) fn from(start: Instant) -> Self {
        Self {
            merge_at: start + INTERVAL,
            look_at: start + LOOK,
            domains_at: start + INTERVAL + INTERVAL / 2,
        }
    }

    /// Which windows are to be merged, if any.
    pub(super) fn merge_is_due(&self, now: Instant) -> Option<Which> {
        match now {
            now if now >= self.merge_at => Some(Which::All),
            now if now >= self.look_at => Some(Which::Large),
            _ => None,
        }
    }

    /// That they have been merged; or not all of them, and the others are tried again soon.
    pub(super) fn merged(&mut self, which: Which, complete: bool, now: Instant) {
        self.look_at = now + LOOK;
        if which == Which::All {
            self.merge_at = now + if complete { INTERVAL } else { LOOK };
        }
    }

    /// Whether domains are to be written; they are then due again an interval later.
    pub(super) fn domains_are_due(&mut self, now: Instant) -> bool {
        let due = now >= self.domains_at;
        if due {
            self.domains_at = now + INTERVAL;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_merged_each_hour_and_looked_at_each_minute_and_domains_come_half_an_hour_later() {
        let start = Instant::now();
        let mut timetable = Timetable::from(start);
        let (mut merges, mut looks, mut domains) = (Vec::new(), 0, Vec::new());
        for minute in 0..=240 {
            let now = start + Duration::from_secs(60 * minute);
            match timetable.merge_is_due(now) {
                Some(Which::All) => merges.push(minute),
                Some(Which::Large) => looks += 1,
                None => {}
            }
            if let Some(which) = timetable.merge_is_due(now) {
                timetable.merged(which, true, now);
            }
            domains.extend(timetable.domains_are_due(now).then_some(minute));
        }
        assert_eq!((merges, looks, domains), (vec![60, 120, 180, 240], 236, vec![90, 150, 210]));
    }

    #[test]
    fn a_merge_that_was_put_off_is_tried_again_a_minute_later() {
        let start = Instant::now();
        let mut timetable = Timetable::from(start);
        let hour = start + INTERVAL;
        assert_eq!(timetable.merge_is_due(hour), Some(Which::All));
        timetable.merged(Which::All, false, hour);
        assert_eq!(timetable.merge_is_due(hour), None);
        assert_eq!(timetable.merge_is_due(hour + LOOK), Some(Which::All));
    }
}
