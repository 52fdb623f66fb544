//! The threshold: what makes a cohort safe to publish.

use super::cohort::Cohort;

/// How many reporters a cohort needs before anything about it is published.
///
/// `safe(S)` for installations: at least [`installations`](Self::installations) of them, from at least
/// [`pods`](Self::pods) Pods, and at least [`without_largest`](Self::without_largest) outside the largest
/// Pod. So the operator of the largest Pod, who can subtract its installations, still faces a group. For
/// Pods: at least [`pod_count`](Self::pod_count). Direct clients have no Pod; their XMPP server takes its
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    installations: u32,
    pods: u32,
    without_largest: u32,
    pod_count: u32,
    /// Whether each pair of families is audited together.
    audited: bool,
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
    /// 20 installations from 5 Pods, 10 of them outside the largest; 5 Pods.
    fn default() -> Self {
        Self { installations: 20, pods: 5, without_largest: 10, pod_count: 5, audited: true }
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
    /// The lowest configurable threshold. Below it, a published number would describe a handful of
    /// installations.
    pub const FLOOR: Self =
        Self { installations: 11, pods: 3, without_largest: 5, pod_count: 3, audited: true };

    /// No threshold: anything may be published. For tests that show what an attack finds without a defence.
    /// No configuration leads here, and `clippy.toml` rejects every call that does not give a reason.
    #[doc(hidden)]
    pub fn absent() -> Self {
        Self { installations: 1, pods: 1, without_largest: 0, pod_count: 1, audited: true }
    }

    /// Folds every family alone, without the audit of pairs. For the same tests, and rejected by
    /// `clippy.toml` as well.
    #[doc(hidden)]
    pub fn unaudited() -> Self {
        Self { audited: false, ..Self::default() }
    }

    /// Whether each pair of families is audited together.
    pub fn is_audited(&self) -> bool {
        self.audited
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

    /// Whether numbers about this cohort may be published.
    pub fn safe(&self, rule: Rule, cohort: &Cohort) -> bool {
        match rule {
            Rule::Installations => {
                cohort.size() >= u64::from(self.installations)
                    && cohort.pods() >= u64::from(self.pods)
                    && cohort.size() - cohort.largest() >= u64::from(self.without_largest)
            }
            Rule::Pods => cohort.pods() >= u64::from(self.pod_count),
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

    #[track_caller]
    fn check(by_pod: &[u32], expected: bool) {
        let cohort = Cohort::new(by_pod.iter().enumerate().map(|(pod, n)| (pod as u32, *n)).collect());
        assert_eq!(Threshold::default().safe(Rule::Installations, &cohort), expected, "{by_pod:?}");
    }

    #[test]
    fn a_cohort_of_installations_is_safe_if_it_is_large_spread_and_not_one_companys() {
        check(&[4, 4, 4, 4, 4], true);
        check(&[4, 4, 4, 4, 3], false);
        check(&[5, 5, 5, 5], false);
        check(&[100, 4, 3, 2, 1], true);
        check(&[100, 4, 3, 1, 1], false);
        check(&[], false);
    }

    #[test]
    fn a_cohort_of_pods_is_safe_from_five_on() {
        let pods = |n: u32| Cohort::new((0..n).map(|pod| (pod, 1)).collect());
        assert!(!Threshold::default().safe(Rule::Pods, &pods(4)));
        assert!(Threshold::default().safe(Rule::Pods, &pods(5)));
    }

    #[test]
    fn nothing_under_a_floor_is_taken() {
        let floor = |result: Result<Threshold, UnderFloor>| result.unwrap_err().floor;
        assert_eq!(floor(Threshold::default().with_installations(10)), 11);
        assert_eq!(floor(Threshold::default().with_pods(2)), 3);
        assert_eq!(floor(Threshold::default().with_without_largest(4)), 5);
        assert_eq!(floor(Threshold::default().with_pod_count(0)), 3);
        assert!(Threshold::default().with_installations(11).is_ok());
    }

    fn any_cohort() -> impl Strategy<Value = Cohort> {
        prop::collection::vec((0..12u32, 1..20u32), 0..12).prop_map(Cohort::new)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_cohort_that_grows_does_not_become_unsafe(a in any_cohort(), b in any_cohort()) {
            for rule in [Rule::Installations, Rule::Pods] {
                let threshold = Threshold::default();
                if threshold.safe(rule, &a) {
                    prop_assert!(threshold.safe(rule, &a.clone().union(b.clone())));
                }
            }
        }
    }
}
