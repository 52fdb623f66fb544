//! A service on a database of its own, and reports to send to it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use ingest_api::app::{App, OpenDatabase, Schedule};
use ingest_api::config::{Config, DatabaseConfig};
use ingest_api::embedded::{Embedded, find_binaries};
use ingest_api::jobs::close_windows::CloseWindows;
use ingest_api::jobs::merge::{Which, merge_open_windows, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::open_windows::OpenWindows;
use ingest_api::release::Family;
use ingest_api::release::ReleasedBlock;
use ingest_api::store::Database;
use ingest_api::store::open_windows::StoredWindow;
use ingest_api::window::{Window, WindowKind};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};
use shared::clock::FixedClock;
use shared::pseudonym::{PodId, UserHash};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// One Postgres for all tests of this process. It ends with the process, however the process ends.
fn postgres() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("prose-api-").tempdir().unwrap().keep();
        // A shell that waits on our pipe. When this process is gone, the shell stops the server and cleans
        // up.
        #[expect(clippy::zombie_processes, reason = "it outlives us; that is what it is for")]
        let mut watchdog = Command::new("sh")
            .arg("-c")
            .arg(r#"cat > /dev/null; kill -INT "$(head -n 1 "$1/postgres/postmaster.pid")"; sleep 2; rm -rf "$1""#)
            .arg("watchdog")
            .arg(&directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::mem::forget(watchdog.stdin.take());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let embedded = Embedded::start(&directory, true).await.unwrap();
                send.send(embedded.url()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    })
}

/// A service, and what it runs on.
pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) config: Config,
    /// Removed with its contents when the test ends.
    _directory: TempDir,
}

