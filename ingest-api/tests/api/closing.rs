//! Windows that are over become releases: once, complete, and for ever.

use ingest_api::intake::rekey::rekey;
use ingest_api::jobs::close_windows::release;
use ingest_api::jobs::merge::merge_window;
use ingest_api::keys::KeyDirectory;
use ingest_api::store::arrivals::{Appended, Appender};
use ingest_api::store::login::Role;
use ingest_api::window::seal::seal;
use ingest_api::window::{Window, WindowKind};
use sqlx::{Connection, PgConnection};

use crate::support::*;

fn day(start: &str) -> Window {
    Window::of_day(WindowKind::Day, start.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_over_is_released_and_leaves_nothing_else() {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T00:00:30Z");
    assert_eq!(service.app.run_jobs().await.unwrap(), [], "clocks may differ by a minute");
    service.set_clock("2026-11-23T00:02:00Z");
    let week = Window::of_day(WindowKind::Week, "2026-11-16".parse().unwrap());
    assert_eq!(service.app.run_jobs().await.unwrap(), [week, day("2026-11-22")]);
    assert_eq!(service.app.run_jobs().await.unwrap(), []);

    let block = |population, family, label: &str, n| (population, family, label.to_owned(), n);
    assert_eq!(
        service.released(WindowKind::Day, "2026-11-22").await,
        [
            block("pod", "app_versions", "prose-app-web 1.0.0", 60),
            block("pod", "installations", "all", 60),
            block("pod", "languages", "de-CH", 60),
            block("pod", "platforms", "macos-aarch64", 60),
            block("pod", "pod_sizes", "20–49", 10),
            block("pod", "pod_versions", "0.4.0", 10),
            block("pod", "pods", "all", 10),
        ]
    );
    assert_eq!(service.key_files(), ["month-2026-11-01.key"]);
    let tables = service
        .query("SELECT relname::text FROM pg_class WHERE relname ~ '^(w[0-9]+_merged|part_|gone_)'")
        .await
        .unwrap();
    assert_eq!(tables.len(), 2, "only the month is left, and its part: {tables:?}");
    assert_eq!(service.query("SELECT DISTINCT window_id::text FROM intake.arrival").await.unwrap(), [""; 0]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_after_the_end_of_a_window_counts_in_the_next() {
    let service = Service::start().await;
    service.report(&ten_pods(3)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.report(&ten_pods(4)).await;
    service.app.run_jobs().await.unwrap();
    service.set_clock("2026-11-24T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let installations = async |start| {
        let released = service.released(WindowKind::Day, start).await;
        released.into_iter().find(|block| block.1 == "installations").map(|block| block.3)
    };
    assert_eq!((installations("2026-11-22").await, installations("2026-11-23").await), (Some(30), Some(40)));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_merge_to_the_greater_value_whatever_their_order_and_number() {
    let mut released = Vec::new();
    for turn in 0..2 {
        let service = Service::start().await;
        let old = ten_pods(4);
        let new: Vec<_> =
            (0..10).flat_map(|p| (0..4).map(move |n| proxied(p, n, "1.0.10", "windows", "en"))).collect();
        let mut batches = [&old, &new, &old, &new];
        if turn == 1 {
            batches.reverse();
        }
        for batch in batches {
            service.report(batch).await;
        }
        service.set_clock("2026-11-23T08:00:00Z");
        service.app.run_jobs().await.unwrap();
        released.push(service.released(WindowKind::Day, "2026-11-22").await);
        service.app.shutdown().await;
    }
    assert_eq!(released[0], released[1]);
    let labels: Vec<_> = released[0].iter().map(|block| block.2.as_str()).collect();
    assert!(
        labels.contains(&"prose-app-web 1.0.10") && labels.contains(&"windows") && labels.contains(&"en"),
        "{labels:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_and_direct_installations_are_never_in_one_cell() {
    let service = Service::start().await;
    let mut events = ten_pods(2);
    events.extend(
        (0..10).flat_map(|server| (0..3).map(move |n| direct(100 + server, n, "1.0.0", "web", "en"))),
    );
    service.report(&events).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    let of = |population, family| {
        let blocks = released.iter().filter(move |block| block.0 == population && block.1 == family);
        blocks.map(|block| (block.2.as_str(), block.3)).collect::<Vec<_>>()
    };
    assert_eq!(of("pod", "installations"), [("all", 20)]);
    assert_eq!(of("direct", "installations"), [("all", 30)]);
    assert_eq!(of("pod", "platforms"), [("macos-aarch64", 20)]);
    assert_eq!(of("direct", "platforms"), [("web", 30)]);
    assert_eq!(of("direct", "pods"), []);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_close_at_once_make_one_release() {
    let service = Service::start().await;
    let second = service.another().await;
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    let (first, other) = tokio::join!(service.app.run_jobs(), second.run_jobs());
    let released = first.unwrap().len() + other.unwrap().len();
    assert_eq!(released, 2, "the day and the week, each by one of the two");
    assert_eq!(service.released(WindowKind::Day, "2026-11-22").await.len(), 7);
    second.shutdown().await;
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_was_killed_at_any_step_is_finished_by_the_next_run() {
    // After writes were stopped.
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let stored = service.database().open_window(day("2026-11-22")).await.unwrap().unwrap();
    service.database().begin_closing(&stored).await.unwrap();
    service.set_clock("2026-11-23T08:00:00Z");
    assert_eq!(service.app.run_jobs().await.unwrap().len(), 2);
    assert_eq!(service.released(WindowKind::Day, "2026-11-22").await.len(), 7);
    service.app.shutdown().await;

    // After the release was written, before the key was destroyed.
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let stored = service.database().open_window(day("2026-11-22")).await.unwrap().unwrap();
    service.database().begin_closing(&stored).await.unwrap();
    let key = KeyDirectory::open(&service.config.key_dir).unwrap().read(stored.window).unwrap();
    merge_window(service.database(), &stored, key.as_ref()).await.unwrap();
    assert!(
        release(service.database(), &stored, None, service.config.thresholds.of(WindowKind::Day))
            .await
            .unwrap()
            .is_some()
    );
    assert!(service.key_files().contains(&"day-2026-11-22.key".to_owned()));
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(service.key_files(), ["month-2026-11-01.key"]);
    assert!(
        release(service.database(), &stored, None, service.config.thresholds.of(WindowKind::Day))
            .await
            .unwrap()
            .is_none()
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_meets_a_closing_window_writes_to_the_next() {
    let service = Service::start().await;
    service.report(&[pod(1, "0.4.0")]).await;
    // The other instance's clock is ahead: it closes a window that ours considers open.
    let stored = service.database().open_window(day("2026-11-22")).await.unwrap().unwrap();
    let keys = KeyDirectory::open(&service.config.key_dir).unwrap();
    let key = keys.read(stored.window).unwrap().unwrap();
    service.database().begin_closing(&stored).await.unwrap();
    let report = ingest_api::intake::ValidReport::from_json(pod(2, "0.4.0").to_string().as_bytes()).unwrap();
    let sealed = [(stored, seal(&key, &rekey(&key, [&report])))];
    let appended = Appender::new(service.database().clone()).append(&sealed).await.unwrap();
    assert_eq!(appended, Appended::WindowClosed);
    service.set_clock("2026-11-23T00:00:00Z");
    assert_eq!(service.post("/event", &pod(2, "0.4.0")).await.status, 204);
    let next = service.database().open_window(day("2026-11-23")).await.unwrap().unwrap();
    assert_eq!(service.counted(&next).await, (0, 1));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_to_change_a_release() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    for sql in [
        "UPDATE release.block SET published = 5 RETURNING label",
        "DELETE FROM release.block RETURNING label",
        "UPDATE release.closed_window SET ends_on = ends_on + 1 RETURNING kind",
        "DELETE FROM release.closed_window RETURNING kind",
        "TRUNCATE release.block",
        "TRUNCATE release.block, release.closed_window",
        "INSERT INTO release.block VALUES ('day', '2026-11-22', 'pod', 'pods', 'few', 4) RETURNING label",
        "INSERT INTO release.block VALUES ('day', '2026-11-22', 'pod', 'pods', 'more', 25) RETURNING label",
    ] {
        assert!(service.query(sql).await.is_err(), "{sql}");
    }
    assert!(service.query("WITH t AS (SELECT 1) SELECT 'x' FROM t").await.is_ok());
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_are_kept_apart_and_gone_after_two_closed_weeks() {
    let service = Service::start().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event]).await;
    assert_eq!(service.database().domains().await.unwrap(), [], "not in the wake of the report");
    service.app.run_jobs().await.unwrap();
    let domains = async || {
        let domains = service.database().domains().await.unwrap();
        domains.into_iter().map(|(domain, week)| (domain, week.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(domains().await, [(domain(3), "2026-11-16".to_owned())]);
    service.set_clock("2026-12-06T12:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(domains().await.len(), 1, "the second week is not closed");
    service.set_clock("2026-12-07T12:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(domains().await, []);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_in_a_dump_until_two_weeks_have_closed_and_in_none_after_that() {
    let service = Service::start().await;
    service.report(&[pod_with_domain(3, "0.4.0"), pod_with_domain(4, "0.4.0")]).await;
    let folder = tempfile::tempdir().unwrap();
    // Which of the two domains a dump of the whole database contains now.
    let dumped = async || {
        let file = folder.path().join("dump.sql").to_str().unwrap().to_owned();
        let (url, to) = (service.app.database().url().to_owned(), file.clone());
        tokio::task::spawn_blocking(move || postgres_tool("pg_dump", &url, &["-f", &to])).await.unwrap();
        let dump = std::fs::read_to_string(file).unwrap();
        assert!(dump.contains("CREATE TABLE optin.domain"), "it is a whole dump");
        [3, 4].map(|number| dump.contains(&domain(number)))
    };
    service.app.run_jobs().await.unwrap();
    assert_eq!(dumped().await, [true, true], "so the search works");
    // One of them is reported again in the following week.
    service.set_clock("2026-11-24T12:00:00Z");
    service.report(&[pod_with_domain(4, "0.4.0")]).await;
    service.app.run_jobs().await.unwrap();
    service.set_clock("2026-12-06T23:59:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(dumped().await, [true, true], "the second week is not closed");
    service.set_clock("2026-12-07T00:02:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(dumped().await, [false, true]);
    service.set_clock("2026-12-14T00:02:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(dumped().await, [false, false]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_are_deleted_when_their_retention_is_over_and_not_before() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let purge = async |now: &str| {
        let month = std::time::Duration::from_secs(30 * 86_400);
        ingest_api::jobs::purge::purge_releases(service.database(), now.parse().unwrap(), month)
            .await
            .unwrap()
    };
    // The service caches releases; a purged one is gone anyway.
    let asked = async || {
        let token = service.token().await;
        let path = "/v1/insights/pods?window=day&from=2026-11-01&to=2026-11-30";
        let answer = service.get(path, Some(&token)).await.json();
        let windows = answer["windows"].as_array().unwrap().clone();
        windows.iter().map(|window| (window["start"].clone(), window["total"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(asked().await, [("2026-11-22".into(), 10.into())]);
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-24T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let both = [("2026-11-22".into(), 10.into()), ("2026-11-23".into(), 10.into())];
    assert_eq!(asked().await, both, "the next one is there at once");
    assert_eq!(purge("2026-12-22T23:00:00Z").await, 0);
    assert_eq!(service.released(WindowKind::Day, "2026-11-22").await.len(), 7);
    assert_eq!(purge("2026-12-23T00:00:00Z").await, 2, "the day and the week that ended with it");
    assert_eq!(service.released(WindowKind::Day, "2026-11-22").await.len(), 0);
    assert_eq!(asked().await, both[1..]);
    assert!(
        service.query("DELETE FROM release.block RETURNING label").await.is_err(),
        "the owner cannot delete by hand"
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_closed_does_not_hold_up_the_others() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.report(&ten_pods(4)).await;
    // A release for the first day was written by hand.
    service
        .query("INSERT INTO release.closed_window VALUES ('day', '2026-11-22', '2026-11-23') RETURNING kind")
        .await
        .unwrap();
    service.set_clock("2026-11-24T08:00:00Z");
    assert!(service.app.run_jobs().await.is_err());
    assert_eq!(service.released(WindowKind::Day, "2026-11-23").await.len(), 7);
    assert_eq!(service.released(WindowKind::Week, "2026-11-16").await.len(), 7);
    service.app.shutdown().await;
}

/// A failure in the middle of reading a window leaves no connection behind on which the next read fails, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_whose_table_is_gone_does_not_hold_up_the_others() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.merge().await;
    let stored = service.database().open_window(day("2026-11-22")).await.unwrap().unwrap();
    service.query(&format!("DROP TABLE intake.w{}_merged CASCADE", stored.id)).await.unwrap();
    service.set_clock("2026-11-23T08:00:00Z");
    service.report(&ten_pods(4)).await;
    service.set_clock("2026-11-24T08:00:00Z");
    for _ in 0..4 {
        assert!(service.app.run_jobs().await.is_err());
        service.database().ping().await.unwrap();
    }
    assert_eq!(service.released(WindowKind::Day, "2026-11-23").await.len(), 7);
    assert_eq!(service.released(WindowKind::Week, "2026-11-16").await.len(), 7);
    service.app.shutdown().await;
}

/// An acknowledged report counts, even if its commit is under way when the window is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_waits_for_a_commit_that_is_going_on_and_gives_up_soon_if_it_does_not_end() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let stored = service.database().open_window(day("2026-11-22")).await.unwrap().unwrap();
    let key = KeyDirectory::open(&service.config.key_dir).unwrap().read(stored.window).unwrap().unwrap();
    let report = |event: &serde_json::Value| {
        ingest_api::intake::ValidReport::from_json(event.to_string().as_bytes()).unwrap()
    };
    let more: Vec<_> = ten_pods(6).iter().map(report).collect();
    let pieces = seal(&key, &rekey(&key, &more));
    let mut writer = PgConnection::connect_with(service.database().options_of(Role::Intake)).await.unwrap();
    for commits in [false, true] {
        let mut transaction = writer.begin().await.unwrap();
        let append =
            sqlx::query("SELECT intake.append($1, $2)").bind(vec![stored.id; pieces.len()]).bind(&pieces);
        append.execute(&mut *transaction).await.unwrap();
        let close = service.close_job();
        let closing = tokio::spawn(async move { close.run("2026-11-23T08:00:00Z".parse().unwrap()).await });
        let waits = "SELECT 'waits' FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'";
        while service.query(waits).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        if commits {
            transaction.commit().await.unwrap();
        }
        let closed = closing.await.unwrap();
        assert_eq!(closed.put_off.is_empty(), commits, "{closed:?}");
        assert!(closed.failed.is_empty(), "{closed:?}");
    }
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

/// As autovacuum does after large merges. A close that waited for it would delay all reports.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_does_not_wait_for_what_is_vacuumed() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let mut vacuum = PgConnection::connect(service.app.database().url()).await.unwrap();
    let locks = "BEGIN; LOCK TABLE intake.arrival IN SHARE UPDATE EXCLUSIVE MODE";
    sqlx::raw_sql(locks).execute(&mut vacuum).await.unwrap();
    let closed = service.close_job().run("2026-11-23T08:00:00Z".parse().unwrap()).await;
    assert!(closed.failed.is_empty() && closed.put_off.is_empty(), "{closed:?}");
    assert_eq!(closed.released.len(), 2);
    vacuum.close().await.unwrap();
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_that_takes_its_time_is_no_failure() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    let mut other = PgConnection::connect(service.app.database().url()).await.unwrap();
    let mut turn = other.begin().await.unwrap();
    sqlx::query("SELECT intake.take_turn()").execute(&mut *turn).await.unwrap();
    assert_eq!(service.app.run_jobs().await.unwrap(), []);
    assert!(metrics(&service).await.contains("ingest_close_healthy 1"));
    turn.rollback().await.unwrap();
    assert_eq!(service.app.run_jobs().await.unwrap().len(), 2);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_released_while_it_is_looked_up_is_not_opened_again() {
    let service = Service::start().await;
    // Another instance releases the day early; its transaction is not committed yet.
    let mut other = PgConnection::connect(service.app.database().url()).await.unwrap();
    let mut release = other.begin().await.unwrap();
    for sql in [
        "INSERT INTO release.closed_window VALUES ('day', '2026-11-22', '2026-11-23')",
        "DELETE FROM intake.open_window WHERE kind = 'day'",
    ] {
        sqlx::query(sql).execute(&mut *release).await.unwrap();
    }
    let database = service.database().clone();
    let opening = tokio::spawn(async move { database.create_window(day("2026-11-22"), 1).await });
    let waits = "SELECT 'waits' FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event = 'transactionid'";
    while service.query(waits).await.unwrap().is_empty() {
        assert!(!opening.is_finished(), "it was to wait for the release");
        tokio::task::yield_now().await;
    }
    release.commit().await.unwrap();
    assert_eq!(opening.await.unwrap().unwrap(), None);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_writes_no_domains_behind_the_last_reports() {
    let mut service = Service::start().await;
    let second = service.another().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event]).await;
    std::mem::replace(&mut service.app, second).shutdown().await;
    assert_eq!(service.database().domains().await.unwrap(), []);
    service.app.shutdown().await;
}
