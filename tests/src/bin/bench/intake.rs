//! How fast reports are accepted, each acknowledged after its commit, beside a bare server that stores
//! nothing.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use e2e::bench::{Goal, Server, Table, median};
use e2e::load::{Crowd, Load, Measured};

use crate::service::{BASE_PATH, Service, free_address, send, serve};

/// Each rate is the median of this many rounds, in which both servers take turns.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
const BATCH: u32 = 500;
/// The pause after the start, until the server is idle.
const SETTLE: Duration = Duration::from_secs(3);

/// A way to send.
struct Manner {
    what: &'static str,
    connections: u32,
    batch: Option<u32>,
    /// How many installations take turns.
    installations: u64,
    least_ratio: f64,
}

/// As many as in a large fleet. All of them report before one reports again.
const FLEET: u64 = 5_000_000;

const MANNERS: [Manner; 4] = [
    Manner { what: "single events", connections: 64, batch: None, installations: FLEET, least_ratio: 0.9 },
    Manner { what: "single events", connections: 256, batch: None, installations: FLEET, least_ratio: 0.9 },
    Manner { what: "repeated events", connections: 64, batch: None, installations: 1_000, least_ratio: 0.9 },
    Manner {
        what: "batches of 500",
        connections: 16,
        batch: Some(BATCH),
        installations: FLEET,
        least_ratio: 0.75,
    },
];

pub(crate) async fn measure(binary: &Path) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let service = Service::start(binary).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = service.server.resident_mb()?;
    // A second instance, with the keys and the database of the first.
    let second =
        ["--data-dir".into(), service.data_dir().into(), "--database-url".into(), service.url().into()];
    let (_, _, ready) = serve(binary, &second).await?;
    let address = free_address()?;
    let bare = std::env::current_exe()?;
    let mut bare = Server::start(&bare, None, &["--bare".into(), address.to_string().into()])?;
    bare.wait_until_up(address).await?;

    let mut first = 0;
    for manner in &MANNERS {
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..ROUNDS {
            theirs.push(round(&bare, address, manner, first).await?);
            ours.push(round(&service.server, service.address, manner, first).await?);
            first += ours.last().map_or(0, |round: &Round| round.measured.events);
        }
        let middle = |rounds| median(rounds, |round: &Round| round.measured.rate()).context("a round");
        let (ours, theirs) = (middle(ours)?, middle(theirs)?);
        let Manner { what, connections, least_ratio, .. } = manner;
        let what = format!("{what}, {connections} connections");
        let (rate, bare_rate) = (ours.measured.rate(), theirs.measured.rate());
        table.row(&what, "events/s", rate, Some(bare_rate), Goal::RatioAtLeast(*least_ratio));
        let p99 = |round: &Round| round.measured.wait_ms(0.99);
        let goal = if manner.batch.is_none() { Goal::RatioAtMost(1.5) } else { Goal::None };
        table.row(format!("{what}: a request waits, p99"), "ms", p99(&ours), Some(p99(&theirs)), goal);
        let goal = if manner.batch.is_none() { Goal::AtMost(30.0) } else { Goal::None };
        let what = format!("{what}: processor time of service and Postgres");
        table.row(what, "µs/event", ours.micros, Some(theirs.micros), goal);
    }
    table.row("resident memory, idle", "MB", idle, None, Goal::AtMost(25.0));
    table.row("resident memory after the load", "MB", service.server.resident_mb()?, None, Goal::None);
    let size = std::fs::metadata(binary)?.len();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    table.row("stripped release binary", "MB", size as f64 / 1e6, None, Goal::AtMost(25.0));
    table.row("ready on an existing database", "s", ready.as_secs_f64(), None, Goal::AtMost(1.0));
    Ok(table)
}

struct Round {
    measured: Measured,
    /// The processor time of one event.
    micros: f64,
}

async fn round(server: &Server, address: SocketAddr, manner: &Manner, first: u64) -> anyhow::Result<Round> {
    let load = Load {
        address,
        base_path: BASE_PATH.to_owned(),
        crowd: crowd(manner.installations)?,
        first,
        events: u64::MAX / 2,
        time: ROUND,
        connections: NonZeroU32::new(manner.connections).context("connections")?,
        batch: manner.batch.and_then(NonZeroU32::new),
        rate: None,
    };
    let before = server.processor_times()?;
    let measured = send(&load).await?;
    let spent: Duration = server
        .processor_times()?
        .iter()
        .map(|(pid, time)| time.saturating_sub(before.get(pid).copied().unwrap_or_default()))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let micros = spent.as_secs_f64() * 1e6 / measured.events as f64;
    Ok(Round { measured, micros })
}

/// A crowd of that many installations, in Pods of 25 on average.
pub(crate) fn crowd(installations: u64) -> anyhow::Result<Crowd> {
    let installations = NonZeroU64::new(installations).context("installations")?;
    let pods = NonZeroU64::new(installations.get().div_ceil(25)).context("Pods")?;
    Ok(Crowd::new(1, installations, pods))
}
