//! What is stored and what arrives → whether there is room for it. Pure.

use std::time::Duration;

/// How much may wait for the vendor, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolBounds {
    /// Bytes of all entries together. The file is larger, by about half and at least a mebibyte.
    pub max_bytes: u64,
    /// There is one entry for each installation that has something to report.
    pub max_entries: u64,
    /// Older entries are discarded. Counted in whole days, because no time of day is stored.
    pub max_age: Duration,
}

/// How much a spool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Usage {
    /// After an entry of so many bytes was added, or took the place of one of `replaced` bytes.
    pub(super) fn with(self, bytes: u64, replaced: Option<u64>) -> Self {
        let usage = replaced.map_or(self, |replaced| self.without(replaced));
        Self { entries: usage.entries + 1, bytes: usage.bytes + bytes }
    }

    /// After so many bytes were added to an entry as pending, or took the place of `replaced` pending bytes.
    pub(super) fn with_pending(self, bytes: u64, replaced: Option<u64>) -> Self {
        Self { bytes: (self.bytes + bytes).saturating_sub(replaced.unwrap_or(0)), ..self }
    }

    /// After an entry of so many bytes was removed.
    pub(super) fn without(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// Whether `next` may follow. What does not grow always may.
    pub(super) fn may_become(self, next: Self, bounds: SpoolBounds) -> bool {
        let fits = |now: u64, next: u64, max: u64| next <= max || next <= now;
        fits(self.entries, next.entries, bounds.max_entries) && fits(self.bytes, next.bytes, bounds.max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_up_to_the_bounds_and_always_for_what_does_not_grow() {
        let bounds = SpoolBounds { max_bytes: 100, max_entries: 2, max_age: Duration::ZERO };
        let empty = Usage::default();
        let one = empty.with(60, None);
        assert!(empty.may_become(one, bounds));
        assert!(one.may_become(one.with(40, None), bounds));
        assert!(!one.may_become(one.with(41, None), bounds));
        let full = one.with(40, None);
        assert!(!full.may_become(full.with(0, None), bounds));
        assert!(full.may_become(full.with(40, Some(40)), bounds));
        assert!(!full.may_become(full.with(41, Some(40)), bounds));
        let tighter = SpoolBounds { max_bytes: 10, max_entries: 1, ..bounds };
        assert!(full.may_become(full.with(40, Some(40)), tighter));
        assert_eq!(full.without(40), one);
        assert_eq!(empty.without(1), empty);
    }
}
