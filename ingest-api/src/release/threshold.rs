//! The threshold: what makes a cohort safe to publish, and how far from unsafe it is.

use super::cohort::Cohort;

/// How many reporters a cohort needs before anything about it is published.
///
/// A cohort of installations is *safe* if it has at least [`installations`](Self::installations), from at
/// least [`pods`](Self::pods) Pods, and at least [`without_largest`](Self::without_largest) outside the
/// largest Pod. So the operator of the largest Pod, who can subtract its installations, still faces a group.
/// A cohort of Pods is safe from [`pod_count`](Self::pod_count) on. Direct clients have no Pod; their XMPP
/// server takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    installations: u32,
    pods: u32,
    without_largest: u32,
    pod_count: u32,
    /// Whether noise is added where installations are counted.
    noisy: bool,
}

/// Which of the two rules applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The cohort holds installations.
    Installations,
    /// The cohort holds Pods, one reporter each.
    Pods,
}

impl Default for Threshold {
    /// The floor.
    fn default() -> Self {
        Self::FLOOR
    }
}

/// A threshold was set below its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at least {floor}: smaller cohorts could give somebody away, and the floor is compiled in")]
pub struct UnderFloor {
    /// The lowest allowed value.
    pub floor: u32,
}

impl Threshold {
    /// The lowest threshold: 20 installations from 5 Pods, 10 of them outside the largest; 5 Pods. It can only
    /// be raised.
    pub const FLOOR: Self =
        Self { installations: 20, pods: 5, without_largest: 10, pod_count: 5, noisy: true };

    /// No threshold and no noise: anything may be published. For tests that show what an attack finds without
    /// a defence. No configuration leads here, and `clippy.toml` rejects every call that does not give a
    /// reason.
    #[doc(hidden)]
    pub fn absent() -> Self {
        Self { installations: 1, pods: 1, without_largest: 0, pod_count: 1, noisy: false }
    }

    /// The same threshold, compared exactly, with exact counts. For the same tests, and rejected by
    /// `clippy.toml` as well.
    #[doc(hidden)]
    pub fn exact(self) -> Self {
        Self { noisy: false, ..self }
    }

    /// Whether noise is added where installations are counted.
    pub fn is_noisy(&self) -> bool {
        self.noisy
    }

    /// With another minimum of installations.
    ///
    /// # Errors
    /// If it is below the floor; likewise the methods below.
    pub fn with_installations(self, installations: u32) -> Result<Self, UnderFloor> {
        Ok(Self { installations: at_least(installations, Self::FLOOR.installations)?, ..self })
    }

    /// With another minimum of Pods for installations.
    pub fn with_pods(self, pods: u32) -> Result<Self, UnderFloor> {
        Ok(Self { pods: at_least(pods, Self::FLOOR.pods)?, ..self })
    }

    /// With another minimum of installations outside the largest Pod.
    pub fn with_without_largest(self, without_largest: u32) -> Result<Self, UnderFloor> {
        Ok(Self { without_largest: at_least(without_largest, Self::FLOOR.without_largest)?, ..self })
    }

    /// With another minimum of Pods, where Pods are counted.
    pub fn with_pod_count(self, pod_count: u32) -> Result<Self, UnderFloor> {
        Ok(Self { pod_count: at_least(pod_count, Self::FLOOR.pod_count)?, ..self })
    }

    /// The minimum of installations, where installations are counted.
    pub fn installations(&self) -> u32 {
        self.installations
    }

    /// The minimum of Pods that installations come from.
    pub fn pods(&self) -> u32 {
        self.pods
    }

    /// The minimum of installations outside the largest Pod.
    pub fn without_largest(&self) -> u32 {
        self.without_largest
    }

    /// The minimum of Pods, where Pods are counted.
    pub fn pod_count(&self) -> u32 {
        self.pod_count
    }

    /// Whether numbers about this cohort may be published at all.
    pub fn safe(&self, rule: Rule, cohort: &Cohort) -> bool {
        self.margin(rule, cohort) > 0
    }

    /// How many reporters would have to leave before the cohort is unsafe; 0 if it is.
    ///
    /// One reporter more or fewer changes it by at most one: this is the *sensitivity* of every decision. No
    /// other number with that sensitivity says of more cohorts that they are safe.
    pub fn margin(&self, rule: Rule, cohort: &Cohort) -> u64 {
        // How many there are beyond the most that would be unsafe.
        let beyond = |n: u64, least: u32| (n + 1).saturating_sub(u64::from(least));
        match rule {
            Rule::Installations => {
                // With one Pod fewer than needed, the most installations remain if the largest stay.
                let stay = cohort.of_largest(self.pods.saturating_sub(1));
                beyond(cohort.size(), self.installations)
                    .min(cohort.size() - stay)
                    .min(beyond(cohort.size() - cohort.of_largest(1), self.without_largest))
            }
            Rule::Pods => beyond(cohort.pods(), self.pod_count),
        }
    }
}

