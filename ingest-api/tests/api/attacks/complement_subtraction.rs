//! The attack: take what is published of the parts from what is published of the whole. What is left over is a group
//! that was too small to publish.
//!
//! It is held off if nobody is certain to be left over. `release::fold::tests` plays the same against 10,000 random
//! populations. Without folding, the rule is the one that suggests itself: every cell of at least twenty is published,
//! and the others are hidden.

use super::*;

/// Six Pods on macOS and Windows, and three of them with thirteen installations on Linux.
fn truth() -> Cells {
    Cells::from([("macos", vec![10; 6]), ("windows", vec![10; 6]), ("linux", vec![5, 4, 4])])
}

/// How many are certain to be left over.
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
