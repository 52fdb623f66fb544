//! The distinct reporters of a cell: how many of them each Pod has.

/// A set of distinct reporters, as a number for each Pod.
///
/// What is counted are installations or, where each Pod has one, Pods. Pods go by numbers that stand for them while a window
/// is counted: there may be millions of entries, of eight bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cohort {
    /// Pod and how many reporters it has, sorted by Pod, none of them zero.
    by_pod: Vec<(u32, u32)>,
}

impl Cohort {
    /// The cohort with these reporters. A Pod may occur more than once.
    pub fn new(mut by_pod: Vec<(u32, u32)>) -> Self {
        // Stable, because that makes use of what is sorted already: mostly a few cohorts, one after the other.
        by_pod.sort_by_key(|(pod, _)| *pod);
        by_pod.dedup_by(|(pod, n), (kept, sum)| {
            let same = pod == kept;
            *sum = sum.saturating_add(if same { *n } else { 0 });
            same
        });
        by_pod.retain(|(_, n)| *n > 0);
        Self { by_pod }
    }

    /// The reporters of both; they have none in common.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut by_pod = Vec::with_capacity(self.by_pod.len() + other.by_pod.len());
        let (mut ours, mut theirs) =
            (self.by_pod.into_iter().peekable(), other.by_pod.into_iter().peekable());
        while let (Some((our_pod, _)), Some((their_pod, _))) = (ours.peek(), theirs.peek()) {
            let order = our_pod.cmp(their_pod);
            let our = if order.is_le() { ours.next() } else { None };
            let their = if order.is_ge() { theirs.next() } else { None };
            let n = our.map_or(0, |(_, n)| n).saturating_add(their.map_or(0, |(_, n)| n));
            by_pod.extend(our.or(their).map(|(pod, _)| (pod, n)));
        }
        by_pod.extend(ours.chain(theirs));
        Self { by_pod }
    }

    /// Each Pod, and how many reporters it has.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.by_pod.iter().copied()
    }

    /// How many reporters there are.
    pub fn size(&self) -> u64 {
        self.by_pod.iter().map(|(_, n)| u64::from(*n)).sum()
    }

    /// How many Pods they come from.
    pub fn pods(&self) -> u64 {
        self.by_pod.len() as u64
    }

    /// How many reporters the Pod with the most of them has.
    pub fn largest(&self) -> u64 {
        self.by_pod.iter().map(|(_, n)| u64::from(*n)).max().unwrap_or(0)
    }

    /// Whether there is nobody in it.
    pub fn is_empty(&self) -> bool {
        self.by_pod.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_union_has_the_reporters_of_both(
            a in prop::collection::vec((0..20u32, 0..9u32), 0..20),
            b in prop::collection::vec((0..20u32, 0..9u32), 0..20),
        ) {
            let union = Cohort::new(a.clone()).union(Cohort::new(b.clone()));
            prop_assert_eq!(union, Cohort::new([a, b].concat()));
        }
    }
}
