//! The attack: watch, with the rights of the reader, how many rows Postgres says that the tables of open windows have, to learn
//! their exact numbers of reporters, and when one more reports for the first time.
//!
//! It is held off if what Postgres says of a table (its statistics, its entry in the catalog, the size of its file) is the
//! same before and after one more has reported, but where that begins another hundred. Without the defence, merges do not
//! fill tables up.

use std::time::Duration;

use ingest_api::store::login::Role;
use sqlx::{Connection, PgConnection};

use super::*;
use crate::support::{proxied, ten_pods};

/// What the reader is told of each table of an open window.
const WATCH: &str = "SELECT format('%s: %s written, %s live, %s in the catalog, %s bytes', c.relname,
            pg_stat_get_tuples_inserted(c.oid), pg_stat_get_live_tuples(c.oid), c.reltuples, pg_relation_size(c.oid))
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'intake' AND c.relname ~ '^w[0-9]+_' ORDER BY c.relname";

/// What the reader is told when the open windows have been merged and Postgres has counted again.
async fn watch(service: &Service) -> Vec<String> {
    let options = service.database().options_of(Role::Reader);
    let mut reader = PgConnection::connect_with(options).await.unwrap();
    let mut told = async || sqlx::query_scalar::<_, String>(WATCH).fetch_all(&mut reader).await.unwrap();
    loop {
        // A session says what it has written with a transaction a second later.
        service.merge().await;
        if told().await.iter().all(|table| !table.contains(": 0 written")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
    sqlx::query("ANALYZE").execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    told().await
}

/// What is told of that many installations in each of ten Pods, and of one more.
async fn attack(defence: Defence, each: u32) -> [Vec<String>; 2] {
    let service = Service::start().await;
    if defence == Defence::Off {
        mutate(
            &service,
            "intake.fill_up",
            &[
                ("(greatest(installations, 1) + 99) / 100 * 100", "installations"),
                ("(greatest(pods, 1) + 99) / 100 * 100", "pods"),
            ],
        )
        .await;
    }
    service.report(&ten_pods(each)).await;
    let before = watch(&service).await;
    service.report(&[proxied(3, 100, "1.0.0", "macos-aarch64", "de-CH")]).await;
    let after = watch(&service).await;
    service.app.shutdown().await;
    [before, after]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_how_many_have_reported() {
    let [before, after] = attack(Defence::On, 6).await;
    assert_eq!(before.len(), 6, "two tables of each of three windows");
    assert!(
        before.iter().all(|table| table.contains(": 100 written, 100 live, 100 in the catalog")),
        "{before:?}"
    );
    assert_eq!(before, after);

    let [before, after] = attack(Defence::On, 10).await;
    let installations = |told: &[String], rows: &str| {
        told.iter().filter(|table| table.contains("_installation: ") && table.contains(rows)).count()
    };
    assert_eq!(installations(&before, ": 100 written, 100 live"), 3, "{before:?}");
    assert_eq!(installations(&after, ": 200 written, 200 live"), 3, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tables_are_not_filled_up_everybody_is_told() {
    let [before, after] = attack(Defence::Off, 6).await;
    for (told, installations) in [(before, 60), (after, 61)] {
        let exact =
            format!("_installation: {installations} written, {installations} live, {installations} in");
        assert_eq!(told.iter().filter(|table| table.contains(&exact)).count(), 3, "{told:?}");
    }
}
