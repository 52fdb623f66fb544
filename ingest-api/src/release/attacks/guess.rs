//! The best guess of one who knows the law of the noise: the likeliest of some answers, over all values that the
//! layer of the month may have.

use std::cell::RefCell;
use std::collections::HashMap;

use super::BOUNDARY;
use crate::release::{Law, Threshold, round};

/// What is seen of a platform on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has a number.
    Leaf(u64),
    /// It has none, but its branch, which has nobody else, has one.
    Branch(u64),
    Neither,
}

/// Each value of a layer, with its probability.
fn layer(bits: u32) -> Vec<(i64, f64)> {
    let mut ways = vec![1.0_f64];
    for _ in 0..bits {
        let shifted = std::iter::once(0.0).chain(ways.iter().copied());
        ways = shifted.zip(ways.iter().copied().chain(std::iter::once(0.0))).map(|(a, b)| a + b).collect();
    }
    let all: f64 = ways.iter().sum();
    let half = i64::from(bits / 2);
    ways.into_iter().enumerate().map(|(ones, ways)| (ones as i64 - half, ways / all)).collect()
}

/// The probabilities of a number, by the value of the month's layer, for a count and a published number.
type OfNumbers = HashMap<(usize, u64), Vec<f64>>;

pub(super) struct Observer {
    numbers: RefCell<OfNumbers>,
    layers: [Vec<(i64, f64)>; 4],
}

impl Observer {
    pub(super) fn new() -> Self {
        let (decision, number) = (Law::DECISION, Law::NUMBER);
        let layers = [decision.month, decision.window, number.month, number.window].map(layer);
        Self { numbers: RefCell::default(), layers }
    }

    /// How many real ones are likeliest, from none to `most`.
    pub(super) fn likeliest(&self, days: &[(usize, Seen)], most: usize) -> usize {
        let likelihood = |real: usize| -> f64 {
            let mut sum = 0.0;
            for level in 0..2 {
                // Each decision that was made on this level, and each number that was published on it.
                let (mut decisions, mut numbers) = (Vec::new(), Vec::new());
                for (invented, seen) in days {
                    let count = invented + real;
                    match (level, seen) {
                        (0, Seen::Leaf(number)) | (1, Seen::Branch(number)) => {
                            decisions.push((count, true));
                            numbers.push((count, *number));
                        }
                        (0, _) | (1, Seen::Neither) => decisions.push((count, false)),
                        _ => {}
                    }
                }
                sum += self.of_decisions(&decisions) + self.of_numbers(&numbers);
            }
            sum
        };
        (0..=most).max_by(|a, b| likelihood(*a).total_cmp(&likelihood(*b))).unwrap_or(0)
    }

    /// The logarithm of the likelihood, over the values of the month's layer.
    fn over(month: &[(i64, f64)], of_day: impl Fn(usize) -> f64) -> f64 {
        let logs: Vec<f64> = (0..month.len()).map(|at| month[at].1.ln() + of_day(at)).collect();
        let greatest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if greatest == f64::NEG_INFINITY {
            return greatest;
        }
        greatest + logs.iter().map(|log| (log - greatest).exp()).sum::<f64>().ln()
    }

    fn of_decisions(&self, decisions: &[(usize, bool)]) -> f64 {
        let [month, window, ..] = &self.layers;
        Self::over(month, |at| {
            let of = |(count, passed): &(usize, bool)| {
                let needed = BOUNDARY as i64 - *count as i64 - month[at].0;
                let passes: f64 = window.iter().filter(|(value, _)| *value >= needed).map(|(_, p)| p).sum();
                // One who knows the law is never certain of what rounding makes of it.
                (if *passed { passes } else { 1.0 - passes }).max(1e-300).ln()
            };
            decisions.iter().map(of).sum()
        })
    }

    fn of_numbers(&self, numbers: &[(usize, u64)]) -> f64 {
        let [.., month, window] = &self.layers;
        let mut known = self.numbers.borrow_mut();
        for (count, published) in numbers {
            known.entry((*count, *published)).or_insert_with(|| {
                let of = |(sticky, _): &(i64, f64)| {
                    let is_seen = |fresh: i64| {
                        let floor = u64::from(Threshold::FLOOR.installations());
                        let number = (*count as u64).saturating_add_signed(sticky + fresh).max(floor);
                        round(number) == *published
                    };
                    let p: f64 = window.iter().filter(|(fresh, _)| is_seen(*fresh)).map(|(_, p)| p).sum();
                    p.max(1e-300).ln()
                };
                month.iter().map(of).collect()
            });
        }
        Self::over(month, |at| numbers.iter().map(|number| known[number][at]).sum())
    }
}
