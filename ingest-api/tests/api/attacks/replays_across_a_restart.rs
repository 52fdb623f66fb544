//! The attack: record what a Pod sends and send it a hundred times, before and after a restart of the service, to make
//! a small group look large.
//!
//! It is held off if what is published is what it would be without the replays. Without the defence, a merge hands every
//! report on, and reports are counted instead of reporters.

use super::*;
use crate::support::ten_pods;

/// How many installations are counted: sixty reported.
async fn attack(defence: Defence) -> u64 {
    let mut service = Service::start().await;
    if defence == Defence::Off {
        mutate(
            &service,
            "intake.finish_merging",
            &[("max(", "("), ("GROUP BY subject, proxied ", ""), ("GROUP BY subject ", "")],
        )
        .await;
    }
    let once = ten_pods(6);
    for turn in 0..100 {
        service.report(&once).await;
        service.merge().await;
        if turn == 50 {
            let restarted = service.another().await;
            std::mem::replace(&mut service.app, restarted).shutdown().await;
        }
    }
    let published = published(&service, "installations").await["all"];
    service.app.shutdown().await;
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_counts_nothing() {
    assert_eq!(attack(Defence::On).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reports_are_counted_a_replay_counts() {
    // Of the 600 that each of the Pods seems to have, its allowance leaves 490.
    assert_eq!(attack(Defence::Off).await, 4_900);
}
