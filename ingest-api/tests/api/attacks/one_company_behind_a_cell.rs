//! The attack: find a cell that only one company can be behind, and read its number.
//!
//! The defence holds if nothing is published under that cell's name, however large the company is. In the
//! case without a minimum of Pods and of installations outside the largest Pod, the threshold still requires
//! twenty installations.

use super::*;

/// The number of the company.
async fn attack(threshold: Threshold) -> Option<u64> {
    let truth = Cells::from([("macos", vec![10; 6]), ("freebsd", vec![300])]);
    published_of("freebsd", &truth, threshold).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_about_one_company() {
    assert_eq!(attack(Threshold::default()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_least_number_of_pods_its_number_is_published() {
    assert_eq!(attack(no_threshold().with_installations(20).unwrap()).await, Some(300));
}
