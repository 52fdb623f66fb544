//! A count → the published number, and back to the bounds of the count.

/// Rounds to the nearest 5 and, from 1,000 on, to three significant digits; halves go up.
pub fn round(count: u64) -> u64 {
    let step = step(count);
    (count + step / 2) / step * step
}

/// The least and the greatest count that [`round`]s to `published`.
pub fn bounds(published: u64) -> (u64, u64) {
    // Just below a power of ten, the step is that of the numbers with one digit fewer.
    let below = step(published.saturating_sub(1));
    let above = step(published);
    (published.saturating_sub(below / 2), published + (above - 1) / 2)
}

fn step(count: u64) -> u64 {
    match count.checked_ilog10() {
        Some(digits @ 3..) => 10u64.pow(digits - 2),
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_rounded_to_five_and_from_a_thousand_on_to_three_digits() {
        let table = [
            (0, 0),
            (2, 0),
            (3, 5),
            (7, 5),
            (8, 10),
            (20, 20),
            (997, 995),
            (998, 1_000),
            (1_004, 1_000),
            (1_005, 1_010),
            (12_345, 12_300),
            (12_350, 12_400),
            (99_950, 100_000),
            (123_456_789, 123_000_000),
        ];
        for (count, expected) in table {
            assert_eq!(round(count), expected, "{count}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn the_bounds_of_a_published_number_are_the_counts_that_round_to_it(
            count in prop_oneof![0..3_000u64, 0..2_000_000u64, 990..1_010u64, 99_900..100_100u64]
        ) {
            let published = round(count);
            let (least, greatest) = bounds(published);
            prop_assert!(least <= count && count <= greatest);
            prop_assert_eq!(round(least), published);
            prop_assert_eq!(round(greatest), published);
            prop_assert!(least == 0 || round(least - 1) < published);
            prop_assert!(round(greatest + 1) > published);
            prop_assert_eq!(round(published), published);
        }
    }
}
