//! When open windows are merged and domains written. Pure.

use std::time::{Duration, Instant};

use super::merge::Which;

/// How often open windows are merged, and domains written. Neither follows a report directly.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// How often to look for windows that need an early merge, and to retry what was postponed.
const LOOK: Duration = Duration::from_secs(60);

/// When each task is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timetable {
    merge_at: Instant,
    look_at: Instant,
    domains_at: Instant,
}

impl Timetable {
    /// The timetable of an instance that starts. Nothing is due at once, so that the first reports are merged
    /// together, and the first domains written together. Domains are not written at the time of a merge:
    /// nothing should link the two.
    pub(super) fn from(start: Instant) -> Self {
        Self {
            merge_at: start + INTERVAL,
            look_at: start + LOOK,
            domains_at: start + INTERVAL + INTERVAL / 2,
        }
    }

    /// Which windows to merge now, if any.
    pub(super) fn merge_is_due(&self, now: Instant) -> Option<Which> {
        match now {
            now if now >= self.merge_at => Some(Which::All),
            now if now >= self.look_at => Some(Which::Large),
            _ => None,
        }
    }

    /// Notes a merge. If it was not complete, the rest is due again soon.
    pub(super) fn merged(&mut self, which: Which, complete: bool, now: Instant) {
        self.look_at = now + LOOK;
        if which == Which::All {
            self.merge_at = now + if complete { INTERVAL } else { LOOK };
        }
    }

    /// Whether to write domains now. If so, they are due again an interval later.
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
