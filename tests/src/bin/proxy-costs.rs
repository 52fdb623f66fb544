//! The real proxy under load, and the same server without filter and spool → a table of the costs.
//!
//! ```text
//! cargo run --release --package e2e --bin proxy-costs
//! ```

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Parser;
use e2e::bench::{Goal, Server, Table, release_binary, surroundings};
use e2e::load::{Crowd, Load, Measured};
use shared::event::Event;

/// Measures the costs of the proxy: memory, size, processor time while idle, events acknowledged after they
/// are on disk, and how long an app waits. A server beside it has the same parser and answers at once. The
/// difference is the cost of filter and spool.
///
/// Builds a release of the proxy, and runs it on one core if there are two and `taskset` is installed. Takes
/// about a minute. Everything stays on 127.0.0.1 and in a temporary folder (of TMPDIR), which must be on a
/// disk. Prints a Markdown table, and exits with 1 if a goal is missed.
#[derive(Debug, Parser)]
struct Arguments {
    /// A proxy that is already built
    #[arg(long, value_name = "FILE")]
    proxy: Option<PathBuf>,
    /// Run the server without filter and spool
    #[arg(long, value_name = "ADDRESS", hide = true)]
    bare: Option<SocketAddr>,
}

const BASE_PATH: &str = "/cloud-api-proxy";

/// The pause after the start, until the server is idle.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);
/// The throughput is the median of three rounds.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: u32 = 64;
/// How many installations take turns.
const INSTALLATIONS: u64 = 20_000;
/// The steady rate at which waiting times are measured.
const RATE: u32 = 200;
const STEADY: Duration = Duration::from_secs(10);
/// How many connections share the steady rate.
const LANES: u32 = 16;

/// The results of one server.
#[derive(Debug)]
struct Costs {
    idle_mb: f64,
    idle_ms: f64,
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    loaded_mb: f64,
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
    let proxy = arguments.proxy.map_or_else(|| release_binary("pod-proxy"), Ok)?;
    say(&surroundings(folder.path())?);
    let core = pin_self();
    let pinned = if core.is_some() {
        "Each server has one core, the load another"
    } else {
        "Nothing is pinned to a core"
    };
    say(&format!("{pinned}. The limit is the same server without filter and spool.\n"));

    let costs = runtime.block_on(costs_of(&proxy, core, |address| {
        let config = folder.path().join("prose.toml");
        // Nothing is sent meanwhile: only accepting events is measured, and nobody listens on port 9.
        let text = format!(
            "[pod_proxy]\ndomain = 'example.org'\nlisten = '{address}'\nvendor_url = 'http://127.0.0.1:9'\n\
             data_dir = '{}'\naccounts.fixed = 33\nflush_interval = 'P7D'\n",
            folder.path().join("data").display()
        );
        fs::write(&config, text)?;
        Ok(vec!["run".into(), "--config".into(), config.into()])
    }))?;
    let bare = std::env::current_exe()?;
    let bare = runtime
        .block_on(costs_of(&bare, core, |address| Ok(vec!["--bare".into(), address.to_string().into()])))?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let binary_mb = fs::metadata(&proxy)?.len() as f64 / 1e6;
    let table = table(&costs, &bare, binary_mb);
    say(&table.to_string());
    Ok(table.missed() == 0)
}

fn table(costs: &Costs, bare: &Costs, binary_mb: f64) -> Table {
    let mut table = Table::default();
    let mut row = |what: String, unit, of: fn(&Costs) -> f64, goal| {
        table.row(what, unit, of(costs), Some(of(bare)), goal)
    };
    row("resident memory, idle".into(), "MB", |costs| costs.idle_mb, Goal::AtMost(12.0));
    row("resident memory after the load".into(), "MB", |costs| costs.loaded_mb, Goal::None);
    // A thousandth of a core.
    let idle = format!("processor time in {} s of idling", IDLE.as_secs());
    row(idle, "ms", |costs| costs.idle_ms, Goal::AtMost(5.0));
    let rate = format!("events acknowledged, {CONNECTIONS} connections, one core");
    row(rate, "/s", |costs| costs.per_second, Goal::AtLeast(2_000.0));
    let waits = |share| format!("an app waits, {share}, at {RATE} events/s");
    row(waits("median"), "ms", |costs| costs.median_ms, Goal::None);
    row(waits("p99"), "ms", |costs| costs.p99_ms, Goal::AtMost(20.0));
    table.row("stripped release binary", "MB", binary_mb, None, Goal::AtMost(12.0));
    table
}

/// Parses an event and answers: the proxy without storing anything.
async fn serve_bare(address: SocketAddr) -> anyhow::Result<()> {
    let take = async |body: Bytes| match Event::from_json(&body) {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    let router = Router::new().route(&format!("{BASE_PATH}/v1/analytics/event"), post(take));
    Ok(axum::serve(listener, router).await?)
}

/// Starts a server, measures it, and ends it.
async fn costs_of(
    program: &Path,
    core: Option<usize>,
    arguments: impl FnOnce(SocketAddr) -> anyhow::Result<Vec<OsString>>,
) -> anyhow::Result<Costs> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut server = Server::start(program, core, &arguments(address)?)?;
    server.wait_until_up(address).await?;
    tokio::time::sleep(SETTLE).await;
    let idle_mb = server.resident_mb()?;
    let before = server.processor_time()?;
    tokio::time::sleep(IDLE).await;
    let idle_ms = (server.processor_time()?.saturating_sub(before)).as_secs_f64() * 1e3;

    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(send(address, CONNECTIONS, None, ROUND).await?.rate());
    }
    rates.sort_by(f64::total_cmp);
    let steady = send(address, LANES, NonZeroU32::new(RATE), STEADY).await?;
    Ok(Costs {
        idle_mb,
        idle_ms,
        per_second: rates[ROUNDS / 2],
        median_ms: steady.wait_ms(0.5),
        p99_ms: steady.wait_ms(0.99),
        loaded_mb: server.resident_mb()?,
    })
}

async fn send(
    address: SocketAddr,
    connections: u32,
    rate: Option<NonZeroU32>,
    time: Duration,
) -> anyhow::Result<Measured> {
    let installations = NonZeroU64::new(INSTALLATIONS).context("installations")?;
    let load = Load {
        address,
        base_path: BASE_PATH.to_owned(),
        crowd: Crowd::new(1, installations, NonZeroU64::MIN),
        first: 0,
        events: u64::MAX / 2,
        time,
        connections: NonZeroU32::new(connections).context("connections")?,
        batch: None,
        rate,
    };
    load.run(Arc::default()).await
}

/// Leaves the first core to the servers, if there are two and `taskset` is installed. Returns its number.
fn pin_self() -> Option<usize> {
    if std::thread::available_parallelism().ok()?.get() < 2 {
        return None;
    }
    let mut taskset = Command::new("taskset");
    taskset.args(["--pid", "--cpu-list", "1", &std::process::id().to_string()]).stdout(Stdio::null());
    taskset.status().is_ok_and(|status| status.success()).then_some(0)
}

#[expect(clippy::print_stdout, reason = "the table is what this is for")]
fn say(line: &str) {
    println!("{line}");
}
