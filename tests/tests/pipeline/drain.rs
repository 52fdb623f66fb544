//! `SIGTERM` under load: no acknowledged event is lost, and the process exits within ten seconds. Also with
//! clients that hold their connections, a vendor that does not answer, and a Postgres that is stopped.

#![allow(clippy::print_stdout, reason = "it tells how long it took")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use e2e::process::{Process, ProxyProcess, VendorProcess};
use e2e::stack::{client, folder};
use ingest_api::app::OpenDatabase;
use ingest_api::config::Config;
use ingest_api::jobs::merge::merge_window;
use ingest_api::keys::KeyDirectory;
use ingest_api::window::Subject;
use serde_json::{Value, json};
use shared::pseudonym::{PodId, Salt, UserHash};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// How long a process may take to exit after `SIGTERM`.
const SOON: Duration = Duration::from_secs(10);
/// How long anything else may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many requests are in flight.
const LANES: usize = 64;
/// How many clients never end their request.
const SLOW: usize = 20;

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn user_hash(number: usize) -> UserHash {
    UserHash::of_device(&format!("user{number}"), "jabber.example", "device")
}

/// Each event is from another installation, so that each can be found or missed.
fn event(number: usize) -> String {
    let pod = json!({ "domain_hash": PodId::of_domain("jabber.example"), "user_hash": user_hash(number) });
    json!({ "name": "app:daily", "origin": { "app": { "name": "prose-app-web" }, "pod": pod } }).to_string()
}

/// Clients that send one event after the other, until nobody answers.
struct Load {
    acknowledged: Arc<Mutex<Vec<usize>>>,
    lanes: tokio::task::JoinSet<()>,
}

