//! What is held + what would come → whether there is room for it. Pure.

use crate::config::SpoolBounds;

/// What a spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Entries.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Held {
    /// With an entry of so many bytes in place of one of `replaced` bytes, or beside the others.
    pub(super) fn with(self, bytes: u64, replaced: Option<u64>) -> Self {
        let held = replaced.map_or(self, |replaced| self.without(replaced));
        Self { entries: held.entries + 1, bytes: held.bytes + bytes }
    }

    /// With so many bytes beside an entry that is there, in place of `replaced` bytes there.
    pub(super) fn with_beside(self, bytes: u64, replaced: Option<u64>) -> Self {
        Self { bytes: (self.bytes + bytes).saturating_sub(replaced.unwrap_or(0)), ..self }
    }

    /// Without an entry of so many bytes.
    pub(super) fn without(self, bytes: u64) -> Self {
        Self { entries: self.entries.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// Whether `next` may follow. What does not grow may always.
    pub(super) fn may_become(self, next: Self, bounds: SpoolBounds) -> bool {
        let fits = |now: u64, next: u64, max: u64| next <= max || next <= now;
        fits(self.entries, next.entries, bounds.max_entries) && fits(self.bytes, next.bytes, bounds.max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn there_is_room_up_to_the_bounds_and_always_for_what_does_not_grow() {
        let bounds = SpoolBounds { max_bytes: 100, max_entries: 2, max_age: Duration::ZERO };
        let empty = Held::default();
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
