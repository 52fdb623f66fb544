//! A crowd of installations that report to a running ingest-api → its throughput, the waiting times of
//! requests, and whether it counted everything.
//!
//! ```text
//! cargo run --release --package e2e --bin load -- --url http://127.0.0.1:8280/_api/cloud --events 100000
//! ```

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use e2e::load::{Crowd, Load, Measured};
use ingest_api::jobs::merge::{Which, merge, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::open_windows::OpenWindows;
use ingest_api::store::Database;
use ingest_api::window::{Window, WindowKind};
use shared::clock::{Clock, SystemClock};

/// How often it prints its progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Sends reports of simulated installations to a running ingest-api. Prints how many a second it
/// acknowledges, and how long a request waits.
///
/// The reports count like any others. So use a service that holds nothing of value, and that does not limit
/// networks (`INGEST_API__LIMITS__ENABLED=false ingest-api serve …`). With --database-url and --key-dir, it
/// then merges the open windows. Exits with 1 if nothing was acknowledged. If it merges, also unless each
/// window holds exactly the installations that it sent and those that the window held before.
#[derive(Debug, Parser)]
struct Arguments {
    /// The service, with the prefix of /v1/analytics
    #[arg(long, default_value = "http://127.0.0.1:8280/_api/cloud")]
    url: String,
    /// The most events to send
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// The most seconds to send
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many connections take turns
    #[arg(long, default_value = "64")]
    connections: NonZeroU32,
    /// How many events of neighbouring Pods a request carries (up to 1000); without it, each event is a
    /// request of its own
    #[arg(long)]
    batch: Option<NonZeroU32>,
    /// Events a second; without it, as fast as they are answered
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// How many installations take turns
    #[arg(long, default_value = "20000")]
    installations: NonZeroU64,
    /// The most Pods that they are in
    #[arg(long, default_value = "800")]
    pods: NonZeroU64,
    /// Another seed makes other installations; without it, they are new each time
    #[arg(long)]
    seed: Option<u64>,
    /// Check the counts in this database of the service afterwards
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, requires = "key_dir")]
    database_url: Option<String>,
    /// The key directory of the service: reports are sealed until a merge
    #[arg(long, value_name = "DIRECTORY")]
    key_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread suffices for a generator, and leaves the other cores to the service.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("The load cannot be made: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether anything was acknowledged, and the counts are right as far as they were checked.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let (address, base_path) = target(&arguments.url)?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let load = Load {
        address,
        base_path,
        crowd: Crowd::new(seed, arguments.installations, arguments.pods),
        first: 0,
        events: arguments.events,
        time: Duration::from_secs(arguments.seconds),
        connections: arguments.connections,
        batch: arguments.batch,
        rate: arguments.rate,
    };
    let counts = match (&arguments.database_url, &arguments.key_dir) {
        (Some(url), Some(key_dir)) => Some(Counts::begin(url, key_dir).await?),
        _ => None,
    };
    let progress = Arc::new(AtomicU64::new(0));
    let told = tokio::spawn(tell(Arc::clone(&progress), load.events));
    let measured = load.run(progress).await;
    told.abort();
    let measured = measured?;
    say(&table(&measured));
    if measured.refused > measured.events {
        say("The service has refused most of it: has it INGEST_API__LIMITS__ENABLED=false?");
    }
    match counts {
        // It is unknown which installations the unacknowledged events were of. All events were acknowledged
        // unless time was up.
        Some(counts) if measured.events == load.events => counts.check(&load).await,
        Some(_) => {
            say("The counts are not checked, since the time was over before all events were sent.");
            Ok(false)
        }
        None => Ok(measured.events > 0),
    }
}

/// The address and base path of a URL. Load goes directly to the service, so without TLS.
fn target(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://").context("the URL begins with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address = host.to_socket_addrs()?.next().context("the host has no address")?;
    let path = path.trim_end_matches('/');
    Ok((address, if path.is_empty() { String::new() } else { format!("/{path}") }))
}

async fn tell(progress: Arc<AtomicU64>, events: u64) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        say(&format!("{} of {events} events are acknowledged", progress.load(Ordering::Relaxed)));
    }
}

fn table(measured: &Measured) -> String {
    format!(
        "{} events in {:.2} s: {:.0} a second; {} times an event was to come later\n\
         a request waits: median {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, at most {:.2} ms",
        measured.events,
        measured.elapsed.as_secs_f64(),
        measured.rate(),
        measured.refused,
        measured.wait_ms(0.5),
        measured.wait_ms(0.9),
        measured.wait_ms(0.99),
        measured.wait_ms(0.999),
        measured.wait_ms(1.0),
    )
}

/// How many installations the open windows held before.
struct Counts {
    database: Database,
    keys: OpenWindows,
    before: Vec<(Window, i64)>,
}

impl Counts {
    async fn begin(url: &str, key_dir: &Path) -> anyhow::Result<Self> {
        let options = url.parse().map_err(|_| anyhow::anyhow!("the database URL is not one"))?;
        let database = Database::new(options);
        let keys = OpenWindows::new(KeyDirectory::open(key_dir)?);
        let before = count(&database, &keys).await?;
        Ok(Self { database, keys, before })
    }

    async fn check(self, load: &Load) -> anyhow::Result<bool> {
        let sent = i64::try_from(load.events.min(load.crowd.installations()))?;
        let after = count(&self.database, &self.keys).await?;
        let mut right = true;
        for (window, after) in after {
            let before =
                self.before.iter().find(|(known, _)| *known == window).map_or(0, |(_, count)| *count);
            let found = after - before;
            right &= found == sent;
            let verdict = if found == sent { "right" } else { "WRONG" };
            say(&format!("{window}: {found} new installations, {sent} were sent: {verdict}"));
        }
        self.database.close().await;
        Ok(right)
    }
}

async fn count(database: &Database, keys: &OpenWindows) -> anyhow::Result<Vec<(Window, i64)>> {
    let now = SystemClock.now();
    let mut counts = Vec::new();
    for kind in WindowKind::ALL {
        if let Some(stored) = database.open_window(Window::containing(kind, now)).await? {
            merge(database, keys, &stored, Which::All).await?;
            let (installations, _) = merged_reporters(database, &stored).await?;
            counts.push((stored.window, installations));
        }
    }
    Ok(counts)
}

fn say(line: &str) {
    // A closed output, as of `head`, means that nobody reads on.
    let _ = writeln!(std::io::stdout(), "{line}");
}