fn at_least(value: u32, floor: u32) -> Result<u32, UnderFloor> {
    if value >= floor { Ok(value) } else { Err(UnderFloor { floor }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cohort(by_pod: &[u32]) -> Cohort {
        Cohort::new(by_pod.iter().enumerate().map(|(pod, n)| (pod as u32, *n)).collect())
    }

    #[track_caller]
    fn check(by_pod: &[u32], margin: u64) {
        let cohort = cohort(by_pod);
        assert_eq!(Threshold::default().margin(Rule::Installations, &cohort), margin, "{by_pod:?}");
        assert_eq!(Threshold::default().safe(Rule::Installations, &cohort), margin > 0, "{by_pod:?}");
    }

    #[test]
    fn a_cohort_of_installations_is_safe_if_it_is_large_spread_and_not_one_companys() {
        check(&[4, 4, 4, 4, 4], 1);
        check(&[4, 4, 4, 4, 3], 0);
        check(&[5, 5, 5, 5], 0);
        check(&[100, 4, 3, 2, 1], 1);
        check(&[100, 4, 3, 1, 1], 0);
        check(&[100, 9, 8, 7, 6], 6);
        check(&[1; 30], 11);
        check(&[], 0);
    }

    #[test]
    fn a_cohort_of_pods_is_safe_from_five_on() {
        let margin = |n: usize| Threshold::default().margin(Rule::Pods, &cohort(&vec![1; n]));
        assert_eq!((margin(4), margin(5), margin(9)), (0, 1, 5));
    }

    #[test]
    fn nothing_under_a_floor_is_taken() {
        let floor = |result: Result<Threshold, UnderFloor>| result.unwrap_err().floor;
        assert_eq!(floor(Threshold::default().with_installations(19)), 20);
        assert_eq!(floor(Threshold::default().with_pods(4)), 5);
        assert_eq!(floor(Threshold::default().with_without_largest(9)), 10);
        assert_eq!(floor(Threshold::default().with_pod_count(0)), 5);
        assert!(Threshold::default().with_installations(20).is_ok());
    }

    fn any_cohort() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(1..12u32, 0..9)
    }

    /// The fewest that have to leave, found by trying.
    fn fewest(threshold: &Threshold, by_pod: &[u32]) -> u64 {
        let is_safe = |by_pod: &[u32]| {
            let (size, largest) = (by_pod.iter().sum::<u32>(), by_pod.iter().max().copied().unwrap_or(0));
            let pods = by_pod.iter().filter(|n| **n > 0).count() as u32;
            size >= threshold.installations
                && pods >= threshold.pods
                && size - largest >= threshold.without_largest
        };
        let mut worlds = std::collections::BTreeSet::from([by_pod.to_vec()]);
        for left in 0.. {
            if worlds.iter().any(|world| !is_safe(world)) {
                return left;
            }
            worlds = worlds
                .iter()
                .flat_map(|world| {
                    (0..world.len()).filter(|pod| world[*pod] > 0).map(|pod| {
                        let mut next = world.clone();
                        next[pod] -= 1;
                        next.sort_unstable();
                        next
                    })
                })
                .collect();
        }
        unreachable!("a cohort of nobody is unsafe")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The sensitivity.
        #[test]
        fn one_installation_more_changes_the_margin_by_one_at_most(by_pod in any_cohort(), pod in 0..9usize) {
            let mut more = by_pod.clone();
            more.resize(by_pod.len().max(pod + 1), 0);
            more[pod] += 1;
            for rule in [Rule::Installations, Rule::Pods] {
                let margin = |by_pod: &[u32]| Threshold::default().margin(rule, &cohort(by_pod));
                prop_assert!((margin(&by_pod)..=margin(&by_pod) + 1).contains(&margin(&more)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_margin_is_how_many_have_to_leave(by_pod in prop::collection::vec(1..6u32, 0..7)) {
            let threshold = Threshold { installations: 9, pods: 3, without_largest: 5, ..Threshold::FLOOR };
            prop_assert_eq!(threshold.margin(Rule::Installations, &cohort(&by_pod)), fewest(&threshold, &by_pod));
        }
    }
}
