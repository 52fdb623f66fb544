//! Open windows are merged: to one row a reporter, losing nothing and holding up nobody.

use std::time::{Duration, Instant};

use ingest_api::jobs::close_windows::CloseWindows;
use ingest_api::keys::KeyDirectory;
use ingest_api::store::StoreError;
use ingest_api::window::{Window, WindowKind};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::*;

/// The day on which tests start.
fn today() -> Window {
    Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_leaves_one_row_a_reporter_in_an_order_that_tells_nothing() {
    let service = Service::start().await;
    let events = ten_pods(5);
    // One commit each, so that the rows lie in the order of arrival until they are merged.
    for event in &events {
        assert_eq!(service.post("/event", event).await.status, 204);
    }
    service.report(&events).await;
    let window = service.database().open_windows().await.unwrap()[0];
    let rows = async |what: &str| {
        service
            .query(&format!("SELECT {what}::text FROM intake.w{}_installation ORDER BY ctid", window.id))
            .await
            .unwrap()
    };
    assert_eq!(rows("subject").await.len(), 100);
    service.app.run_jobs().await.unwrap();
    let numbers =
        async |what: &str| rows(what).await.into_iter().map(|number| number.parse::<i64>().unwrap());
    let subjects: Vec<_> = numbers("pod").await.zip(numbers("subject").await).collect();
    assert_eq!(subjects.len(), 50);
    assert!(subjects.is_sorted());
    let transactions: std::collections::BTreeSet<_> = rows("xmin").await.into_iter().collect();
    assert_eq!(transactions.len(), 1, "nothing tells which were committed together");

    // What comes after a merge is counted with what was before it.
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-12-02T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(WindowKind::Month, "2026-11-01").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_was_killed_half_way_loses_nothing() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    for window in service.database().open_windows().await.unwrap() {
        let begun =
            service.query(&format!("SELECT intake.begin_merging({})::text", window.id)).await.unwrap();
        assert_eq!(begun, ["true"]);
    }
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    let (first, second) = (service.app.run_jobs().await, service.app.run_jobs().await);
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (2, 0));
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_after_a_few_reports_more_leaves_one_row_a_reporter_in_order_too() {
    let service = Service::start().await;
    let window = service.database().open_windows().await.unwrap()[0];
    let subjects = async || -> Vec<Vec<i64>> {
        let table = format!("intake.w{}_installation", window.id);
        let sql = format!("SELECT concat_ws(' ', pod, subject) FROM {table} ORDER BY ctid");
        let numbers = |row: &String| row.split(' ').map(|number| number.parse().unwrap()).collect();
        service.query(&sql).await.unwrap().iter().map(numbers).collect()
    };
    service.report(&ten_pods(5)).await;
    service.app.run_jobs().await.unwrap();
    assert_eq!(subjects().await.len(), 50);

    // Too few for another page of the table.
    for number in 0..10 {
        let event = proxied(number, 5, "1.0.0", "macos-aarch64", "de-CH");
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    service.app.run_jobs().await.unwrap();
    let merged = subjects().await;
    assert_eq!(merged.len(), 60);
    assert!(merged.is_sorted());

    // What comes while a merge is at work is merged by the next.
    let begun = service.query(&format!("SELECT intake.begin_merging({})::text", window.id)).await.unwrap();
    assert_eq!(begun, ["false"], "nothing has come");
    service.report(&[proxied(1, 6, "1.0.0", "web", "en")]).await;
    let begun = service.query(&format!("SELECT intake.begin_merging({})::text", window.id)).await.unwrap();
    assert_eq!(begun, ["true"]);
    service.report(&ten_pods(6)).await;
    service.app.run_jobs().await.unwrap();
    assert_eq!(subjects().await.len(), 60 + 61);
    service.app.run_jobs().await.unwrap();
    let merged = subjects().await;
    assert_eq!(merged.len(), 61);
    assert!(merged.is_sorted());
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_an_open_window_puts_off_its_merge_and_its_close_and_holds_up_writers_for_seconds() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let window = service.database().open_window(today()).await.unwrap().unwrap();
    let mut dump = PgConnection::connect(service.app.database().url()).await.unwrap();
    let read = format!("BEGIN; LOCK TABLE intake.w{}_installation IN ACCESS SHARE MODE", window.id);
    sqlx::raw_sql(AssertSqlSafe(read)).execute(&mut dump).await.unwrap();

    let merge = service.database().merge_window(&window);
    let report = async {
        let waits = "SELECT 'waits' FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'";
        while service.query(waits).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        let status = service.post("/event", &pod(20, "0.4.0")).await.status;
        (status, start.elapsed())
    };
    let (merged, (status, took)) = tokio::join!(merge, report);
    assert!(matches!(merged, Err(StoreError::InUse)), "{merged:?}");
    assert_eq!(status, 204);
    // Three seconds, and a slow machine.
    assert!(took < Duration::from_secs(6), "{took:?}");

    service.set_clock("2026-11-23T08:00:00Z");
    let close = CloseWindows {
        database: service.database().clone(),
        keys: KeyDirectory::open(&service.config.key_dir).unwrap(),
        thresholds: service.config.thresholds,
    };
    let closed = close.run("2026-11-23T08:00:00Z".parse().unwrap()).await;
    assert_eq!(closed.put_off, [window.window]);
    assert!(closed.failed.is_empty() && closed.released.len() == 1, "{closed:?}");
    sqlx::raw_sql("COMMIT").execute(&mut dump).await.unwrap();
    assert_eq!(service.app.run_jobs().await.unwrap(), [window.window]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_merged_holds_up_neither_other_windows_nor_domains() {
    let service = Service::start().await;
    let opted_in = pod_with_domain(3, "0.4.0");
    service.report(&[opted_in]).await;
    let twice = [ten_pods(5), ten_pods(5)].concat();
    service.report(&twice).await;
    let windows = service.database().open_windows().await.unwrap();
    // Somebody has removed a table by hand.
    service.query(&format!("DROP TABLE intake.w{}_pod", windows[0].id)).await.unwrap();
    assert!(service.app.run_jobs().await.is_err());
    for window in &windows[1..] {
        let count = format!("SELECT count(*)::text FROM intake.w{}_installation", window.id);
        assert_eq!(service.query(&count).await.unwrap(), ["50"]);
    }
    assert_eq!(service.database().domains().await.unwrap().len(), 1);
    service.app.shutdown().await;
}
