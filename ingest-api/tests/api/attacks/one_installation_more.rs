//! The attack: know a whole population, and see in the next window's numbers that one installation was added.
//!
//! The defence holds if no number changes; or, if one is at a boundary of rounding, as rarely as `PRIVACY.md`
//! says (`release::tally::tests` measures it). A population that does not change publishes the same numbers
//! each day. In the case without rounding, the exact count of installations is written.

use sqlx::{Connection, PgConnection};

use super::*;
use crate::support::{proxied, ten_pods};

/// Writes the exact count in place of the rounded number.
const EXACTLY: &str = "IF (NEW.population, NEW.family) = ('pod', 'installations') THEN
    EXECUTE (SELECT format('SELECT count(*) FROM intake.reporters(%s) WHERE proxied AND NOT is_pod', w.id)
             FROM intake.open_window w WHERE (w.kind, w.starts_on) = (NEW.kind, NEW.starts_on)) INTO NEW.published;
    END IF";

/// How much the total changes from one day to the next, if that many installations are added.
async fn attack(defence: Defence, come: u32) -> u64 {
    let service = Service::start().await;
    if defence == Defence::Off {
        tamper(&service, "INSERT", "release.block", EXACTLY).await;
        let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
        let grant = "GRANT EXECUTE ON FUNCTION intake.reporters, intake.number TO prose_release";
        sqlx::query(grant).execute(&mut owner).await.unwrap();
        owner.close().await.unwrap();
    }
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
    assert!(defence == Defence::Off || come > 1 || days[0] == days[1], "all numbers: {days:?}");
    let total = |day: usize| days[day].iter().find(|block| block.1 == "installations").unwrap().3;
    total(1) - total(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_population_that_does_not_change_publishes_the_same_numbers() {
    assert_eq!(attack(Defence::On, 0).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_installation_more_changes_nothing() {
    assert_eq!(attack(Defence::On, 1).await, 0);
    assert_eq!(attack(Defence::On, 3).await, 5, "across a boundary of rounding, it does");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rounding_it_shows() {
    assert_eq!(attack(Defence::Off, 1).await, 1);
}
