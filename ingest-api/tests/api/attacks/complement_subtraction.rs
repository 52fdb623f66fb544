//! The attack: subtract the published parts from the published whole. The rest is a group that was too small
//! to publish.
//!
//! The defence holds if nobody is certain to be in the rest. `release::fold::tests` plays the same attack
//! against 10,000 random populations. The case without folding uses the obvious rule: publish every cell of
//! at least twenty, and hide the others.

use super::*;

/// Six Pods on macOS and Windows; three of them have thirteen installations on Linux, too.
fn truth() -> Cells {
    Cells::from([("macos", vec![10; 6]), ("windows", vec![10; 6]), ("linux", vec![5, 4, 4])])
}

/// How many are certain to be in the rest.
async fn attack(defence: Defence) -> u64 {
    let service = service_that_folds(defence, "NEW.published < 20").await;
    report(&service, &truth()).await;
    let parts = published(&service, "platforms").await;
    let whole = published(&service, "installations").await;
    service.app.shutdown().await;
    assert!(parts.values().all(|number| *number >= 20), "{parts:?}");
    assert_eq!(whole.values().sum::<u64>(), 135);
    certainly_left_over(&whole, &parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_over() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_folding_a_small_group_is_left_over() {
    assert_eq!(attack(Defence::Off).await, 9, "of the thirteen, whatever was rounded");
}
