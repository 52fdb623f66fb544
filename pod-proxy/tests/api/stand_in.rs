//! A socket in place of the vendor, which records every byte that reaches it; and what else the tests share.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use shared::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// An event of today's apps.
pub(crate) const SAMPLE: &str = r#"{
  "name": "account:signin",
  "data": { "credential_type": "password" },
  "origin": {
    "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
             "user_preferred_locales": ["de-CH", "en"] },
    "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
  }
}"#;

pub(crate) const EVENT: &str = "/cloud-api-proxy/v1/analytics/event";

/// What the vendor does with the next request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Answers with this status, headers and body.
    Answers(u16, &'static str, String),
    /// Sends nothing until the other side gives up.
    Hangs,
    /// Closes the connection in the middle of the answer.
    Resets,
    /// Takes everything, after a notification.
    TakesWhen(Arc<Notify>),
}

impl Does {
    /// Takes everything.
    pub(crate) fn take() -> Self {
        Self::Answers(200, "", r#"{"accepted":1,"rejected":[]}"#.to_owned())
    }

    pub(crate) fn answer(status: u16) -> Self {
        Self::Answers(status, "", String::new())
    }
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The events in it.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        match serde_json::from_str(&self.body).unwrap() {
            serde_json::Value::Array(events) => events,
            event => vec![event],
        }
    }
}

/// A vendor that is a socket.
#[derive(Clone)]
pub(crate) struct Vendor {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    arrived: Arc<Notify>,
}

#[derive(Default)]
struct State {
    requests: Vec<(tokio::time::Instant, Request)>,
    bytes: Vec<u8>,
    next: VecDeque<Does>,
    otherwise: Option<Does>,
    takes_many: bool,
    at_once: usize,
    most_at_once: usize,
}

impl Vendor {
    /// Listens and takes everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/_api/cloud", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { takes_many: true, ..State::default() }));
        let vendor = Self { url, state, arrived: Arc::new(Notify::new()) };
        let serving = vendor.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let vendor = serving.clone();
                tokio::spawn(async move { vendor.serve(stream).await });
            }
        });
        vendor
    }

    /// What to do with the next requests. After them, `otherwise` applies.
    pub(crate) fn next(&self, next: impl IntoIterator<Item = Does>) {
        self.state.lock().unwrap().next.extend(next);
    }

    /// What to do with all other requests.
    pub(crate) fn otherwise(&self, does: Does) {
        self.state.lock().unwrap().otherwise = Some(does);
    }

    /// From now on, it has no route for many events.
    pub(crate) fn takes_one_by_one(&self) {
        self.state.lock().unwrap().takes_many = false;
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.iter().map(|(_, request)| request.clone()).collect()
    }

    /// When they arrived.
    pub(crate) fn times(&self) -> Vec<tokio::time::Instant> {
        self.state.lock().unwrap().requests.iter().map(|(at, _)| *at).collect()
    }

    /// The highest number of requests that waited for an answer at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.lock().unwrap().most_at_once
    }

    /// Every byte that reached the socket.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().unwrap().bytes.clone()
    }

    /// Every event that reached the socket.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.requests().iter().flat_map(Request::events).collect()
    }

    /// Forgets all requests.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.requests.clear();
        state.bytes.clear();
    }

    /// Waits until the requests are `done`.
    pub(crate) async fn wait_for(&self, done: impl Fn(&[Request]) -> bool) {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                if done(&self.requests()) {
                    return;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the vendor waited in vain");
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = self.read(&mut stream, &mut buffer).await {
            let does = {
                let mut state = self.state.lock().unwrap();
                let is_batch = request.path().ends_with("/events");
                state.requests.push((tokio::time::Instant::now(), request));
                state.at_once += 1;
                state.most_at_once = state.most_at_once.max(state.at_once);
                if is_batch && !state.takes_many {
                    Does::answer(404)
                } else {
                    let otherwise = state.otherwise.clone();
                    state.next.pop_front().or(otherwise).unwrap_or_else(Does::take)
                }
            };
            let does = match does {
                Does::TakesWhen(notify) => {
                    self.arrived.notify_waiters();
                    notify.notified().await;
                    Does::take()
                }
                does => does,
            };
            self.state.lock().unwrap().at_once -= 1;
            match does {
                Does::TakesWhen(_) => unreachable!("it has become an answer"),
                Does::Answers(status, headers, body) => {
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nset-cookie: vendor=canary\r\n{headers}content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                    self.arrived.notify_waiters();
                }
                Does::Hangs => {
                    self.arrived.notify_waiters();
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    return;
                }
                Does::Resets => {
                    let _ = stream.write_all(b"HTTP/1.1 2").await;
                    // Closing without delay sends a reset.
                    let _ = stream.set_zero_linger();
                    drop(stream);
                    self.arrived.notify_waiters();
                    return;
                }
            }
        }
    }

    async fn read(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
        loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
                let length: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if buffer.len() >= end + 4 + length {
                    let body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).unwrap();
                    buffer.drain(..end + 4 + length);
                    return Some(Request { head, body });
                }
            }
            let mut chunk = [0; 65_536];
            let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            buffer.extend_from_slice(&chunk[..read]);
            self.state.lock().unwrap().bytes.extend_from_slice(&chunk[..read]);
        }
    }
}

