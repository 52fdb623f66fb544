//! [`Proxy`]: takes events of apps, sends what the operator shares, and changes its configuration while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use shared::clock::Clock;
use shared::config::Mistakes;
use shared::event::Event;
use shared::pseudonym::Salt;
use tokio::sync::watch;

use crate::config::Config;
use crate::filter::{self, Dropped, PodReport, Report, filter};
use crate::forward::retry_after::RetryAfterFile;
use crate::forward::schedule::Schedule;
use crate::forward::sent_log::SentLog;
use crate::forward::{Attempt, Ended, FlushReport, Forwarder, phase};
use crate::live::Live;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::spool::{Put, PutError, Spool, Usage};

/// A proxy. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<State>);

#[derive(Debug)]
struct State {
    live: watch::Sender<Arc<Live>>,
    reloading: tokio::sync::Mutex<()>,
    status: Mutex<Status>,
    salt: Salt,
    spool: Arc<Spool>,
    forwarder: Forwarder,
    retry_after: RetryAfterFile,
    metrics: Arc<Metrics>,
    put_failures: LogThrottle<PutError>,
    clock: Arc<dyn Clock>,
}

/// What the last attempt to reach the vendor showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VendorState {
    /// There was no attempt yet.
    #[default]
    Untried,
    /// It answered.
    Reachable,
    /// It did not answer, or asked to come back later.
    Away,
}

/// What the proxy remembers of its last attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Whether the configuration had mistakes at the last reload, so that the one before is still in force.
    pub configuration_refused: bool,
    pub vendor: VendorState,
    /// Whether nothing is sent because the log of what was sent cannot be written.
    pub sent_log_failing: bool,
}

impl Proxy {
    /// A proxy with an opened spool. It does nothing by itself.
    pub(crate) fn new(
        config: Config,
        salt: Salt,
        spool: Spool,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let spool = Arc::new(spool);
        let sent_log = SentLog::new(&config.data_dir, config.max_sent_bytes);
        let retry_after = RetryAfterFile::new(&config.data_dir);
        let live = Live::new(config, Arc::clone(&clock), metrics.account_queries.clone())?;
        Ok(Self(Arc::new(State {
            live: watch::Sender::new(Arc::new(live)),
            reloading: Default::default(),
            status: Default::default(),
            salt,
            forwarder: Forwarder::new(Arc::clone(&spool), Arc::clone(&metrics), Arc::clone(&clock), sent_log),
            spool,
            retry_after,
            metrics,
            put_failures: LogThrottle::default(),
            clock,
        })))
    }

    /// Takes one event of an app: puts into the spool what the policy lets out of it.
    pub async fn take(&self, event: Event) -> Result<Option<Dropped>, PutError> {
        let stored = match filter::pseudonymise(&self.0.salt, event) {
            Ok(sighting) => self.put(Report::Installation(sighting)).await,
            Err(reason) => {
                self.0.metrics.dropped(reason);
                return Ok(Some(reason));
            }
        };
        stored.inspect_err(|reason| {
            if self.0.put_failures.admit(*reason, Instant::now()) {
                tracing::error!(%reason, "events are not stored; the metrics count them");
            }
        })
    }

    /// Puts the Pod's own report into the spool, in place of the last one.
    pub async fn report(&self, report: PodReport) -> Result<Option<Dropped>, PutError> {
        self.put(Report::Pod(report)).await
    }

    async fn put(&self, report: Report) -> Result<Option<Dropped>, PutError> {
        loop {
            let live = self.live();
            let facts = live.facts_for_spooling().await;
            // Another policy may have come into force while the number of accounts was asked for.
            if !Arc::ptr_eq(&live, &self.live()) {
                continue;
            }
            match filter(&live.config.policy, &facts, report.clone()) {
                Ok(event) => {
                    let day = phase::day(self.now());
                    // Or while the event waited for the spool.
                    if self.0.spool.put(event, day, live.generation).await? == Put::Stored {
                        self.0.metrics.kept.inc();
                        return Ok(None);
                    }
                }
                Err(reason) => {
                    self.0.metrics.dropped(reason);
                    return Ok(Some(reason));
                }
            }
        }
    }

    /// Sends everything that waits now, whatever the schedule and `Retry-After` say.
    pub async fn flush(&self) -> FlushReport {
        self.send(Attempt::New).await
    }

