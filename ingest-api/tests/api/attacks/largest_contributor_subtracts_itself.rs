//! The attack: the largest company in a cell knows its own number, takes it out, and has that of the others.
//!
//! It is held off if at least ten others are left of every number that is published.

use super::*;

/// The largest has a hundred on Windows, and four others have one each.
fn truth() -> Cells {
    Cells::from([("macos", vec![8; 8]), ("windows", vec![100, 1, 1, 1, 1])])
}

/// How many others are left in the cell that is published as Windows, if there is one.
async fn attack(defence: Defence) -> Option<u64> {
    let own = 100;
    let published = match defence {
        Defence::On => {
            let service = Service::start().await;
            report(&service, &truth()).await;
            let parts = published(&service, "platforms").await;
            service.app.shutdown().await;
            parts
        }
        // Enough installations of enough Pods, whoever has how many.
        Defence::Off => {
            without_folding(&truth(), |by_pod| by_pod.iter().sum::<u64>() >= 20 && by_pod.len() >= 5)
        }
    };
    published.get("windows").map(|number| number - own)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_published_that_the_largest_is_nearly_all_of() {
    assert_eq!(attack(Defence::On).await, None);
}

#[tokio::test]
async fn without_a_least_number_of_others_four_are_left() {
    assert_eq!(attack(Defence::Off).await, Some(4));
}