/// A configuration that listens on any free port and keeps its data in `folder`. `text` is put before it.
pub(crate) fn toml(vendor: &str, folder: &Path, analytics: &str, proxy: &str) -> String {
    format!(
        "[vendor_analytics]\n{analytics}\n[pod_proxy]\ndomain = 'example.org'\nlisten = '127.0.0.1:0'\n\
         vendor_url = '{vendor}'\ndata_dir = '{}'\n{proxy}\n",
        folder.display()
    )
}

/// A proxy without a schedule, at the time of `clock`.
pub(crate) async fn proxy_at(config: &str, clock: Arc<dyn Clock>) -> App {
    let config = Config::from_toml(config).unwrap();
    App::start(config, StartOptions { clock, background: false }).await.unwrap()
}

/// A proxy without a schedule.
pub(crate) async fn proxy(config: &str) -> App {
    proxy_at(config, StartOptions::default().clock).await
}

/// The answer to a raw request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends `request` as it is, and reads the answer. The connection is closed after it.
pub(crate) async fn raw(app: &App, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(app.local_addr()).await.unwrap();
    // A server that refuses early may close before everything is written.
    let _ = stream.write_all(request.as_ref()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer in time");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A request as text, with its length and `connection: close`.
pub(crate) fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Posts an event to its route.
pub(crate) async fn post(app: &App, event: &str) -> Answer {
    raw(app, request("POST", EVENT, "", event)).await
}

/// An event of the installation with that number.
pub(crate) fn event(installation: usize, version: &str) -> String {
    serde_json::json!({ "name": "app:startup", "origin": {
        "app": { "name": "prose-app-web", "version": version, "platform": "macos-aarch64",
                 "user_preferred_locales": ["de-CH", "en"] },
        "pod": { "user_hash": format!("{installation:016x}") },
    }})
    .to_string()
}

/// The running binary. It is killed at the latest when the test ends.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// Where its metrics are, if it serves them.
    pub(crate) metrics: Option<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Runs it with a configuration file.
    pub(crate) fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pod-proxy"));
        command.args(["run", "--config"]).arg(config);
        Self::spawn(command)
    }

    /// Runs `command`, which becomes the proxy.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (address, metrics) = lines
            .find_map(|line| {
                let line = line.unwrap();
                log.lock().unwrap().push_str(&line);
                let (_, address) = line.split_once("listening=")?;
                let first = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
                Some((first(address), line.split_once("metrics=").map(|(_, metrics)| first(metrics))))
            })
            .unwrap_or_else(|| panic!("it does not say where it listens: {}", log.lock().unwrap()));
        let written = Arc::clone(&log);
        // If nobody read the pipe, the process would block.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, address, metrics, log }
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client independent of the one under test.
pub(crate) fn http_client() -> reqwest::Client {
    pod_proxy::app::install_crypto();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Polls until `done`, for events without a notification.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The pseudonyms of these installations with the salt of sevens.
pub(crate) fn hashes(installations: impl IntoIterator<Item = usize>) -> std::collections::BTreeSet<String> {
    let salt = shared::pseudonym::Salt::from_bytes(&[7; 256]).unwrap();
    let hash = |installation: usize| {
        let hash = shared::pseudonym::UserHash::parse(&format!("{installation:016x}")).unwrap();
        serde_json::to_value(salt.apply(hash)).unwrap().as_str().unwrap().to_owned()
    };
    installations.into_iter().map(hash).collect()
}

/// The pseudonyms in these requests.
pub(crate) fn arrived(requests: &[Request]) -> std::collections::BTreeSet<String> {
    let hash = |event: serde_json::Value| Some(event["origin"]["pod"]["user_hash"].as_str()?.to_owned());
    requests.iter().flat_map(Request::events).filter_map(hash).collect()
}

/// Starts a process on the files of one that was killed, and waits until the vendor has all that it acknowledged.
pub(crate) async fn a_new_process_sends(
    vendor: &Vendor,
    config: &Path,
    acknowledged: impl IntoIterator<Item = usize>,
) {
    vendor.otherwise(Does::take());
    vendor.forget();
    let expected = hashes(acknowledged);
    let _process = Process::start(config);
    vendor.wait_for(|requests| expected.is_subset(&arrived(requests))).await;
}
