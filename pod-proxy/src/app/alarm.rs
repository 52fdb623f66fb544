//! What is due, worked out anew at each look at the clock → naps that a clock which is set cannot prolong. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// The longest sleep without a look at the clock, which may have been set or stood still.
const LONGEST_NAP: Duration = Duration::from_secs(900);

/// A wait for something that is due so long after a moment.
#[derive(Debug)]
pub(super) struct Alarm {
    /// The moment, or where the clock was set back to since.
    from: Timestamp,
}

impl Alarm {
    /// A wait that begins `now`.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { from: now }
    }

    /// When what is due after the moment is due.
    pub(super) fn due(&self, due: impl FnOnce(Timestamp) -> Timestamp) -> Timestamp {
        due(self.from)
    }

    /// How long to sleep until the next look at the clock; `None` if what is due after the moment is due `now`. A
    /// clock that was set back is waited for from where it is now.
    pub(super) fn nap(
        &mut self,
        now: Timestamp,
        due: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Option<Duration> {
        self.from = self.from.min(now);
        let left = Duration::try_from(due(self.from).duration_since(now)).ok()?;
        (!left.is_zero()).then(|| left.min(LONGEST_NAP))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use shared::clock::{Clock, FixedClock};
    use shared::pseudonym::Salt;

    use super::*;
    use crate::forward::schedule::{self, Phase};

    const HOUR: Duration = Duration::from_secs(3_600);
    const START: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Waits for the next flush from [`START`] on. The clock goes by as it is slept, and in each nap it jumps by so
    /// many seconds as `jumps` says, until there are no more. How long was slept in all, and after the last jump.
    fn sleep_through(interval: Duration, jumps: &[i64]) -> (Duration, Duration) {
        let clock = FixedClock::new(at(START));
        let phase = Phase::of_flush(&Salt::from_bytes(&[7; Salt::LEN]).unwrap());
        let mut jumps = jumps.iter();
        let (mut slept, mut undisturbed) = (Duration::ZERO, Duration::ZERO);
        let mut alarm = Alarm::new(clock.now());
        while let Some(nap) = alarm.nap(clock.now(), |from| schedule::next_flush(from, interval, phase)) {
            slept += nap;
            undisturbed += nap;
            clock.advance(SignedDuration::try_from(nap).unwrap());
            if let Some(jump) = jumps.next() {
                clock.advance(SignedDuration::from_secs(*jump));
                undisturbed = Duration::ZERO;
            }
        }
        (slept, undisturbed)
    }

    #[test]
    fn a_nap_is_bounded_and_there_is_none_when_it_is_due() {
        let check = |due: i64, expected: Option<u64>| {
            let nap = Alarm::new(at(START)).nap(at(START), |_| at(due));
            assert_eq!(nap, expected.map(Duration::from_secs), "{due}");
        };
        check(START + 1, Some(1));
        check(START + 900, Some(900));
        check(START + 86_400, Some(900));
        check(START, None);
        check(START - 1, None);
        let nap = Alarm::new(Timestamp::MIN).nap(Timestamp::MIN, |_| Timestamp::MAX);
        assert_eq!(nap, Some(LONGEST_NAP));
    }

    #[test]
    fn a_clock_that_was_set_prolongs_no_wait_by_more_than_a_nap() {
        const YEAR: i64 = 31_536_000;
        let (undisturbed, _) = sleep_through(HOUR, &[]);
        assert!(undisturbed <= HOUR);
        for jumps in [&[-YEAR][..], &[-1], &[YEAR], &[YEAR, -YEAR], &[-10 * YEAR, 10 * YEAR], &[-60; 20]] {
            let (slept, after) = sleep_through(HOUR, jumps);
            assert!(after <= HOUR, "{jumps:?}: {after:?} after the last jump");
            let naps = u32::try_from(jumps.len()).unwrap() * LONGEST_NAP;
            assert!(slept <= HOUR + naps, "{jumps:?}: {slept:?}");
        }
    }

    proptest! {
        #[test]
        fn however_the_clock_jumps_an_interval_after_the_last_jump_it_is_due(
            seconds in 1_u64..700_000, jumps in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 0..8),
        ) {
            let interval = Duration::from_secs(seconds);
            prop_assert!(sleep_through(interval, &jumps).1 <= interval);
        }
    }
}