    pub(crate) async fn send(&self, attempt: Attempt) -> FlushReport {
        let report = self.0.forwarder.flush(attempt, self.subscribe()).await;
        let mut status = self.0.status.lock();
        status.sent_log_failing = report.ended == Ended::NotRecorded;
        match report.ended {
            Ended::VendorAway { .. } => status.vendor = VendorState::Away,
            Ended::Done if report.sent + report.rejected > 0 => status.vendor = VendorState::Reachable,
            Ended::Done | Ended::UnknownCohort | Ended::NotRecorded | Ended::SpoolFault => {}
        }
        drop(status);
        report
    }

    /// See [`Forwarder::snapshot`].
    pub(crate) async fn snapshot(&self) {
        self.0.forwarder.snapshot().await;
    }

    /// The schedule of this Pod from now on.
    pub(crate) fn schedule(&self) -> Schedule {
        let now = self.now();
        Schedule::new(&self.0.salt, now, self.0.retry_after.read(now))
    }

    /// Remembers over a restart until when the vendor asked to wait, or that it does not any more.
    pub(crate) async fn remember_retry_after(&self, until: Option<Timestamp>) {
        let proxy = self.clone();
        let written = tokio::task::spawn_blocking(move || match until {
            Some(until) => proxy.0.retry_after.write(until),
            None => proxy.0.retry_after.remove(),
        });
        if let Err(error) = written.await.unwrap_or_else(|panicked| Err(panicked.into())) {
            tracing::warn!(%error, "the vendor's Retry-After cannot be saved; a restart forgets it");
        }
    }

    /// Applies another configuration as a whole. After an error, the one before stays in force. Addresses, paths and the
    /// data folder stay as they were at the start.
    pub async fn reload(&self, config: Config) -> anyhow::Result<()> {
        let result = self.apply(config).await;
        self.0.status.lock().configuration_refused = result.is_err();
        result
    }

    /// Reads the configuration file again and applies it, unless it has mistakes.
    pub async fn reload_file(&self, path: PathBuf) -> anyhow::Result<()> {
        match tokio::task::spawn_blocking(move || Config::load(&path)).await? {
            Ok(config) => self.reload(config).await,
            Err(Mistakes(mistakes)) => {
                self.0.status.lock().configuration_refused = true;
                Err(Mistakes(mistakes).into())
            }
        }
    }

    async fn apply(&self, config: Config) -> anyhow::Result<()> {
        let _reloading = self.0.reloading.lock().await;
        let old = self.live();
        let new = Arc::new(old.replaced_by(config)?);
        for (key, changed) in [
            ("listen", new.config.listen != old.config.listen),
            ("metrics_listen", new.config.metrics_listen != old.config.metrics_listen),
            ("base_path", new.config.base_path != old.config.base_path),
            ("data_dir", new.config.data_dir != old.config.data_dir),
            ("salt_file", new.config.salt_file != old.config.salt_file),
            ("max_sent_bytes", new.config.max_sent_bytes != old.config.max_sent_bytes),
            ("log_level", new.config.log_level != old.config.log_level),
        ] {
            if changed {
                tracing::warn!("`pod_proxy.{key}` has changed; the change takes effect after a restart");
            }
        }
        let generation = new.generation;
        self.0.spool.set_bounds(new.config.quota).await;
        self.0.live.send_replace(new);
        // In this order: what the old policy let through is either stored before this, and wiped, or not at all.
        self.0.spool.require_generation(generation);
        self.discard_if_off().await;
        Ok(())
    }

    /// Discards what waits if the operator turned analytics off.
    pub(crate) async fn discard_if_off(&self) {
        if !self.live().config.policy.is_enabled() {
            self.0.forwarder.discard_all().await;
        }
    }

    pub fn status(&self) -> Status {
        *self.0.status.lock()
    }

    /// What waits for the vendor.
    pub fn spool_usage(&self) -> Usage {
        self.0.spool.usage()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// All metrics in the text format of Prometheus.
    pub fn render_metrics(&self) -> String {
        let (metrics, status, usage) = (&self.0.metrics, self.status(), self.spool_usage());
        let bounds = self.live().config.quota;
        for (gauge, value) in [
            (&metrics.spool_entries, usage.entries),
            (&metrics.spool_bytes, usage.bytes),
            (&metrics.spool_max_entries, bounds.max_entries),
            (&metrics.spool_max_bytes, bounds.max_bytes),
            (&metrics.configuration_refused, u64::from(status.configuration_refused)),
            (&metrics.sent_log_failing, u64::from(status.sent_log_failing)),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        metrics.render()
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.live().config.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.0.live.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Live>> {
        self.0.live.subscribe()
    }

    /// Closes the spool; everything after this fails.
    pub(crate) async fn close(&self) {
        self.0.spool.close().await;
    }

    /// Resolves when the spool is closed, or has died.
    pub(crate) async fn closed(&self) {
        self.0.spool.closed().await;
    }
}
