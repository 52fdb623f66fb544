//! Shares → one of them at random.

use rand::{Rng, RngExt};

/// One of `choices`, each as often as its weight says.
///
/// # Panics
/// If there is none.
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

/// One of `items`, each as often as the others.
///
/// # Panics
/// If there is none.
pub(super) fn any<'a, T>(rng: &mut impl Rng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// A number with a heavy tail: half of them below twice `least`, a few as large as `most`.
pub(super) fn heavy_tailed(rng: &mut impl Rng, least: u32, most: u32) -> u32 {
    let u: f64 = rng.random_range(f64::EPSILON..1.0);
    // A Pareto distribution with the exponent 1.1, about that of the sizes of companies.
    let number = f64::from(least) * u.powf(-1.0 / 1.1);
    number.min(f64::from(most)) as u32
}
