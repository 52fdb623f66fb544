//! A seed → a random population, the same each time. It has from a few Pods to thousands, most of them small
//! and some very large. Most reporters share a few values; some values are rare.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How many populations each property is tested with.
pub(super) const POPULATIONS: u64 = 10_000;

/// A random population, from which tests draw the properties of Pods and installations.
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

    /// One of `n` values. The first is the most frequent, and more so with a greater `skew`.
    pub(super) fn value(&mut self, n: usize, skew: i32) -> usize {
        let uniform: f64 = self.0.random_range(0.0..1.0);
        (uniform.powi(skew) * n as f64) as usize
    }

    /// One of `n` values, all equally likely.
    pub(super) fn any(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.any(n) == 0
    }
}
