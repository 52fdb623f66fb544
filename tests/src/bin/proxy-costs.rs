//! The real proxy under load, and beside it the same server without filter and spool → a table of what it costs.
//!
//! ```text
//! cargo run --release --package e2e --bin proxy-costs
//! ```

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Parser;
use shared::event::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Measures what the proxy costs: memory, size, processor time while idle, events that are acknowledged after they
/// are on disk, and how long an app waits. Beside it stands a server with the same parser that answers at once:
/// what filter and spool add.
///
/// Builds the proxy as it is released, and runs it on one core if there are two and `taskset` is installed. Takes
/// about a minute. Everything stays on 127.0.0.1 and in a temporary folder (of TMPDIR), which must be on a disk. Prints
/// a table in Markdown, and ends with 1 if a goal is missed.
#[derive(Debug, Parser)]
struct Arguments {
    /// A proxy that is built already
    #[arg(long, value_name = "FILE")]
    proxy: Option<PathBuf>,
    /// Be the server without filter and spool
    #[arg(long, value_name = "ADDRESS", hide = true)]
    bare: Option<SocketAddr>,
}

const ROUTE: &str = "/cloud-api-proxy/v1/analytics/event";

/// After the start, until it is idle.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);
/// The throughput is the median of three rounds.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: u64 = 64;
/// How many installations take turns.
const INSTALLATIONS: u64 = 20_000;
/// The waits are measured at this steady rate.
const RATE: u64 = 200;
const STEADY: Duration = Duration::from_secs(10);
/// How many connections the steady rate comes over.
const LANES: u64 = 16;

