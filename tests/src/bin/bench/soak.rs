//! Whether memory stays flat: many events of a million installations, each of them again and again.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::bench::{Goal, Table};
use e2e::load::Load;
use ingest_api::jobs::merge::{Which, merge, merged_reporters};
use ingest_api::window::{Window, WindowKind};
use shared::clock::{Clock, SystemClock};

use crate::intake::crowd;
use crate::service::{BASE_PATH, Service};

const INSTALLATIONS: u64 = 1_000_000;
/// How often memory is read.
const LOOK: Duration = Duration::from_millis(200);
/// How much the peak may grow after the first quarter.
const GROWTH: f64 = 1.1;

pub(crate) async fn measure(binary: &Path, events: u64) -> anyhow::Result<Table> {
    let service = Service::start(binary).await?;
    let load = Load {
        address: service.address,
        base_path: BASE_PATH.to_owned(),
        crowd: crowd(INSTALLATIONS)?,
        first: 0,
        events,
        time: Duration::from_secs(3_600),
        connections: NonZeroU32::new(16).context("connections")?,
        batch: NonZeroU32::new(500),
        rate: None,
    };
    let progress = Arc::new(AtomicU64::new(0));
    let mut most = [0.0_f64; 4];
    let running = load.run(Arc::clone(&progress));
    tokio::pin!(running);
    let measured = loop {
        tokio::select! {
            measured = &mut running => break measured?,
            () = tokio::time::sleep(LOOK) => {
                let quarter = progress.load(Ordering::Relaxed) * 4 / events.max(1);
                let quarter = &mut most[usize::try_from(quarter)?.min(3)];
                *quarter = quarter.max(service.server.resident_mb()?);
            }
        }
    };
    ensure!(measured.events == events, "not all events were acknowledged");
    let window = Window::containing(WindowKind::Day, SystemClock.now());
    let stored = service.database.open_window(window).await?.context("the day is open")?;
    merge(&service.database, &service.keys()?, &stored, Which::All).await?;
    let (installations, _) = merged_reporters(&service.database, &stored).await?;
    ensure!(u64::try_from(installations)? == INSTALLATIONS.min(events), "{installations} are counted");

    let mut table = Table::default();
    table.row(format!("{events} events, in batches"), "events/s", measured.rate(), None, Goal::None);
    let [first, later @ ..] = most;
    table.row("resident memory, first quarter", "MB", first, None, Goal::None);
    for (quarter, most) in ["second", "third", "last"].iter().zip(later) {
        let what = format!("resident memory, {quarter} quarter");
        table.row(what, "MB", most, Some(first), Goal::RatioAtMost(GROWTH));
    }
    Ok(table)
}
