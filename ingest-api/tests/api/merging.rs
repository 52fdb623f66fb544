//! Merges of open windows: one record for each reporter, without losing a report or delaying anybody.

use ingest_api::intake::ValidReport;
use ingest_api::intake::rekey::rekey;
use ingest_api::jobs::merge::{
    Which, merge_in_turns, merge_open_windows, merge_turn, merge_window, merged_reporters,
};
use ingest_api::keys::KeyDirectory;
use ingest_api::open_windows::OpenWindows;
use ingest_api::store::StoreError;
use ingest_api::store::arrivals::Appender;
use ingest_api::store::login::Role;
use ingest_api::store::open_windows::StoredWindow;
use ingest_api::window::seal::seal;
use ingest_api::window::{Window, WindowKey, WindowKind};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::*;

/// The day on which tests start.
fn today() -> Window {
    Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap())
}

/// That day's window, and its key.
async fn day_of(service: &Service) -> (StoredWindow, WindowKey) {
    let stored = service.database().open_window(today()).await.unwrap().unwrap();
    let key = KeyDirectory::open(&service.config.key_dir).unwrap().read(today()).unwrap().unwrap();
    (stored, key)
}

/// These columns of each installation of a window, in stored order.
async fn rows(service: &Service, window: &StoredWindow, columns: &str) -> Vec<Vec<i64>> {
    let sql =
        format!("SELECT concat_ws(' ', {columns}) FROM intake.reporters({}) WHERE NOT is_pod", window.id);
    let numbers = |row: &String| row.split(' ').map(|number| number.parse().unwrap()).collect();
    service.query(&sql).await.unwrap().iter().map(numbers).collect()
}

