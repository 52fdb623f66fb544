//! Nothing acknowledged is lost: neither while the vendor is down, nor in a crash of the proxy or of
//! Postgres.
//!
//! With the real binaries and the real clock. A run at midnight UTC may see its counts spread over two
//! windows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::fleet::{Fleet, FleetSize};
use e2e::lanes::spread;
use e2e::process::{ProxyProcess, VendorProcess};
use e2e::stack::{client, folder, post};
use ingest_api::app::OpenDatabase;
use ingest_api::config::Config;
use ingest_api::jobs::merge::{merge_window, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::window::Subject;
use jiff::civil::date;
use serde_json::{Value, json};
use shared::pseudonym::{PodId, UserHash};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// How long a condition may take to become true.
const PATIENCE: Duration = Duration::from_secs(90);

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A thousand events of apps, from one day of a fleet.
fn thousand_events() -> Vec<String> {
    let fleet = Fleet::new(11, FleetSize::DEMO, date(2026, 8, 24));
    let day = fleet.day(1);
    let events: Vec<_> =
        day.pods.into_iter().flat_map(|pod| pod.events).map(|sent| sent.json).take(1_000).collect();
    assert_eq!(events.len(), 1_000);
    events
}

/// The pseudonyms of some events, as their apps made them.
fn user_hashes(events: &[String]) -> BTreeSet<String> {
    let hash = |event: &String| {
        let event: Value = serde_json::from_str(event).unwrap();
        event["origin"]["pod"]["user_hash"].as_str().unwrap().to_owned()
    };
    events.iter().map(hash).collect()
}

fn write_proxy_config(folder: &Path, vendor: SocketAddr) -> PathBuf {
    let file = folder.join("prose.toml");
    let text = format!(
        "[pod_proxy]\ndomain = 'prose.example'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://{vendor}/_api/cloud'\n\
         data_dir = '{}'\naccounts.fixed = 33\npod_version = '0.5.0'\nflush_interval = 'PT1S'\nlog_level = 'debug'\n",
        folder.join("pod").display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

async fn send_all(proxy: &ProxyProcess, events: &[String]) {
    let (http, url) = (client().unwrap(), proxy.event_url());
    let send = move |event| {
        let (http, url) = (http.clone(), url.clone());
        async move { post(&http, &url, event).await.map(drop) }
    };
    spread(16, events.to_vec(), send).await.unwrap();
}

/// Waits until the vendor has everything that the proxy stored.
async fn wait_until_sent(proxy: &ProxyProcess) {
    let http = client().unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let health = http.get(format!("http://{}/healthz", proxy.address())).send().await.unwrap();
        let health: Value = health.json().await.unwrap();
        if health["spool"]["entries"] == 0 {
            return;
        }
        assert!(Instant::now() < end, "it still holds {}", health["spool"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The contents of the open windows: for each kind, how many distinct reporters said what, without their
/// subjects.
async fn counts(data_dir: &Path) -> Vec<String> {
    let config = Config::in_directory(data_dir);
    let open = OpenDatabase::open(&config, false).await.unwrap();
    let keys = KeyDirectory::open(&config.key_dir).unwrap();
    let windows = open.database.open_windows().await.unwrap();
    let mut connection = PgConnection::connect(open.url()).await.unwrap();
    let mut counts = Vec::new();
    for stored in windows {
        let key = keys.read(stored.window).unwrap().unwrap();
        merge_window(&open.database, &stored, Some(&key)).await.unwrap();
        let (installations, pods) = merged_reporters(&open.database, &stored).await.unwrap();
        counts.push(format!("{}: {installations} installations, {pods} Pods", stored.window));
        let id = stored.id;
        let sql = format!(
            "SELECT format('%s %s %s %s: %s', CASE WHEN is_pod THEN 'pods' ELSE 'installations' END,
                     version, platform, language_or_size, count(*)) AS said
             FROM intake.reporters({id}) GROUP BY is_pod, version, platform, language_or_size"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        let mut said: Vec<String> = rows.iter().map(|row| row.get("said")).collect();
        said.sort();
        counts.append(&mut said);
    }
    connection.close().await.unwrap();
    open.close().await;
    counts
}

/// What an app sent about itself must not be in a log.
fn assert_clean(log: &str, pseudonyms: &BTreeSet<String>) {
    assert!(!log.is_empty());
    for pseudonym in pseudonyms {
        assert!(!log.contains(pseudonym), "a pseudonym is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_who_is_away_and_a_proxy_that_is_killed_change_no_count() {
    let events = thousand_events();
    let pseudonyms = user_hashes(&events);

    let calm = folder().unwrap();
    let mut vendor = VendorProcess::start(&calm.path().join("vendor"), anywhere()).unwrap();
    let mut proxy = ProxyProcess::start(&write_proxy_config(calm.path(), vendor.address())).unwrap();
    send_all(&proxy, &events).await;
    wait_until_sent(&proxy).await;
    let expected = counts(&calm.path().join("vendor")).await;
    proxy.process().stop().unwrap();
    vendor.process().stop().unwrap();
    assert!(
        expected[0].ends_with(&format!(" {} installations, 1 Pods", pseudonyms.len())),
        "{}",
        expected[0]
    );

    let stormy = folder().unwrap();
    let data_dir = stormy.path().join("vendor");
    let mut vendor = VendorProcess::start(&data_dir, anywhere()).unwrap();
    let address = vendor.address();
    let config = write_proxy_config(stormy.path(), address);
    let mut proxy = ProxyProcess::start(&config).unwrap();
    // The Pod's first report about itself is sent before the vendor goes down.
    wait_until_sent(&proxy).await;
    vendor.process().stop().unwrap();
    send_all(&proxy, &events).await;
    proxy.process().kill().unwrap();
    assert_clean(&proxy.process().log(), &pseudonyms);
    assert_clean(&vendor.process().log(), &pseudonyms);

    let mut vendor = VendorProcess::start(&data_dir, address).unwrap();
    let mut proxy = ProxyProcess::start(&config).unwrap();
    wait_until_sent(&proxy).await;
    assert_eq!(counts(&data_dir).await, expected);
    proxy.process().stop().unwrap();
    vendor.process().stop().unwrap();
}

/// Each event is from another installation, so that each can be found or missed.
fn lonely_event(number: usize) -> (UserHash, Value) {
    let user_hash = UserHash::of_device(&format!("user{number}"), "jabber.example", "device");
    let pod = json!({ "domain_hash": PodId::of_domain("jabber.example"), "user_hash": user_hash });
    (user_hash, json!({ "name": "app:daily", "origin": { "app": { "name": "prose-app-web" }, "pod": pod } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_counted_after_postgres_was_killed() {
    const EVENTS: usize = 20_000;
    const BATCH: usize = 50;
    let folder = folder().unwrap();
    let data_dir = folder.path().join("vendor");
    let mut vendor = VendorProcess::start(&data_dir, anywhere()).unwrap();
    let url = format!("http://{}/_api/cloud/v1/analytics/events", vendor.address());
    let ready = format!("http://{}/readyz", vendor.address());

    let acknowledged = Arc::new(AtomicUsize::new(0));
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let http = client().unwrap();
    let send = {
        let (acknowledged, taken) = (acknowledged.clone(), taken.clone());
        move |first: usize| {
            let (http, url, ready) = (http.clone(), url.clone(), ready.clone());
            let (acknowledged, taken) = (acknowledged.clone(), taken.clone());
            async move {
                let numbers = first..first + BATCH;
                let batch: Vec<_> = numbers.clone().map(|number| lonely_event(number).1).collect();
                let body = serde_json::to_string(&batch)?;
                if post(&http, &url, body).await.is_ok() {
                    acknowledged.fetch_add(BATCH, Ordering::Relaxed);
                    taken.lock().unwrap().extend(numbers);
                    return Ok(());
                }
                // These are not sent again: they may count or not. The others are retried later.
                let end = Instant::now() + PATIENCE;
                while !http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    anyhow::ensure!(Instant::now() < end, "the service did not come back");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            }
        }
    };
    let sending = tokio::spawn(spread(8, (0..EVENTS).step_by(BATCH).collect(), send));
    while acknowledged.load(Ordering::Relaxed) < EVENTS * 2 / 5 {
        assert!(!sending.is_finished());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    vendor.kill_postgres().unwrap();
    let before = acknowledged.load(Ordering::Relaxed);
    assert!(before < EVENTS * 4 / 5, "killed in the middle, not when {before} had been acknowledged");
    sending.await.unwrap().unwrap();
    assert!(vendor.process().log().contains("the private Postgres ended; starting it again"));

    let config = Config::in_directory(&data_dir);
    let open = OpenDatabase::open(&config, false).await.unwrap();
    let keys = KeyDirectory::open(&config.key_dir).unwrap();
    let mut connection = PgConnection::connect(open.url()).await.unwrap();
    let taken = taken.lock().unwrap().clone();
    assert!(taken.len() > EVENTS / 2, "{} were acknowledged", taken.len());
    for stored in open.database.open_windows().await.unwrap() {
        let key = keys.read(stored.window).unwrap().unwrap();
        merge_window(&open.database, &stored, Some(&key)).await.unwrap();
        let sql = format!("SELECT subject FROM intake.reporters({}) WHERE NOT is_pod", stored.id);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        let counted: BTreeSet<i64> = rows.iter().map(|row| row.get("subject")).collect();
        let subject = |number: usize| Subject::new(&key, lonely_event(number).0.as_bytes()).as_i64();
        let missing = taken.iter().filter(|number| !counted.contains(&subject(**number))).count();
        assert_eq!(missing, 0, "{}: of {} that were acknowledged", stored.window, taken.len());
        let sent: BTreeSet<i64> = (0..EVENTS).map(subject).collect();
        assert!(counted.is_subset(&sent));
    }
    connection.close().await.unwrap();
    open.close().await;
    vendor.process().stop().unwrap();
    let pseudonyms = (0..EVENTS).map(|number| json!(lonely_event(number).0).as_str().unwrap().to_owned());
    assert_clean(&vendor.process().log(), &pseudonyms.collect());
}
