//! The attack: record what a Pod sends and send it a hundred times, before and after a restart of the service, to make
//! a small group look large.
//!
//! It is held off if what is published is what it would be without the replays.

use super::*;
use crate::support::ten_pods;

/// How many installations are counted: sixty reported.
async fn attack(defence: Defence) -> u64 {
    let mut service = Service::start().await;
    let once = ten_pods(6);
    for turn in 0..100 {
        service.report(&once).await;
        if turn == 50 {
            let restarted = service.another().await;
            std::mem::replace(&mut service.app, restarted).shutdown().await;
        }
    }
    let rows = match defence {
        Defence::On => None,
        // Reports are counted, and not reporters.
        Defence::Off => {
            let window = service.database().open_windows().await.unwrap()[0];
            let sql = format!("SELECT count(*)::text FROM intake.w{}_installation", window.id);
            Some(service.query(&sql).await.unwrap()[0].parse().unwrap())
        }
    };
    let published = published(&service, "installations").await["all"];
    service.app.shutdown().await;
    rows.unwrap_or(published)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_counts_nothing() {
    assert_eq!(attack(Defence::On).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reports_are_counted_a_replay_counts() {
    assert_eq!(attack(Defence::Off).await, 6_000);
}