/// Which transaction wrote each pack of a window.
async fn packs(service: &Service, window: &StoredWindow) -> Vec<String> {
    let sql = format!("SELECT xmin::text FROM intake.w{}_merged ORDER BY tableoid, ctid", window.id);
    service.query(&sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_no_sample_of_what_waits() {
    let service = Service::start().await;
    for event in ten_pods(5) {
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    service.query("ANALYZE").await.unwrap();
    let sampled =
        "SELECT attname::text FROM pg_stats WHERE schemaname = 'intake' AND tablename LIKE 'arrival%'
                   GROUP BY attname ORDER BY attname";
    assert_eq!(service.query(sampled).await.unwrap(), ["kind", "window_id"]);
    let by_itself = "SELECT relname::text FROM pg_class WHERE relname LIKE 'arrival\\__%' AND relkind = 'r'
                     AND NOT 'autovacuum_analyze_threshold=2147483647' = ANY (reloptions)";
    assert_eq!(service.query(by_itself).await.unwrap(), [""; 0], "and takes none under load");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_leaves_one_record_a_reporter_in_an_order_that_tells_nothing() {
    let service = Service::start().await;
    let events = ten_pods(5);
    for event in &events {
        assert_eq!(service.post("/event", event).await.status, 204);
    }
    service.report(&events).await;
    let (window, _) = day_of(&service).await;
    assert_eq!(rows(&service, &window, "subject").await.len(), 0, "arrivals are sealed");
    service.merge().await;
    let subjects = rows(&service, &window, "subject").await;
    assert_eq!(subjects.len(), 50);
    assert!(subjects.is_sorted(), "in the order of subjects, which are random");
    assert_eq!(packs(&service, &window).await.len(), 1, "and nothing tells which were committed together");
    assert_eq!(service.query("SELECT window_id::text FROM intake.arrival").await.unwrap(), [""; 0]);

    // Reports after a merge count together with those before it.
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-12-02T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(WindowKind::Month, "2026-11-01").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_killed_half_way_loses_nothing_and_holds_up_no_writer() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let (window, _) = day_of(&service).await;
    let options = service.database().options_of(ingest_api::store::login::Role::Release);
    let mut killed = PgConnection::connect_with(options).await.unwrap();
    killed.execute("BEGIN").await.unwrap();
    let begin = format!("SELECT intake.begin_merging({})", window.id);
    let begun: bool = sqlx::query_scalar(AssertSqlSafe(begin)).fetch_one(&mut killed).await.unwrap();
    assert!(begun);
    service.report(&ten_pods(6)).await;
    drop(killed);

    service.set_clock("2026-11-23T08:00:00Z");
    // The server may not have noticed yet.
    while service.app.run_jobs().await.unwrap().len() < 2 {}
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_after_a_few_reports_more_leaves_one_record_a_reporter_in_order_too() {
    let service = Service::start().await;
    let (window, key) = day_of(&service).await;
    service.report(&ten_pods(5)).await;
    service.merge().await;
    assert_eq!(service.counted(&window).await, (50, 10));
    for number in 0..10 {
        let event = proxied(number, 5, "1.0.0", "macos-aarch64", "de-CH");
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    assert!(service.database().waiting(&window).await.unwrap().0 > 0);
    service.merge().await;
    let merged = rows(&service, &window, "subject").await;
    assert_eq!(merged.len(), 60);
    assert!(merged.is_sorted());
    assert_eq!(service.database().waiting(&window).await.unwrap(), (0, 1), "one pack");

    // Without new reports, nothing is rewritten.
    let before = packs(&service, &window).await;
    assert_eq!(merge_turn(service.database(), &window, Some(&key), 1_000_000).await.unwrap(), None);
    assert_eq!(packs(&service, &window).await, before);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_window_is_not_merged_for_a_few_reports() {
    let service = Service::start().await;
    let (window, _) = day_of(&service).await;
    service.report(&ten_pods(5)).await;
    assert_eq!(service.counted(&window).await, (50, 10));
    service.report(&ten_pods(6)).await;
    let keys = OpenWindows::new(KeyDirectory::open(&service.config.key_dir).unwrap());
    let merge = async |which| {
        assert!(merge_open_windows(service.database(), &keys, which).await.failed.is_empty());
        merged_reporters(service.database(), &window).await.unwrap()
    };
    assert_eq!(merge(Which::Large).await, (50, 10));
    assert_eq!(merge(Which::All).await, (60, 10));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_an_open_window_puts_off_its_merge_and_its_close_and_holds_up_no_writer() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let (window, key) = day_of(&service).await;
    let mut dump = PgConnection::connect(service.app.database().url()).await.unwrap();
    let read = format!("BEGIN; LOCK TABLE intake.arrival, intake.w{}_merged IN ACCESS SHARE MODE", window.id);
    sqlx::raw_sql(AssertSqlSafe(read)).execute(&mut dump).await.unwrap();

    let merge = merge_turn(service.database(), &window, Some(&key), 1_000_000);
    let report = async {
        let waits = "SELECT 'waits' FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'";
        while service.query(waits).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let status = service.post("/event", &pod(20, "0.4.0")).await.status;
        (status, service.query(waits).await.unwrap())
    };
    let (merged, (status, still_waits)) = tokio::join!(merge, report);
    assert!(matches!(merged, Err(StoreError::InUse)), "{merged:?}");
    assert_eq!(
        (status, still_waits),
        (204, vec!["waits".to_owned()]),
        "the merge waits, and the writer does not"
    );

    service.set_clock("2026-11-23T08:00:00Z");
    let close = service.close_job();
    let closed = close.run("2026-11-23T08:00:00Z".parse().unwrap()).await;
    assert_eq!(closed.put_off, [window.window]);
    assert!(closed.failed.is_empty() && closed.released.len() == 1, "{closed:?}");
    sqlx::raw_sql("COMMIT").execute(&mut dump).await.unwrap();
    assert_eq!(service.app.run_jobs().await.unwrap(), [window.window]);
    service.app.shutdown().await;
}

/// The arrivals were sealed with a key that is only in the service's memory now.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_key_file_is_lost_merges_with_the_key_that_it_remembers() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    std::fs::remove_file(service.key_file("day-2026-11-22.key")).unwrap();
    service.report(&ten_pods(6)).await;
    service.app.run_jobs().await.unwrap();
    let window = service.database().open_window(today()).await.unwrap().unwrap();
    assert_eq!(merged_reporters(service.database(), &window).await.unwrap(), (60, 10));
    service.set_clock("2026-11-23T08:00:00Z");
    assert_eq!(service.app.run_jobs().await.unwrap().len(), 2, "nothing waits for the key");
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    assert!(released.contains(&("pod", "installations", "all".to_owned(), 60)), "{released:?}");
    service.app.shutdown().await;
}

/// As a dump does that begins after everything was merged.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_put_off_by_whoever_reads_the_window_though_nothing_is_to_be_merged() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.merge().await;
    let (window, _) = day_of(&service).await;
    let mut dump = PgConnection::connect(service.app.database().url()).await.unwrap();
    let read = format!("BEGIN; LOCK TABLE intake.w{}_merged IN ACCESS SHARE MODE", window.id);
    sqlx::raw_sql(AssertSqlSafe(read)).execute(&mut dump).await.unwrap();
    let close = service.close_job();
    let closed = close.run("2026-11-23T08:00:00Z".parse().unwrap()).await;
    assert_eq!(closed.put_off, [window.window]);
    assert!(closed.failed.is_empty() && closed.released.len() == 1, "{closed:?}");
    dump.execute("COMMIT").await.unwrap();
    assert_eq!(close.run("2026-11-23T08:00:00Z".parse().unwrap()).await.released, [window.window]);
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
    service.query(&format!("DROP TABLE intake.w{}_merged CASCADE", windows[0].id)).await.unwrap();
    assert!(service.app.run_jobs().await.is_err());
    for window in &windows[1..] {
        assert_eq!(rows(&service, window, "subject").await.len(), 50);
    }
    assert_eq!(service.database().domains().await.unwrap().len(), 1);
    service.app.shutdown().await;
}

/// An attacker with the writer's role can write pieces that nobody can open. They delay nothing, and change
/// no count.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_key_has_sealed_is_given_up_and_all_else_is_counted() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let (window, key) = day_of(&service).await;
    let report = ValidReport::from_json(pod(77, "0.4.0").to_string().as_bytes()).unwrap();
    let other =
        KeyDirectory::open(tempfile::tempdir().unwrap().path()).unwrap().read_or_create(today()).unwrap();
    let forged = seal(&other, &rekey(&other, [&report]));
    let pieces = [(window, forged), (window, vec![vec![7; 41], vec![7; 1_996]])];
    Appender::new(service.database().clone()).append(&pieces).await.unwrap();
    for length in [0, 40, 1_997] {
        let piece = [(window, vec![vec![7; length]])];
        let appended = Appender::new(service.database().clone()).append(&piece).await;
        assert!(appended.is_err(), "nor is one of any length");
    }
    let merged = merge_turn(service.database(), &window, Some(&key), 1_000_000).await.unwrap().unwrap();
    assert_eq!((merged.unopened, merged.is_partial), (3, false));
    assert_eq!(service.counted(&window).await, (50, 10));
    merge_window(service.database(), &window, Some(&key)).await.unwrap();
    service.app.shutdown().await;
}

/// The tables that wait to be dropped, and their parts.
async fn put_away(service: &Service) -> Vec<String> {
    let sql = "SELECT c.oid::regclass::text FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
               WHERE 'intake' = c.relnamespace::regnamespace::text AND c.relname ~ '^gone'
                  OR i.inhparent::regclass::text ~ '^intake.gone'
               ORDER BY 1";
    service.query(sql).await.unwrap()
}

/// As a dump does that began when the table was put away.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_away_is_dropped_as_soon_as_nobody_reads_it_and_holds_up_nothing_else() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    service.merge().await;
    service.report(&ten_pods(6)).await;
    let (window, key) = day_of(&service).await;
    merge_turn(service.database(), &window, Some(&key), 1_000_000).await.unwrap().unwrap();
    let [table, part] = put_away(&service).await.try_into().unwrap();
    for (role, name) in Role::ALL.into_iter().flat_map(|role| [(role, &table), (role, &part)]) {
        let mut connection = PgConnection::connect_with(service.database().options_of(role)).await.unwrap();
        let read = sqlx::query(AssertSqlSafe(format!("SELECT FROM {name}"))).execute(&mut connection).await;
        assert!(read.unwrap_err().to_string().contains("permission denied"), "{role:?} reads {name}");
    }
    let mut dump = PgConnection::connect(service.app.database().url()).await.unwrap();
    let read = format!("BEGIN; LOCK TABLE {table}, {part} IN ACCESS SHARE MODE");
    sqlx::raw_sql(AssertSqlSafe(read)).execute(&mut dump).await.unwrap();
    service.database().drop_put_away().await.unwrap();
    // Other windows are merged and drop their old tables, and so is this one again.
    let view = format!("CREATE VIEW public.mine AS SELECT records FROM intake.w{}_merged", window.id);
    service.query(&view).await.unwrap();
    service.report(&ten_pods(7)).await;
    service.app.run_jobs().await.unwrap();
    let left = put_away(&service).await;
    assert!(
        left.len() == 3 && left.contains(&table) && left.contains(&part),
        "and what has the view: {left:?}"
    );
    assert_eq!(merged_reporters(service.database(), &window).await.unwrap(), (70, 10));
    dump.execute("COMMIT").await.unwrap();
    service.app.run_jobs().await.unwrap();
    assert_eq!(put_away(&service).await.len(), 1);
    service.query("DROP VIEW public.mine").await.unwrap();
    service.app.run_jobs().await.unwrap();
    assert_eq!(put_away(&service).await, [""; 0]);
    service.app.shutdown().await;
}

/// More than one read, write or merge holds; and packs that somebody has moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_hundreds_of_packs_is_merged_in_parts_and_counted_in_whatever_order_they_lie() {
    const INSTALLATIONS: u64 = 70_000;
    const PODS: u64 = 2_800;
    let service = Service::start().await;
    service.report(&[pod(1, "0.4.0")]).await;
    let (window, key) = day_of(&service).await;
    let report = |number: u64| {
        let (pod, user) = (number % PODS, number);
        let event = format!(
            "{{\"proxied\":true,\"origin\":{{\"pod\":{{\"domain_hash\":\"{pod:016x}\",\"user_hash\":\"{user:016x}\"}}}}}}"
        );
        ValidReport::from_json(event.as_bytes()).unwrap()
    };
    let reports: Vec<ValidReport> = (0..INSTALLATIONS).map(report).collect();
    let mut pieces = seal(&key, &rekey(&key, &reports));
    let later = pieces.split_off(100);
    let mut appender = Appender::new(service.database().clone());
    appender.append(&[(window, pieces)]).await.unwrap();
    let first = merge_turn(service.database(), &window, Some(&key), 100_000).await.unwrap().unwrap();
    assert!(first.is_partial && (100_000..102_000).contains(&first.bytes), "{first:?}");
    let (some, _) = merged_reporters(service.database(), &window).await.unwrap();
    assert!((2_000..6_000).contains(&some), "{some} of some 6,000");
    appender.append(&[(window, later)]).await.unwrap();
    // It holds one of the few connections.
    drop(appender);
    merge_in_turns(service.database(), &window, Some(&key), 1_000_000).await.unwrap();
    assert_eq!(service.database().waiting(&window).await.unwrap().0, 0);
    let packs = packs(&service, &window).await.len();
    let of_parts = format!(
        "SELECT concat_ws(' ', count(*), max(pg_relation_size(inhrelid)) / 8192,
                    count(*) FILTER (WHERE EXISTS (SELECT FROM aclexplode(p.relacl) WHERE grantee <> p.relowner)))
         FROM pg_inherits JOIN pg_class p ON p.oid = inhrelid WHERE inhparent = 'intake.w{}_merged'::regclass",
        window.id
    );
    let parts = service.query(&of_parts).await.unwrap();
    assert_eq!(parts, ["2 256 0"], "two, of 256 packs at most, which nobody else may read or write");
    assert!((257..512).contains(&packs), "{packs}");
    assert_eq!(put_away(&service).await, [""; 0], "what each turn replaced is dropped");
    let all = (INSTALLATIONS as i64, PODS as i64 + 1);
    assert_eq!(merged_reporters(service.database(), &window).await.unwrap(), all);
    assert!(rows(&service, &window, "subject").await.is_sorted(), "and told in the order of the parts");

    let table = format!("intake.w{}_merged", window.id);
    let shuffle = format!(
        "DO $$ BEGIN
             CREATE TABLE public.moved AS SELECT records FROM {table} ORDER BY md5(records);
             TRUNCATE {table};
             INSERT INTO {table} SELECT records FROM public.moved;
             DROP TABLE public.moved;
         END $$"
    );
    service.query(&shuffle).await.unwrap();
    assert!(merged_reporters(service.database(), &window).await.is_err(), "they lie in another order");
    service.report(&ten_pods(5)).await;
    service.merge().await;
    assert_eq!(merged_reporters(service.database(), &window).await.unwrap(), (all.0 + 50, all.1 + 9));
    service.query(&shuffle).await.unwrap();
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(WindowKind::Day, "2026-11-22").await;
    let total = released.iter().find(|(_, family, ..)| *family == "installations").unwrap().3;
    assert_eq!(total, 70_100, "70,050, rounded");
    service.app.shutdown().await;
}
