//! The attack: take what is published of the parts from what is published of the whole. What is left over is a group
//! that was too small to publish.
//!
//! It is held off if what is left over is nobody, as far as rounding tells, or a group that is safe.
//! `release::fold::tests` plays the same against 10,000 random populations.

use super::*;

/// Six Pods on macOS and Windows, and one of them with three installations on Linux.
fn truth() -> Cells {
    Cells::from([("macos", vec![10; 6]), ("windows", vec![8; 6]), ("linux", vec![3])])
}

/// Who is left over.
async fn attack(defence: Defence) -> u64 {
    let total: u64 = truth().values().flatten().sum();
    let parts = match defence {
        Defence::On => {
            let service = Service::start().await;
            report(&service, &truth()).await;
            let parts = published(&service, "platforms").await;
            service.app.shutdown().await;
            parts
        }
        Defence::Off => without_folding(&truth(), |by_pod| by_pod.iter().sum::<u64>() >= 20),
    };
    total.abs_diff(parts.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_over() {
    let rounding = 2 * 2;
    assert!(attack(Defence::On).await <= rounding);
}

#[tokio::test]
async fn without_folding_three_are_left_over() {
    assert_eq!(attack(Defence::Off).await, 3);
}
