//! The keys of a window → the noise of what is published about its installations. Pure.
//!
//! **The law.** A *layer* of noise is the number of ones among *n* fair bits, minus *n*/2. It is a binomial
//! distribution: exact, bounded by *n*/2, with a standard deviation of √*n*/2, and close to normal. Every
//! label has two layers, whose sum is again such a number of ones: one from a key of the month, which stays
//! the same in all windows of the month, and one from the window's own key.
//!
//! **Why two.** The layer of the month cannot be averaged away by watching for a month. The layer of the
//! window keeps what changes from one day to the next from being exact.
//!
//! **The same again.** The bits are HMAC-SHA-256 of the label, so a close that is repeated, by another
//! instance or after a crash, draws the same noise. When the keys are destroyed, nobody can compute it.

use std::borrow::Cow;

use super::family::FamilyId;
use crate::window::{Population, Window, WindowKey, WindowKind};

/// The bits of both layers of one kind of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    /// Bits that stay the same for a month.
    pub month: u32,
    /// Bits of the window.
    pub window: u32,
}

impl Law {
    /// The noise of a decision: whether something is published under a label. Standard deviation 1.9.
    pub const DECISION: Self = Self { month: 8, window: 6 };
    /// The noise of a number. Standard deviation 4.
    pub const NUMBER: Self = Self { month: 32, window: 32 };

    /// The greatest noise, and the least with a minus.
    pub const fn greatest(self) -> u64 {
        (self.month + self.window) as u64 / 2
    }
}

/// Half the width of the bounds around a sum of `numbers` published numbers: its noise is within them with a
/// probability of more than 98.75 %. So four such sums are with more than 95 %. It is two and a half standard
/// deviations.
pub fn reach_of_noise(numbers: u64) -> u64 {
    (100 * numbers).isqrt() + u64::from(!is_square(numbers))
}

fn is_square(number: u64) -> bool {
    number.isqrt().pow(2) == number
}

/// How probable it is that bounds of a share hold, in percent; see [`reach_of_noise`].
pub const CONFIDENCE: u8 = 95;

/// Whether the noise of two published numbers of installations may be all that lies between them.
///
/// The limit is nearly three standard deviations of the difference of two numbers from different months, plus what
/// rounding adds.
pub fn may_be_noise(a: u64, b: u64) -> bool {
    let step = super::round::step(a.max(b));
    a.abs_diff(b) <= 16 + step
}

/// What noise is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A block under a label.
    Block,
    /// What is left of a branch, and is too small for a block.
    Rest,
}

/// One draw, both layers summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) decision: i64,
    pub(super) number: i64,
}

/// The source of the noise of one window.
#[derive(Clone, Debug)]
pub struct Noise {
    window: Window,
    month: WindowKey,
    own: WindowKey,
}

impl Noise {
    /// The noise of a window with this key, in a month with that key.
    ///
    /// If one of the two is gone, the other draws both layers, which stay independent. Without the month's key
    /// (the month was closed first, or its key is lost), the layer of the month is drawn anew for this window:
    /// each number is protected as before, but the average over several such windows is not. `None` without
    /// any key: then nothing can be published about installations.
    pub fn of(window: Window, own: Option<WindowKey>, month: Option<WindowKey>) -> Option<Self> {
        let month = month.or_else(|| own.clone())?;
        let own = own.unwrap_or_else(|| month.clone());
        Some(Self { window, month, own })
    }

    /// The month whose key draws the layer of the month: the one in which the window ends. A week that spans
    /// two months ends in the later one, whose key is there when the week is closed.
    pub fn month_of(window: Window) -> Window {
        let last = window.end().yesterday().unwrap_or(window.start());
        Window::of_day(WindowKind::Month, last)
    }

