//! The distinct reporters of a cell: how many each Pod has.

/// A set of distinct reporters, as a count for each Pod.
///
/// The reporters are installations, or Pods themselves, one per Pod. While a window is counted, a number
/// stands for each Pod: there may be millions of entries of eight bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cohort {
    /// Pod and count, sorted by Pod; no count is zero.
    by_pod: Vec<(u32, u32)>,
}

impl Cohort {
    /// A cohort of these reporters. A Pod may occur more than once.
    pub fn new(mut by_pod: Vec<(u32, u32)>) -> Self {
        // The stable sort is fast here, because the input is mostly a few sorted cohorts in a row.
        by_pod.sort_by_key(|(pod, _)| *pod);
        by_pod.dedup_by(|(pod, n), (kept, sum)| {
            let same = pod == kept;
            *sum = sum.saturating_add(if same { *n } else { 0 });
            same
        });
        by_pod.retain(|(_, n)| *n > 0);
        Self { by_pod }
    }

    /// All reporters of two cohorts that have none in common.
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

    /// Each Pod and its count.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.by_pod.iter().copied()
    }

    /// The number of reporters.
    pub fn size(&self) -> u64 {
        self.by_pod.iter().map(|(_, n)| u64::from(*n)).sum()
    }

    /// The number of Pods that they come from.
    pub fn pods(&self) -> u64 {
        self.by_pod.len() as u64
    }

    /// The number of reporters of the largest Pod.
    pub fn largest(&self) -> u64 {
        self.by_pod.iter().map(|(_, n)| u64::from(*n)).max().unwrap_or(0)
    }

    /// Whether it has no reporter.
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