impl Load {
    fn on(url: &str) -> Self {
        let (http, next) = (client().unwrap(), Arc::new(AtomicUsize::new(0)));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut lanes = tokio::task::JoinSet::new();
        for _ in 0..LANES {
            let (http, next, acknowledged) = (http.clone(), Arc::clone(&next), Arc::clone(&acknowledged));
            let url = url.to_owned();
            lanes.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let request =
                        http.post(&url).header("content-type", "application/json").body(event(number));
                    match request.send().await {
                        Ok(answer) if answer.status() == 204 => acknowledged.lock().unwrap().push(number),
                        // Rejected for now; it is not sent again.
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
        }
        Self { acknowledged, lanes }
    }

    async fn until_acknowledged(&self, events: usize) {
        let end = Instant::now() + PATIENCE;
        while self.acknowledged.lock().unwrap().len() < events {
            assert!(Instant::now() < end, "{} acknowledged", self.acknowledged.lock().unwrap().len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The acknowledged events, once nobody answers any more.
    async fn end(mut self) -> Vec<usize> {
        let ended = async { while self.lanes.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("somebody still answers");
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Clients that begin a request and never end it: some in the head, some in the body.
async fn slow_clients(address: SocketAddr, path: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in 0..SLOW {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 400\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"\r\n{\"name\":").await.unwrap();
        }
        streams.push(stream);
    }
    streams
}

/// Asks it to end, and checks that it exits cleanly and in time.
async fn stop_soon(mut process: impl AsMut<Process> + Send + 'static, what: &str) {
    let started = Instant::now();
    tokio::task::spawn_blocking(move || process.as_mut().stop().unwrap()).await.unwrap();
    let took = started.elapsed();
    assert!(took < SOON, "{what}: it took {took:?}");
    println!("{what}: gone after {took:?}");
}

struct Vendor(VendorProcess);

impl AsMut<Process> for Vendor {
    fn as_mut(&mut self) -> &mut Process {
        self.0.process()
    }
}

struct Proxy(ProxyProcess);

impl AsMut<Process> for Proxy {
    fn as_mut(&mut self) -> &mut Process {
        self.0.process()
    }
}

/// A vendor that accepts everything, and what it got.
async fn willing_vendor(listener: TcpListener) -> Arc<Mutex<BTreeSet<String>>> {
    async fn take(State(taken): State<Arc<Mutex<BTreeSet<String>>>>, body: String) -> String {
        let events: Vec<Value> = serde_json::from_str(&body).unwrap();
        let accepted = events.len();
        let hash = |event: Value| Some(event["origin"]["pod"]["user_hash"].as_str()?.to_owned());
        taken.lock().unwrap().extend(events.into_iter().filter_map(hash));
        json!({ "accepted": accepted, "rejected": [] }).to_string()
    }
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let router = Router::new().route("/v1/analytics/events", post(take)).with_state(Arc::clone(&taken));
    tokio::spawn(async move { axum::serve(listener, router).await });
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_under_load_with_slow_clients_and_a_vendor_who_says_nothing_is_gone_soon_and_loses_nothing() {
    let folder = folder().unwrap();
    let salt = [7; Salt::LEN];
    std::fs::write(folder.path().join("salt"), salt).unwrap();
    let silent = TcpListener::bind(anywhere()).await.unwrap();
    let vendor = silent.local_addr().unwrap();
    let config = folder.path().join("prose.toml");
    let text = format!(
        "[pod_proxy]\ndomain = 'prose.example'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://{vendor}'\n\
         data_dir = '{}'\nsalt_file = '{}'\nflush_interval = 'PT1S'\nrequest_timeout = 'PT5M'\n",
        folder.path().join("pod").display(),
        folder.path().join("salt").display()
    );
    std::fs::write(&config, text).unwrap();
    let proxy = ProxyProcess::start(&config).unwrap();
    // The vendor accepts the connection, and does not answer.
    let (held, _) = tokio::time::timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    let _slow = slow_clients(proxy.address(), "/cloud-api-proxy/v1/analytics/event").await;
    let load = Load::on(&proxy.event_url());
    load.until_acknowledged(2_000).await;
    stop_soon(Proxy(proxy), "proxy").await;
    let acknowledged = load.end().await;

    drop((held, silent));
    let taken = willing_vendor(TcpListener::bind(vendor).await.unwrap()).await;
    let _proxy = ProxyProcess::start(&config).unwrap();
    let salt = Salt::from_bytes(&salt).unwrap();
    let salted = |number: &usize| json!(salt.apply(user_hash(*number))).as_str().unwrap().to_owned();
    let expected: BTreeSet<_> = acknowledged.iter().map(salted).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let missing = expected.difference(&taken.lock().unwrap()).count();
        if missing == 0 {
            break;
        }
        assert!(Instant::now() < end, "{missing} of {} acknowledged events are lost", expected.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many of these events are missing from an open window.
async fn missing(data_dir: &Path, acknowledged: &[usize]) -> usize {
    let config = Config::in_directory(data_dir);
    let open = OpenDatabase::open(&config, false).await.unwrap();
    let keys = KeyDirectory::open(&config.key_dir).unwrap();
    let mut connection = PgConnection::connect(open.url()).await.unwrap();
    let mut missing = 0;
    for stored in open.database.open_windows().await.unwrap() {
        let key = keys.read(stored.window).unwrap().unwrap();
        merge_window(&open.database, &stored, Some(&key)).await.unwrap();
        let sql = format!("SELECT subject FROM intake.reporters({}) WHERE NOT is_pod", stored.id);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        let counted: BTreeSet<i64> = rows.iter().map(|row| row.get("subject")).collect();
        let subject = |number| Subject::new(&key, user_hash(number).as_bytes()).as_i64();
        let is_missing = |number: &&usize| !counted.contains(&subject(**number));
        missing += acknowledged.iter().filter(is_missing).count();
    }
    connection.close().await.unwrap();
    open.close().await;
    missing
}

async fn vendor_under_load(data_dir: &Path) -> (VendorProcess, Load, Vec<TcpStream>) {
    let vendor = VendorProcess::start(data_dir, anywhere()).unwrap();
    let path = "/_api/cloud/v1/analytics/event";
    let slow = slow_clients(vendor.address(), path).await;
    let load = Load::on(&format!("http://{}{path}", vendor.address()));
    load.until_acknowledged(2_000).await;
    (vendor, load, slow)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_api_under_load_with_slow_clients_is_gone_soon_and_loses_nothing() {
    let folder = folder().unwrap();
    let data_dir = folder.path().join("vendor");
    let (vendor, load, _slow) = vendor_under_load(&data_dir).await;
    stop_soon(Vendor(vendor), "ingest-api").await;
    let acknowledged = load.end().await;
    assert_eq!(missing(&data_dir, &acknowledged).await, 0, "of {}", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_api_whose_postgres_stands_still_is_gone_soon_and_loses_nothing() {
    let folder = folder().unwrap();
    let data_dir = folder.path().join("vendor");
    let (vendor, load, _slow) = vendor_under_load(&data_dir).await;
    let open = OpenDatabase::open(&Config::in_directory(&data_dir), false).await.unwrap();
    let mut connection = PgConnection::connect(open.url()).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE intake.arrival IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let waiting = "SELECT count(*) AS n FROM pg_catalog.pg_locks WHERE NOT granted";
        let waiting: i64 = sqlx::query(waiting).fetch_one(&mut *lock).await.unwrap().get("n");
        if waiting > 0 {
            break;
        }
        assert!(Instant::now() < end, "nobody waits for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop_soon(Vendor(vendor), "ingest-api, Postgres locked").await;
    let acknowledged = load.end().await;
    drop(lock);
    drop(connection);
    open.close().await;
    assert_eq!(missing(&data_dir, &acknowledged).await, 0, "of {}", acknowledged.len());
}