/// One number, and which of them are good.
struct Row {
    what: String,
    unit: &'static str,
    goal: Goal,
    of: fn(&Costs) -> Option<f64>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Goal {
    fn is_met(self, found: f64) -> bool {
        match self {
            Self::AtMost(limit) => found <= limit,
            Self::AtLeast(limit) => found >= limit,
            Self::None => true,
        }
    }
}

/// What was measured of one server.
#[derive(Debug, Default)]
struct Costs {
    binary_mb: Option<f64>,
    idle_mb: f64,
    idle_ms: f64,
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    loaded_mb: f64,
}

fn rows() -> [Row; 7] {
    let row = |what: String, unit, goal, of| Row { what, unit, goal, of };
    [
        row("resident memory, idle".into(), "MB", Goal::AtMost(12.0), |costs| Some(costs.idle_mb)),
        row("resident memory after the load".into(), "MB", Goal::None, |costs| Some(costs.loaded_mb)),
        row("stripped release binary".into(), "MB", Goal::AtMost(12.0), |costs| costs.binary_mb),
        // A thousandth of a core.
        row(format!("processor time in {} s of idling", IDLE.as_secs()), "ms", Goal::AtMost(5.0), |costs| {
            Some(costs.idle_ms)
        }),
        row(
            format!("events acknowledged, {CONNECTIONS} connections, one core"),
            "/s",
            Goal::AtLeast(2_000.0),
            |costs| Some(costs.per_second),
        ),
        row(format!("an app waits, median, at {RATE} events/s"), "ms", Goal::None, |costs| {
            Some(costs.median_ms)
        }),
        row(format!("an app waits, p99, at {RATE} events/s"), "ms", Goal::AtMost(20.0), |costs| {
            Some(costs.p99_ms)
        }),
    ]
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("It cannot be measured: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every goal is met.
fn measure(arguments: Arguments) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(address) = arguments.bare {
        runtime.block_on(serve_bare(address))?;
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;
    let disk = file_system(folder.path())?;
    ensure!(disk != "tmpfs", "{} is in memory; point TMPDIR at a disk", folder.path().display());
    let proxy = arguments.proxy.map_or_else(build, Ok)?;
    let cores = std::thread::available_parallelism()?.get();
    let pinned = cores > 1 && pin_self();
    say(&surroundings(&disk, cores, pinned)?);

    let mut costs = runtime.block_on(costs_of(&proxy, pinned, |address| {
        let config = folder.path().join("prose.toml");
        // Nothing is sent meanwhile: what it costs to take events is measured, and port 9 takes none.
        let text = format!(
            "[pod_proxy]\ndomain = 'example.org'\nlisten = '{address}'\nvendor_url = 'http://127.0.0.1:9'\n\
             data_dir = '{}'\naccounts.fixed = 33\nflush_interval = 'P7D'\n",
            folder.path().join("data").display()
        );
        fs::write(&config, text)?;
        Ok(vec!["run".into(), "--config".into(), config.into()])
    }))?;
    costs.binary_mb = Some(megabytes(fs::metadata(&proxy)?.len()));
    let bare = std::env::current_exe()?;
    let bare = runtime
        .block_on(costs_of(&bare, pinned, |address| Ok(vec!["--bare".into(), address.to_string().into()])))?;
    Ok(print_table(&costs, &bare))
}

fn print_table(costs: &Costs, bare: &Costs) -> bool {
    let mut missed = 0;
    say("| What | pod-proxy | without filter and spool | ratio | goal | |");
    say("| --- | ---: | ---: | ---: | ---: | --- |");
    for Row { what, unit, goal, of } in rows() {
        let Some(found) = of(costs) else { continue };
        let (beside, ratio) = match of(bare) {
            Some(bare) if bare > 0.0 => (format!("{} {unit}", short(bare)), format!("{:.2}", found / bare)),
            Some(bare) => (format!("{} {unit}", short(bare)), "–".to_owned()),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let limit = match goal {
            Goal::AtMost(limit) => format!("≤ {} {unit}", short(limit)),
            Goal::AtLeast(limit) => format!("≥ {} {unit}", short(limit)),
            Goal::None => "–".to_owned(),
        };
        let verdict = match goal {
            Goal::None => "",
            _ if goal.is_met(found) => "met",
            _ => "MISSED",
        };
        missed += usize::from(!goal.is_met(found));
        say(&format!("| {what} | {} {unit} | {beside} | {ratio} | {limit} | {verdict} |", short(found)));
    }
    missed == 0
}

/// Three digits, more or less.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || number.fract() == 0.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Parses an event and answers: what is left of the proxy if nothing is to be kept.
async fn serve_bare(address: SocketAddr) -> anyhow::Result<()> {
    let take = async |body: Bytes| match Event::from_json(&body) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, Router::new().route(ROUTE, post(take))).await?)
}

/// Starts a server, measures it, and ends it.
async fn costs_of(
    program: &Path,
    pinned: bool,
    arguments: impl FnOnce(SocketAddr) -> anyhow::Result<Vec<std::ffi::OsString>>,
) -> anyhow::Result<Costs> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let server = Server::start(program, pinned, &arguments(address)?)?;
    server.wait_until_up(address).await?;
    tokio::time::sleep(SETTLE).await;
    let idle_mb = server.resident_mb()?;
    let before = server.processor_time()?;
    tokio::time::sleep(IDLE).await;
    let idle_ms = (server.processor_time()?.saturating_sub(before)).as_secs_f64() * 1e3;

    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(throughput(address).await?);
    }
    rates.sort_by(f64::total_cmp);
    let mut waits = steady(address).await?;
    waits.sort();
    let at = |share: usize| waits[(waits.len() * share / 100).min(waits.len() - 1)].as_secs_f64() * 1e3;
    Ok(Costs {
        binary_mb: None,
        idle_mb,
        idle_ms,
        per_second: rates[ROUNDS / 2],
        median_ms: at(50),
        p99_ms: at(99),
        loaded_mb: server.resident_mb()?,
    })
}

