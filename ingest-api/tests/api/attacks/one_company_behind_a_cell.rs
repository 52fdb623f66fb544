//! The attack: look for a cell that only one company can be behind, and read its number off.
//!
//! It is held off if nothing is published under that cell's name, however large the company is.

use super::*;

fn truth() -> Cells {
    Cells::from([("macos", vec![10; 6]), ("freebsd", vec![300])])
}

/// The number of the company.
async fn attack(defence: Defence) -> Option<u64> {
    let published = match defence {
        Defence::On => {
            let service = Service::start().await;
            report(&service, &truth()).await;
            let parts = published(&service, "platforms").await;
            service.app.shutdown().await;
            assert_eq!(
                parts.values().sum::<u64>(),
                360,
                "it is in what is published, among others: {parts:?}"
            );
            parts
        }
        // A least number of installations, and none of Pods.
        Defence::Off => without_folding(&truth(), |by_pod| by_pod.iter().sum::<u64>() >= 20),
    };
    published.get("freebsd").copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_about_one_company() {
    assert_eq!(attack(Defence::On).await, None);
}

#[tokio::test]
async fn without_a_least_number_of_pods_its_number_is_published() {
    assert_eq!(attack(Defence::Off).await, Some(300));
}
