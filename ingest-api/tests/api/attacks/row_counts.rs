//! The attack: with the rights of the reader, watch how many rows Postgres counts in the tables of open
//! windows. Learn the exact number of reporters, and when a new one reports for the first time.
//!
//! The defence holds if what Postgres says about a table (its statistics, its catalog entry, the size of its
//! file) stays the same when one more reporter is added, unless that starts another pack. In the case without
//! the defence, a merge leaves a row for each reporter.

use std::time::Duration;

use ingest_api::store::login::Role;
use sqlx::{Connection, PgConnection};

use super::*;
use crate::support::{proxied, ten_pods};

/// What the reader sees of each table of open windows, and of each of its parts.
const WATCH: &str = "SELECT format('%s: %s written, %s live, %s in the catalog, %s bytes', rtrim(c.relname, '0123456789'),
            pg_stat_get_tuples_inserted(c.oid), pg_stat_get_live_tuples(c.oid), c.reltuples, pg_relation_size(c.oid))
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'intake' AND c.relname ~ '^(w[0-9]+_merged|part_[0-9]+)$' ORDER BY c.relname";

/// What the reader sees after open windows were merged and Postgres has updated its statistics.
async fn watch(service: &Service) -> Vec<String> {
    let options = service.database().options_of(Role::Reader);
    let mut reader = PgConnection::connect_with(options).await.unwrap();
    let mut told = async || sqlx::query_scalar::<_, String>(WATCH).fetch_all(&mut reader).await.unwrap();
    loop {
        // A session reports its writes with a transaction that follows a second later.
        service.merge().await;
        if told().await.iter().filter(|table| !table.contains(": 0 written")).count() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
    sqlx::query("ANALYZE").execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    told().await
}

/// Makes a row of each record of a pack.
const ONE_BY_ONE: &str = "CREATE FUNCTION public.one_by_one() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        pack bytea;
        length integer;
        at integer := 0;
    BEGIN
        DELETE FROM intake.new_merged RETURNING records INTO STRICT pack;
        ALTER TABLE intake.new_merged DROP CONSTRAINT merged_length;
        WHILE get_byte(pack, at) <> 0 LOOP
            length := CASE get_byte(pack, at) >> 6 WHEN 3 THEN 9 ELSE 17 END + (get_byte(pack, at) & 63);
            INSERT INTO intake.new_merged VALUES (substr(pack, at + 1, length));
            at := at + length;
        END LOOP;
    END $$";

/// What the reader sees for that many installations in each of ten Pods, and again after more were added.
async fn attack(defence: Defence, each: u32, come: u32) -> [Vec<String>; 2] {
    let service = Service::start().await;
    if defence == Defence::Off {
        service.query(ONE_BY_ONE).await.unwrap();
        let done = "PERFORM intake.end_part()";
        let one_by_one = format!("{done}; PERFORM public.one_by_one()");
        mutate(&service, "intake.finish_merging", &[(done, &one_by_one)]).await;
    }
    service.report(&ten_pods(each)).await;
    let before = watch(&service).await;
    let more: Vec<_> = (0..come).map(|n| proxied(3, 100 + n, "1.0.0", "macos-aarch64", "de-CH")).collect();
    service.report(&more).await;
    let after = watch(&service).await;
    service.app.shutdown().await;
    [before, after]
}

/// What the reader sees of the parts, which hold everything.
fn parts(told: &[String]) -> Vec<&str> {
    told.iter().filter_map(|table| table.strip_prefix("part_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_how_many_have_reported() {
    let [before, after] = attack(Defence::On, 6, 1).await;
    assert_eq!(
        parts(&before),
        [": 1 written, 1 live, 1 in the catalog, 8192 bytes"; 3],
        "one of each of three windows"
    );
    assert_eq!(before, after);

    // A pack has room for 261 installations.
    let [before, after] = attack(Defence::On, 25, 20).await;
    assert_eq!(parts(&before), [": 1 written, 1 live, 1 in the catalog, 8192 bytes"; 3]);
    assert_eq!(parts(&after), [": 2 written, 2 live, 2 in the catalog, 16384 bytes"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_each_reporter_has_a_row_everybody_is_told() {
    let [before, after] = attack(Defence::Off, 6, 1).await;
    for (told, reporters) in [(before, 70), (after, 71)] {
        let exact = format!(" {reporters} live, {reporters} in the catalog");
        assert_eq!(told.iter().filter(|table| table.contains(&exact)).count(), 3, "{told:?}");
    }
}