    pub(super) fn draw(&self, of: Population, family: FamilyId, purpose: Purpose, label: &str) -> Draw {
        let purpose = match purpose {
            Purpose::Block => "block",
            Purpose::Rest => "rest",
        };
        let about = [of.as_str(), family.as_str(), purpose, label];
        let window: Cow<'_, str> = self.window.to_string().into();
        let month = bits(&self.month.noise(["layer of the month"].into_iter().chain(about)));
        let own = bits(&self.own.noise(["layer of", &window].into_iter().chain(about)));
        let sum = |law: Law, [month, own]: [u64; 2]| {
            let ones = |bits: u64, n: u32| i64::from((bits & (u64::MAX >> (64 - n))).count_ones());
            ones(month, law.month) + ones(own, law.window) - law.greatest() as i64
        };
        Draw {
            decision: sum(Law::DECISION, [month[0], own[0]]),
            number: sum(Law::NUMBER, [month[1], own[1]]),
        }
    }
}

/// Fair bits for a decision, and others for a number.
fn bits(bytes: &[u8; 32]) -> [u64; 2] {
    let eight = |from: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[from..from + 8]);
        u64::from_be_bytes(eight)
    };
    [eight(0), eight(8)]
}

#[cfg(test)]
mod tests {
    use shared::data_point::{UserLang, UserPlatform};

    use super::*;

    fn key(n: u8) -> WindowKey {
        WindowKey::new(&[n; WindowKey::LEN])
    }

    fn day(day: &str) -> Window {
        Window::of_day(WindowKind::Day, day.parse().unwrap())
    }

    fn noise(own: u8, month: u8) -> Noise {
        Noise::of(day("2026-11-22"), Some(key(own)), Some(key(month))).unwrap()
    }

    fn draw(noise: &Noise, label: &str) -> Draw {
        noise.draw(Population::Pod, FamilyId::of::<UserPlatform>(), Purpose::Block, label)
    }

    /// The exact law: how many of the 2ⁿ patterns of n bits have k ones.
    fn choose(n: u32) -> Vec<u128> {
        let mut row = vec![1_u128];
        for _ in 0..n {
            row = std::iter::once(1)
                .chain(row.windows(2).map(|two| two[0] + two[1]))
                .chain(std::iter::once(1))
                .collect();
        }
        row
    }

    fn probability(n: u32, of: impl Fn(u64) -> bool) -> f64 {
        let half = u64::from(n / 2);
        let row = choose(n).into_iter().enumerate();
        row.filter(|(ones, _)| of((*ones as u64).abs_diff(half))).map(|(_, ways)| ways as f64).sum::<f64>()
            / 2f64.powi(n as i32)
    }

    #[test]
    fn draws_have_the_exact_law() {
        const DRAWS: u32 = 200_000;
        let noise = noise(1, 2);
        let draws: Vec<Draw> = (0..DRAWS).map(|n| draw(&noise, &n.to_string())).collect();
        for (law, of) in
            [(Law::DECISION, (|draw| draw.decision) as fn(&Draw) -> i64), (Law::NUMBER, |draw| draw.number)]
        {
            let n = law.month + law.window;
            for (ones, ways) in choose(n).into_iter().enumerate() {
                let value = ones as i64 - law.greatest() as i64;
                let expected = ways as f64 / 2f64.powi(n as i32);
                let found = draws.iter().filter(|draw| of(draw) == value).count() as f64 / f64::from(DRAWS);
                let spread = (expected * (1.0 - expected) / f64::from(DRAWS)).sqrt();
                assert!((found - expected).abs() < 5.0 * spread + 1e-5, "{value}: {found}, not {expected}");
            }
        }
    }

