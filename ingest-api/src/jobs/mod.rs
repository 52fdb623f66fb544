//! What is done on a schedule. Each job is safe to run twice, and to be killed at any step.

pub mod close_windows;
pub mod merge;
pub mod purge;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::Clock;

use self::close_windows::CloseWindows;
use crate::intake::DomainNotes;
use crate::metrics::Metrics;
use crate::window::{Window, WindowKind};

/// How often open windows are merged and domains written.
const MERGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// All jobs.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Closing, and with it the database and the keys.
    pub close: CloseWindows,
    /// Domains that are to be written.
    pub domains: DomainNotes,
    /// How long releases are kept; for ever if `None`.
    pub retention: Option<Duration>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// What operation is told.
    pub metrics: Arc<Metrics>,
}

impl Jobs {
    /// Does everything that is due, and returns the windows that were released. One job that fails does not hold up
    /// the others.
    ///
    /// # Errors
    /// What failed, all of it.
    pub async fn run(&self) -> anyhow::Result<Vec<Window>> {
        let merged = self.merge().await;
        let closed = self.close().await;
        merged.and(Ok(closed?))
    }

    /// Does what is due at each interval until it is dropped. What fails is logged, and tried again.
    pub async fn run_every(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut merge_at: Option<Timestamp> = None;
        loop {
            ticks.tick().await;
            let now = self.clock.now();
            let mut done = self.close().await.map(drop);
            if merge_at.is_none_or(|at| at <= now) {
                // Not at once after a start: the reports of the first hour are merged, and their domains written, together.
                if merge_at.is_some() {
                    done = done.and(self.merge().await);
                }
                merge_at = now.checked_add(MERGE_INTERVAL).ok();
            }
            if let Err(error) = done {
                tracing::error!(error = format!("{error:#}"), "a job failed, and is tried again");
            }
        }
    }

    /// Merges open windows, and writes domains.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn merge(&self) -> anyhow::Result<()> {
        merge::merge_open_windows(&self.close.database).await?;
        merge::write_domains(&self.close.database, &self.domains).await?;
        Ok(())
    }

    async fn close(&self) -> anyhow::Result<Vec<Window>> {
        let database = &self.close.database;
        let now = self.clock.now();
        let closed = self.close.run(now).await;
        self.metrics.close_finished(&closed);
        for window in &closed.released {
            tracing::info!(%window, "released");
        }
        let mut failed: Vec<String> = closed.failed.iter().map(ToString::to_string).collect();
        let mut note =
            |done: Result<(), crate::store::StoreError>| failed.extend(done.err().map(|e| e.to_string()));
        note(purge::purge_domains(database, now).await.map(drop));
        if let Some(retention) = self.retention {
            note(purge::purge_releases(database, now, retention).await.map(drop));
        }
        for kind in WindowKind::ALL {
            note(database.newest_release(kind).await.map(|newest| {
                newest.into_iter().for_each(|window| self.metrics.newest_release(window));
            }));
        }
        anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(closed.released)
    }
}
