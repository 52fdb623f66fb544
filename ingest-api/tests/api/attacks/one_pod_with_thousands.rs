//! The attack: one Pod invents ten thousand installations of a value, to make it look common.
//!
//! It is held off if it adds no more than a Pod of the size that it declares can have, and if the value is not
//! published, because one Pod makes no cohort.

use super::*;
use crate::support::{proxied, ten_pods};

/// The total, and whether the value is published.
async fn attack(defence: Defence) -> (u64, bool) {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    // A Pod of 20 to 49 accounts; each of its inventions is reported twice.
    let invented: Vec<_> = (0..10_000).map(|n| proxied(1, n, "6.6.6", "web", "en")).collect();
    service.report(&invented).await;
    service.report(&invented[..500]).await;
    let window = service
        .database()
        .open_windows()
        .await
        .unwrap()
        .into_iter()
        .find(|stored| stored.window.kind() == WindowKind::Day);
    let reporters = service.database().distinct_reporters(&window.unwrap()).await.unwrap().0;
    let versions = published(&service, "app_versions").await;
    let total = published(&service, "installations").await["all"];
    service.app.shutdown().await;
    let named = versions.keys().any(|label| label.contains("6.6.6"));
    match defence {
        Defence::On => (total, named),
        // Everybody who reported, and every value that twenty have.
        Defence::Off => (u64::try_from(reporters).unwrap(), invented.len() >= 20),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_adds_no_more_than_its_size_allows() {
    // 490 of that Pod, 6 of each of the nine others: 544, rounded.
    assert_eq!(attack(Defence::On).await, (545, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_allowance_it_drowns_the_others() {
    assert_eq!(attack(Defence::Off).await, (10_054, true));
}
