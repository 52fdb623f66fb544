//! The attack: the largest company in a cell subtracts its own number, which it knows, and learns that of the
//! others.
//!
//! The defence holds if every published number includes at least ten others. In the case without that
//! condition, the threshold still requires twenty installations from five Pods.

use super::*;

const OWN: u64 = 100;

/// How many others are in the cell published as Windows, if it is published.
async fn attack(threshold: Threshold) -> Option<u64> {
    // Four others have one each.
    let truth = Cells::from([("macos", vec![8; 8]), ("windows", vec![OWN, 1, 1, 1, 1])]);
    published_of("windows", &truth, threshold).await.map(|number| number - OWN)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_published_that_the_largest_is_nearly_all_of() {
    assert_eq!(attack(Threshold::default()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_least_number_of_others_four_are_left() {
    let threshold = no_threshold().with_installations(20).unwrap().with_pods(5).unwrap();
    assert_eq!(attack(threshold).await, Some(5), "which is four, rounded");
}