/// Events answered per second, when each connection posts the next as soon as the last is answered.
async fn throughput(address: SocketAddr) -> anyhow::Result<f64> {
    let mut lanes = JoinSet::new();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        lanes.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut answered = 0_u32;
            while start.elapsed() < ROUND {
                connection.post().await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0.0;
    while let Some(lane) = lanes.join_next().await {
        answered += f64::from(lane??);
    }
    Ok(answered / start.elapsed().as_secs_f64())
}

/// How long each app waits, when events come at a steady rate whether the earlier ones are answered or not: one that
/// has to wait for its connection has waited since it was due.
async fn steady(address: SocketAddr) -> anyhow::Result<Vec<Duration>> {
    let tick = Duration::from_secs(1) / u32::try_from(RATE)?;
    let ticks = STEADY.as_secs() * RATE;
    let start = Instant::now() + Duration::from_millis(100);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut waits = Vec::new();
            for number in (lane..ticks).step_by(usize::try_from(LANES)?) {
                let due = start + tick * u32::try_from(number)?;
                let from = if Instant::now() < due {
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                } else {
                    due
                };
                connection.post().await?;
                waits.push(from.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        waits.extend(lane??);
    }
    Ok(waits)
}

/// A connection of an app that stays open.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: vec![0; 1_024] })
    }

    /// Posts an event of the installation whose turn it is, and waits for the answer, which has no body.
    async fn post(&mut self) -> anyhow::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let installation = NEXT.fetch_add(1, Ordering::Relaxed) % INSTALLATIONS;
        let body = format!(
            "{{\"name\":\"app:startup\",\"origin\":{{\"app\":{{\"name\":\"prose-app-web\",\"version\":\"1.0.1\",\
             \"platform\":\"macos-aarch64\",\"user_preferred_locales\":[\"de-CH\",\"en\"]}},\
             \"pod\":{{\"domain_hash\":\"f4ce232118cee9d2\",\"user_hash\":\"{installation:016x}\"}}}}}}"
        );
        let request = format!(
            "POST {ROUTE} HTTP/1.1\r\nhost: pod\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut length = 0;
        while !self.answer[..length].ends_with(b"\r\n\r\n") {
            let read = self.stream.read(&mut self.answer[length..]).await?;
            ensure!(read > 0, "the server closed a connection");
            length += read;
        }
        let answer = &self.answer[..length];
        ensure!(answer.starts_with(b"HTTP/1.1 204 "), "answered {}", String::from_utf8_lossy(answer));
        Ok(())
    }
}

/// A server that is measured. Killed when it goes out of sight.
struct Server(Child);

impl Server {
    fn start(program: &Path, pinned: bool, arguments: &[std::ffi::OsString]) -> anyhow::Result<Self> {
        let mut command = if pinned {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", "0"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| program.display().to_string())?))
    }

    async fn wait_until_up(&self, address: SocketAddr) -> anyhow::Result<()> {
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server does not come up")
    }

    fn resident_mb(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        Ok(megabytes(kib.context("VmRSS")?.parse::<u64>()? * 1_024))
    }

    /// What all its threads have had, to the nanosecond.
    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().context("schedstat")?.parse::<u64>()?;
        }
        ensure!(sum > 0, "the kernel does not count processor time in /proc/PID/task/*/schedstat");
        Ok(Duration::from_nanos(sum))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The proxy as it is released.
fn build() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target =
        executable.ancestors().nth(2).context("a binary lies two folders below the target folder")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--release", "--package", "pod-proxy", "--target-dir"]);
    let status = cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "the proxy cannot be built");
    Ok(target.join("release/pod-proxy"))
}

/// Leaves the first core to the server. Returns whether it could.
fn pin_self() -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args(["--pid", "--cpu-list", "1", &std::process::id().to_string()]).stdout(Stdio::null());
    taskset.status().is_ok_and(|status| status.success())
}

/// The type of the file system that `path` lies on.
fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    let holding = mounts.filter(|(place, _)| path.starts_with(place));
    let (_, name) = holding.max_by_key(|(place, _)| place.components().count()).context("/proc/mounts")?;
    Ok(name.to_owned())
}

/// Where it was measured, in a line.
fn surroundings(disk: &str, cores: usize, pinned: bool) -> anyhow::Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let pinned =
        if pinned { "each server on one core, the load on another" } else { "nothing pinned to a core" };
    Ok(format!(
        "{cores} cores of {}, {disk}, {pinned}; the load of the machine before was {load}.\n",
        processor.unwrap_or("an unknown processor")
    ))
}

#[expect(clippy::print_stdout, reason = "the table is what this is for")]
fn say(line: &str) {
    println!("{line}");
}
