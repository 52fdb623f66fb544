//! The scheduled work. Each job may run twice, or be killed at any step, without harm.

pub mod close_windows;
pub(crate) mod find_anomalies;
pub mod merge;
pub mod purge;
mod timetable;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shared::clock::Clock;

use self::close_windows::CloseWindows;
use self::merge::{Run, Which};
use self::timetable::Timetable;
use crate::intake::DomainNotes;
use crate::metrics::Metrics;
use crate::open_windows::{OpenWindows, WindowError};
use crate::release::Family;
use crate::release_cache::ReleaseCache;
use crate::store::StoreError;
use crate::window::{Window, WindowKind};

/// All jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Closes windows; also gives access to the database and the keys.
    pub close: CloseWindows,
    /// The open windows that the writer remembers.
    pub windows: OpenWindows,
    /// The cached releases.
    pub(crate) releases: ReleaseCache,
    /// Domains that wait to be written.
    pub domains: DomainNotes,
    /// How long to keep releases; `None` keeps them for ever.
    pub retention: Option<Duration>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The metrics that jobs update.
    pub metrics: Arc<Metrics>,
}

impl Jobs {
    /// Runs everything that is due, and returns the windows that it released. An error in one job does not
    /// delay the others.
    ///
    /// # Errors
    /// All errors of the jobs.
    pub async fn run(&self) -> anyhow::Result<Vec<Window>> {
        let merged = self.merge().await;
        let closed = self.close().await;
        match (merged, closed) {
            (Ok(()), closed) => closed,
            (Err(merge), Ok(_)) => Err(merge),
            (Err(merge), Err(close)) => Err(anyhow::anyhow!("{merge}; {close}")),
        }
    }

    /// Runs what is due at each interval, until it is dropped. Logs errors and tries again.
    pub async fn run_every(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut timetable = Timetable::from(Instant::now());
        loop {
            ticks.tick().await;
            log(self.close().await.map(drop));
            if let Some(which) = timetable.merge_is_due(Instant::now()) {
                let Run { put_off, failed } = self.merge_windows(which).await;
                if put_off {
                    tracing::info!(
                        "merge postponed: another instance is merging or closing, or somebody reads open windows"
                    );
                }
                timetable.merged(which, !put_off && failed.is_empty(), Instant::now());
                log(all_of(failed));
            }
            if timetable.domains_are_due(Instant::now()) {
                let failed = merge::write_domains(&self.close.database, &self.domains).await;
                log(all_of(failed.into_iter().map(Into::into).collect()));
            }
        }
    }

    /// Merges open windows, and writes domains.
    ///
    /// # Errors
    /// All errors of both.
    pub async fn merge(&self) -> anyhow::Result<()> {
        let mut failed = self.merge_windows(Which::All).await.failed;
        let domains = merge::write_domains(&self.close.database, &self.domains).await;
        failed.extend(domains.into_iter().map(Into::into));
        all_of(failed)
    }

    async fn merge_windows(&self, which: Which) -> Run {
        merge::merge_open_windows(&self.close.database, &self.windows, which).await
    }

    async fn close(&self) -> anyhow::Result<Vec<Window>> {
        let database = &self.close.database;
        let now = self.clock.now();
        self.windows.forget_ended(now);
        let closed = self.close.run(now).await;
        self.metrics.close_finished(closed.failed.is_empty(), &closed.released, &closed.untried);
        for window in &closed.put_off {
            tracing::info!(%window, "close postponed: another instance is merging or closing, or somebody reads its tables");
        }
        for window in &closed.released {
            tracing::info!(%window, "released");
        }
        for (window, family) in &closed.untried {
            let family = family.as_str();
            tracing::warn!(%window, family, "published as one block: its audit against the other families ran out of steps");
        }
        let mut failed: Vec<String> = closed.failed.iter().map(ToString::to_string).collect();
        let mut note = |done: Result<(), StoreError>| failed.extend(done.err().map(|e| e.to_string()));
        note(purge::purge_domains(database, now).await.map(drop));
        if let Some(retention) = self.retention {
            note(purge::purge_releases(database, now, retention).await.map(|windows| {
                if windows > 0 {
                    tracing::info!(windows, "deleted releases older than the retention");
                }
            }));
        }
        note(self.show_newest().await);
        note(self.show_anomalies(now).await);
        // Last, because it is slow.
        note(database.drop_put_away().await.map(|left| {
            if left > 0 {
                tracing::warn!(
                    left,
                    "some tables of closed or merged windows could not be dropped: somebody reads them, or a view depends on them"
                );
            }
        }));
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(closed.released)
    }

    /// Updates the metrics with the newest release of each kind of window.
    async fn show_newest(&self) -> Result<(), StoreError> {
        let database = &self.close.database;
        let mut newest = Vec::new();
        for kind in WindowKind::ALL {
            let Some(held) = database.held_releases(kind).await? else { continue };
            let window = held.newest;
            self.metrics.newest_release(window, held.newest_at);
            newest.extend(database.releases(&[window], &Family::ALL).await?);
        }
        self.metrics.newest_releases(&newest);
        Ok(())
    }

    /// Updates the metrics with the anomalies that `ingest-api status` shows.
    async fn show_anomalies(&self, now: Timestamp) -> Result<(), StoreError> {
        self.metrics
            .anomalies(&find_anomalies::find_anomalies(&self.close.database, &self.releases, now).await?);
        Ok(())
    }
}

/// Joins errors into one.
fn all_of(failed: Vec<WindowError>) -> anyhow::Result<()> {
    let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn log(done: anyhow::Result<()>) {
    if let Err(error) = done {
        tracing::error!(error = format!("{error:#}"), "a job failed; it will be tried again");
    }
}
