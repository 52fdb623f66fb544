//! A number → a random population, the same each time: a few Pods to thousands, most of them small and some very
//! large, with values that most share and values that hardly anybody has.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How many populations a property is held against.
pub(super) const POPULATIONS: u64 = 10_000;

/// One random population, to draw the properties of its Pods and installations from.
pub(super) struct Random(StdRng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number of Pods: 6 to 2,000, mostly fewer than a hundred.
    pub(super) fn pods(&mut self) -> usize {
        let uniform: f64 = self.0.random_range(0.0..1.0);
        (6f64.ln() + uniform * uniform * (2_001f64 / 6.0).ln()).exp() as usize
    }

    /// How many installations a Pod has: Pareto, so that most have a handful and some have hundreds.
    pub(super) fn pod_size(&mut self) -> u32 {
        let uniform: f64 = self.0.random_range(0.002..1.0);
        (2.0 / uniform.powf(1.1)) as u32
    }

    /// One of `n` values, the first far more often than the last; the more so, the greater `skew` is.
    pub(super) fn value(&mut self, n: usize, skew: i32) -> usize {
        let uniform: f64 = self.0.random_range(0.0..1.0);
        (uniform.powi(skew) * n as f64) as usize
    }

    /// One of `n` values, all alike.
    pub(super) fn any(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// Once in `n`.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.any(n) == 0
    }
}