impl Service {
    /// Starts at noon of 22 November 2026, a Sunday.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, with another configuration.
    pub(crate) async fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_at("2026-11-22T12:00:00Z".parse().unwrap(), configure).await
    }

    /// The same, at another time.
    pub(crate) async fn start_at(now: Timestamp, configure: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::in_directory(directory.path());
        // All requests come from this machine.
        config.limits = None;
        configure(&mut config);
        config.listen = ([127, 0, 0, 1], 0).into();
        config.metrics_listen = ([127, 0, 0, 1], 0).into();
        config.database = DatabaseConfig::Url(create_database().await);
        let open = OpenDatabase::open(&config, false).await.unwrap();
        open.database.migrate().await.unwrap();
        open.close().await;
        let clock = Arc::new(FixedClock::new(now));
        let app = App::start(config.clone(), clock.clone(), Schedule::OnCall).await.unwrap();
        Self { app, clock, config, _directory: directory }
    }

    /// A second instance: the same database, key directory and clock.
    pub(crate) async fn another(&self) -> App {
        App::start(self.config.clone(), self.clock.clone(), Schedule::OnCall).await.unwrap()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.app.database().database
    }

    /// Merges the arrivals of the open windows, and closes none.
    pub(crate) async fn merge(&self) {
        let keys = KeyDirectory::open(&self.config.key_dir).unwrap();
        let run = merge_open_windows(self.database(), &OpenWindows::new(keys), Which::All).await;
        assert!(run.failed.is_empty() && !run.put_off, "{run:?}");
    }

    /// The job that closes windows, for running it alone.
    pub(crate) fn close_job(&self) -> CloseWindows {
        CloseWindows {
            database: self.database().clone(),
            keys: KeyDirectory::open(&self.config.key_dir).unwrap(),
            thresholds: self.config.thresholds,
        }
    }

    /// How many installations and Pods have reported in a window.
    pub(crate) async fn counted(&self, window: &StoredWindow) -> (i64, i64) {
        self.merge().await;
        merged_reporters(self.database(), window).await.unwrap()
    }

    pub(crate) fn key_files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(&self.config.key_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn key_file(&self, name: &str) -> PathBuf {
        self.config.key_dir.join(name)
    }

    pub(crate) fn set_clock(&self, now: &str) {
        self.clock.set(now.parse::<Timestamp>().unwrap());
    }

    /// Sends a batch, and fails unless all of it is accepted.
    pub(crate) async fn report(&self, events: &[Value]) {
        for batch in events.chunks(1_000) {
            let response = self.post("/events", &Value::from(batch)).await;
            assert_eq!(response.status, 200, "{}", response.body);
            assert_eq!(response.json()["accepted"], batch.len(), "{}", response.body);
        }
    }

    pub(crate) async fn post(&self, route: &str, body: &Value) -> Response {
        post_to(self.app.address(), route, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Response {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        self.send("GET", path, &headers, b"").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        send_to(self.app.address(), method, path, headers, body).await
    }

    pub(crate) async fn token(&self) -> String {
        self.app.issue_start_token().await.unwrap().reveal().to_owned()
    }

    /// What was published about a window, as (population, family, label, number), sorted by name.
    pub(crate) async fn released(
        &self,
        kind: WindowKind,
        start: &str,
    ) -> Vec<(&'static str, &'static str, String, u64)> {
        let day: Date = start.parse().unwrap();
        let releases = self.database().releases(&[Window::of_day(kind, day)], &Family::ALL).await.unwrap();
        let blocks = releases.iter().flat_map(|release| release.blocks());
        let mut blocks: Vec<_> = blocks
            .map(|ReleasedBlock { population, family, label, published }| {
                (population.as_str(), family.as_str(), label.clone(), *published)
            })
            .collect();
        blocks.sort_by(|a, b| b.0.cmp(a.0).then_with(|| (a.1, &a.2).cmp(&(b.1, &b.2))));
        blocks
    }

    /// All text and numbers in the database, as `psql` would show them.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<String>, sqlx::Error> {
        let mut connection = PgConnection::connect(self.app.database().url()).await.unwrap();
        let rows =
            sqlx::query_scalar::<_, String>(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
        connection.close().await.unwrap();
        rows
    }
}

pub(crate) async fn post_to(address: SocketAddr, route: &str, body: &Value) -> Response {
    let path = format!("/_api/cloud/v1/analytics{route}");
    send_to(address, "POST", &path, &[("content-type", "application/json")], body.to_string().as_bytes())
        .await
}

/// The metrics, as Prometheus reads them.
pub(crate) async fn metrics(service: &Service) -> String {
    send_to(service.app.metrics_address(), "GET", "/metrics", &[], b"").await.body
}

/// Replaces some words of a function in the service's database.
pub(crate) async fn mutate(service: &Service, function: &str, replacements: &[(&str, &str)]) {
    let definition = format!("SELECT pg_get_functiondef('{function}'::regproc)");
    let mut definition = service.query(&definition).await.unwrap().remove(0);
    for (from, to) in replacements {
        assert!(definition.contains(from), "{from} in {definition}");
        definition = definition.replace(from, to);
    }
    service.query(&definition).await.unwrap();
}

/// Runs a program of Postgres on a database.
pub(crate) fn postgres_tool(program: &str, url: &str, arguments: &[&str]) {
    let done = Command::new(find_binaries().unwrap().join(program))
        .args(["-d", url])
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// One HTTP/1.1 request over a connection of its own.
pub(crate) async fn send_to(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut request = Vec::new();
    let length = body.len();
    write!(
        request,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n"
    )
    .unwrap();
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    request.extend(b"\r\n");
    request.extend(body);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The server may close before it has read a body that it rejects; only its answer matters.
    let _ = stream.write_all(&request).await;
    let _ = stream.read_to_end(&mut answer).await;
    Response::parse(&String::from_utf8(answer).unwrap())
}

pub(crate) async fn create_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    // Starting Postgres blocks; other tasks of this test may go on.
    let server = tokio::task::spawn_blocking(postgres).await.unwrap();
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    server.replace("/postgres?", &format!("/{name}?"))
}

/// An answer of the service.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The slug of the problem; fails unless it is one.
    pub(crate) fn problem(&self) -> String {
        assert!(self.headers.contains("content-type: application/problem+json"), "{}", self.headers);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["type"].as_str().unwrap().trim_start_matches("urn:prose-analytics:problem:").to_owned()
    }
}

pub(crate) fn domain(pod: u32) -> String {
    format!("pod{pod}.example")
}

/// A report of an installation through its Pod.
pub(crate) fn proxied(pod: u32, installation: u32, version: &str, platform: &str, locale: &str) -> Value {
    let mut event = direct(pod, installation, version, platform, locale);
    event["proxied"] = true.into();
    event["origin"]["pod"].as_object_mut().unwrap().extend(
        json!({ "user_count_min": 20, "user_count_max": 49, "user_count_range": "20–49", "user_count_range_open": "20+" })
            .as_object()
            .unwrap()
            .clone(),
    );
    event
}

/// A report of an installation without a Pod.
pub(crate) fn direct(server: u32, installation: u32, version: &str, platform: &str, locale: &str) -> Value {
    json!({
        "name": "app:daily",
        "origin": {
            "app": { "name": "prose-app-web", "version": version, "platform": platform,
                     "user_preferred_locales": [locale] },
            "pod": { "domain_hash": PodId::of_domain(&domain(server)),
                     "user_hash": UserHash::of_device("u", &domain(server), &installation.to_string()) }
        }
    })
}

/// A Pod's own report.
pub(crate) fn pod(pod: u32, version: &str) -> Value {
    json!({ "name": "pod:daily", "proxied": true,
            "origin": { "pod": { "domain_hash": PodId::of_domain(&domain(pod)), "version": version } } })
}

/// A Pod's own report, whose operator opted in to telling its domain.
pub(crate) fn pod_with_domain(number: u32, version: &str) -> Value {
    let mut event = pod(number, version);
    event["origin"]["pod"]["identifiable"] = json!({ "domain": domain(number) });
    event
}

/// Ten Pods with `each` installations, all alike.
pub(crate) fn ten_pods(each: u32) -> Vec<Value> {
    let mut events = Vec::new();
    for number in 0..10 {
        events.push(pod(number, "0.4.0"));
        events.extend((0..each).map(|n| proxied(number, n, "1.0.0", "macos-aarch64", "de-CH")));
    }
    events
}
