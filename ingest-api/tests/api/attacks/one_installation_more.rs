//! The attack: know a whole population, and see in the next window's numbers that one installation was added.
//!
//! The defence holds if numbers move by noise though nobody came, so that a number that moves does not show that
//! somebody did. `release::attacks` measures how much it shows. In the case without the defence, the count is
//! exact, and moves by one.
//!
//! The keys of the two days are fixed, so that the outcome is.

use ingest_api::keys::KeyDirectory;

use super::*;
use crate::support::{exactly, proxied, ten_pods};

type Numbers = Vec<(&'static str, &'static str, String, u64)>;

/// What is published on two days, if that many installations are added in between.
async fn attack(threshold: Threshold, come: u32) -> [Numbers; 2] {
    let service = Service::start_with(|config| {
        config.thresholds = threshold.into();
        KeyDirectory::open(&config.key_dir).unwrap();
        for (n, window) in [(1, "day-2026-11-22"), (2, "day-2026-11-23"), (3, "month-2026-11-01")] {
            std::fs::write(config.key_dir.join(format!("{window}.key")), [n; 32]).unwrap();
        }
    })
    .await;
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T12:00:00Z");
    let mut next = ten_pods(6);
    next.extend((0..come).map(|n| proxied(3, 100 + n, "1.0.0", "macos-aarch64", "de-CH")));
    service.report(&next).await;
    service.merge().await;
    service.set_clock("2026-11-24T12:00:00Z");
    service.app.run_jobs().await.unwrap();
    let days = [
        service.released(WindowKind::Day, "2026-11-22").await,
        service.released(WindowKind::Day, "2026-11-23").await,
    ];
    service.app.shutdown().await;
    days
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_moves_does_not_show_that_somebody_came() {
    let [before, after] = attack(Threshold::default(), 0).await;
    assert_ne!(before, after, "nobody came, and yet numbers move");
    let exact = |numbers: &Numbers| -> Numbers {
        numbers.iter().filter(|(_, family, ..)| family.starts_with("pod")).cloned().collect()
    };
    assert_eq!(exact(&before), exact(&after), "where Pods are counted, there is no noise");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_noise_it_shows() {
    let [before, after] = attack(exactly(), 0).await;
    assert_eq!(before, after);
    let [before, after] = attack(exactly(), 3).await;
    assert_ne!(before, after, "across a boundary of rounding");
}
