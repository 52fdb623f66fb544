//! Shares → a random choice.

use rand::{Rng, RngExt};

/// One of `choices`, with a probability in proportion to its weight.
///
/// # Panics
/// If `choices` is empty.
pub(super) fn choose<'a, T>(rng: &mut impl Rng, choices: &'a [(u32, T)]) -> &'a T {
    let total = choices.iter().map(|(weight, _)| *weight).sum();
    let mut left = rng.random_range(0..total);
    for (weight, choice) in choices {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return choice,
        }
    }
    unreachable!("the weights add up to the total")
}

/// One of `items`, all equally likely.
///
/// # Panics
/// If `items` is empty.
pub(super) fn any<'a, T>(rng: &mut impl Rng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// A number with a heavy tail: half of them are below twice `least`, a few are as large as `most`.
pub(super) fn heavy_tailed(rng: &mut impl Rng, least: u32, most: u32) -> u32 {
    let u: f64 = rng.random_range(f64::EPSILON..1.0);
    // A Pareto distribution with the exponent 1.1, roughly that of company sizes.
    let number = f64::from(least) * u.powf(-1.0 / 1.1);
    number.min(f64::from(most)) as u32
}