    /// The month's layer is shared by windows of the month, the other is not; labels share neither.
    #[test]
    fn windows_of_a_month_share_one_layer_and_labels_none() {
        let correlation = |one: &dyn Fn(&str) -> i64, other: &dyn Fn(&str) -> i64| {
            let pairs: Vec<_> =
                (0..20_000).map(|n| n.to_string()).map(|label| (one(&label), other(&label))).collect();
            let sum = |of: fn(&(i64, i64)) -> i64| pairs.iter().map(of).sum::<i64>() as f64;
            sum(|(a, b)| a * b) / (sum(|(a, _)| a * a) * sum(|(_, b)| b * b)).sqrt()
        };
        let (monday, tuesday, next_month) = (noise(1, 9), noise(2, 9), noise(3, 8));
        let number = |noise: &Noise, label: &str| draw(noise, label).number;
        let near = |correlation: f64, expected: f64| (correlation - expected).abs() < 0.04;
        // Half of the variance is the month's.
        assert!(near(correlation(&|l| number(&monday, l), &|l| number(&tuesday, l)), 0.5));
        assert!(near(correlation(&|l| number(&monday, l), &|l| number(&next_month, l)), 0.0));
        assert!(near(correlation(&|l| number(&monday, l), &|l| number(&monday, &format!("{l}x"))), 0.0));
        assert!(near(correlation(&|l| draw(&monday, l).decision, &|l| number(&monday, l)), 0.0));
        let language = |label: &str| {
            monday.draw(Population::Pod, FamilyId::of::<UserLang>(), Purpose::Block, label).number
        };
        assert!(near(correlation(&|l| number(&monday, l), &language), 0.0));
        let direct = |label: &str| {
            monday.draw(Population::Direct, FamilyId::of::<UserPlatform>(), Purpose::Block, label).number
        };
        assert!(near(correlation(&|l| number(&monday, l), &direct), 0.0));
    }

    #[test]
    fn noise_is_the_same_again_and_needs_a_key() {
        let (once, again) = (noise(1, 2), noise(1, 2));
        assert!((0..100).all(|n| draw(&once, &n.to_string()) == draw(&again, &n.to_string())));
        assert!(Noise::of(day("2026-11-22"), None, None).is_none());
        for (own, month) in [(Some(key(1)), None), (None, Some(key(1)))] {
            let left = Noise::of(day("2026-11-22"), own, month).unwrap();
            let spread: i64 = (0..4_000).map(|n| draw(&left, &n.to_string()).number.pow(2)).sum();
            assert!((14..18).contains(&(spread / 4_000)), "one key draws two independent layers: {spread}");
        }
    }

    #[test]
    fn a_window_takes_the_key_of_the_month_in_which_it_ends() {
        let month =
            |kind, day: &str| Noise::month_of(Window::of_day(kind, day.parse().unwrap())).start().to_string();
        assert_eq!(month(WindowKind::Day, "2026-11-30"), "2026-11-01");
        assert_eq!(month(WindowKind::Week, "2026-11-30"), "2026-12-01");
        assert_eq!(month(WindowKind::Week, "2026-11-23"), "2026-11-01");
        assert_eq!(month(WindowKind::Month, "2026-11-30"), "2026-11-01");
    }

    /// What one installation changes, in the worst case, as the chance to guess right whether it is there: half
    /// of one plus the distance between the law and the law shifted by one, which is its greatest probability.
    #[test]
    fn one_decision_tells_of_one_installation_no_more_than_the_page_says() {
        let chance = |n: u32| 0.5 + 0.5 * probability(n, |distance| distance == 0);
        let rounded = |n: u32| (chance(n) * 1_000.0).round() / 1_000.0;
        let Law { month, window } = Law::DECISION;
        // On one day; after any number of days; on one day for one who knows the layer of the month.
        assert_eq!([rounded(month + window), rounded(month), rounded(window)], [0.605, 0.637, 0.656]);
        let Law { month, window } = Law::NUMBER;
        assert_eq!([rounded(month + window), rounded(month), rounded(window)], [0.55, 0.57, 0.57]);
    }

    #[test]
    fn bounds_hold_as_often_as_they_say() {
        for numbers in 1..=60 {
            let bits = (Law::NUMBER.month + Law::NUMBER.window) * numbers;
            // Beyond 100 bits, the normal distribution is close enough.
            let reach = reach_of_noise(u64::from(numbers));
            assert!((reach as f64) >= 2.5 * (f64::from(bits) / 4.0).sqrt() - 1e-9);
            if numbers == 1 {
                let holds = probability(bits, |distance| distance <= reach);
                assert!(holds > 0.9875, "{holds}");
            }
        }
    }

    #[test]
    fn numbers_that_noise_can_explain_are_no_change() {
        assert!(may_be_noise(500, 520) && may_be_noise(20, 40));
        assert!(!may_be_noise(500, 525) && !may_be_noise(0, 25));
        assert!(may_be_noise(12_300, 12_400) && !may_be_noise(12_300, 12_500));
    }
}
