//! A [`Config`] → a proxy at work: wires the parts. Tests and simulations start here too.

mod alarm;
mod timed;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use jiff::Timestamp;
use shared::clock::{Clock, SystemClock};
use shared::config::Mistakes;
use shared::event::Event;
use shared::pseudonym::Salt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::complaint::Complaint;
use crate::config::Config;
use crate::facts::accounts::Accounts;
use crate::filter::{self, Dropped, PodReport, Report, filter};
use crate::forward::schedule;
use crate::forward::sent_log::SentLog;
use crate::forward::told_to_wait::ToldToWait;
use crate::forward::{Ended, FlushReport, Forwarder, Which};
use crate::http;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::salt;
use crate::spool::{Held, KeepError, Kept, Spool};

/// What differs between a service and a simulation.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether the proxy sends and reports on its own. If not, [`App::flush`] and [`App::report`] do it.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), background: true }
    }
}

/// A proxy at work. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    live: watch::Sender<Arc<Live>>,
    reloading: tokio::sync::Mutex<()>,
    salt: Salt,
    spool: Arc<Spool>,
    forwarder: Forwarder,
    told_to_wait: ToldToWait,
    metrics: Arc<Metrics>,
    not_kept: Complaint<KeepError>,
    clock: Arc<dyn Clock>,
    local_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    configuration_refused: AtomicBool,
    vendor: AtomicU8,
    rests_until: Mutex<Option<Timestamp>>,
    stop: watch::Sender<bool>,
    dead: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the last attempt to reach the vendor showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorState {
    /// There was none yet.
    Untried,
    /// It answered.
    Reachable,
    /// It did not, or not now.
    Away,
}

impl VendorState {
    /// The word in the health answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Reachable => "reachable",
            Self::Away => "away",
        }
    }

    fn of(code: u8) -> Self {
        match code {
            1 => Self::Reachable,
            2 => Self::Away,
            _ => Self::Untried,
        }
    }
}

/// Gives TLS its cryptography. Harmless if it has it already.
pub fn install_crypto() {
    // The error says that somebody else was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl App {
    /// Opens what is in the data folder, listens, and starts to work.
    ///
    /// # Errors
    /// If the domain is missing, the salt or the spool cannot be used, or an address cannot be listened on.
    pub async fn start(config: Config, options: Options) -> anyhow::Result<Self> {
        let Options { clock, background } = options;
        install_crypto();
        let metrics = Arc::new(Metrics::new()?);
        let accounts = new_accounts(&config, &clock, &metrics)?;
        let live = Arc::new(Live::new(config, accounts, 0)?);
        let config = &live.config;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .with_context(|| format!("cannot make the data folder {}", config.data_dir.display()))?;
        let salt = salt::load_or_create(&config.salt_file)?;
        let spool = Arc::new(Spool::open(&config.data_dir, config.quota)?);
        let listener = listen(config.listen).await?;
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let sent_log = SentLog::new(&config.data_dir, config.max_sent_bytes);
        let app = Self(Arc::new(Parts {
            forwarder: Forwarder::new(Arc::clone(&spool), Arc::clone(&metrics), Arc::clone(&clock), sent_log),
            local_addr: listener.local_addr()?,
            metrics_addr: metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok()),
            told_to_wait: ToldToWait::new(&config.data_dir),
            live: watch::Sender::new(Arc::clone(&live)),
            reloading: Default::default(),
            salt,
            spool,
            metrics,
            not_kept: Complaint::default(),
            clock,
            configuration_refused: AtomicBool::new(false),
            vendor: AtomicU8::new(0),
            rests_until: Mutex::default(),
            stop: watch::Sender::new(false),
            dead: watch::Sender::new(false),
            tasks: Mutex::default(),
        }));

        if !config.policy.is_enabled() {
            app.0.forwarder.discard_all().await;
        }
        let router = http::router(app.clone(), &config.base_path);
        app.spawn(http::server::serve(listener, router, app.0.stop.subscribe()));
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(app.clone());
            app.spawn(http::server::serve(listener, router, app.0.stop.subscribe()));
        }
        if background {
            app.spawn(app.clone().send_when_due());
            app.spawn(app.clone().report_when_due());
        }
        Ok(app)
    }

    /// Where apps reach it.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// Where its metrics are, if they are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.0.metrics_addr
    }

    /// The route for events, as a URL.
    pub fn event_url(&self) -> String {
        let base_path = &self.live().config.base_path;
        format!("http://{}{base_path}/v1/analytics/event", self.0.local_addr)
    }

    /// Takes one event of an app: keeps on disk what the policy lets out of it.
    ///
    /// # Errors
    /// If it could not be kept.
    pub async fn take(&self, event: Event) -> Result<Option<Dropped>, KeepError> {
        match filter::pseudonymise(&self.0.salt, event) {
            Ok(sighting) => self.keep(Report::Installation(sighting)).await,
            Err(reason) => {
                self.0.metrics.dropped(reason);
                Ok(Some(reason))
            }
        }
    }

    /// Puts the Pod's own report with what waits, in place of the one before it.
    ///
    /// # Errors
    /// If it could not be kept.
    pub async fn report(&self, report: PodReport) -> Result<Option<Dropped>, KeepError> {
        self.keep(Report::Pod(report)).await
    }

    async fn keep(&self, report: Report) -> Result<Option<Dropped>, KeepError> {
        loop {
            let live = self.live();
            let facts = live.facts_for_keeping().await;
            // Asking for the number of accounts takes a while; another policy may have come into force meanwhile.
            if !Arc::ptr_eq(&live, &self.live()) {
                continue;
            }
            match filter(&live.config.policy, &facts, report.clone()) {
                Ok(event) => {
                    let day = schedule::day(self.0.clock.now());
                    // So does waiting for the spool.
                    if self.0.spool.keep(event, day, live.generation).await? == Kept::OnDisk {
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

    /// Sends everything that waits now, as the loop does when it is due. It does not look at when that is, nor at
    /// how long the vendor asked to wait.
    pub async fn flush(&self) -> FlushReport {
        self.send(Which::WaitsNow).await
    }

    async fn send(&self, which: Which) -> FlushReport {
        let report = self.0.forwarder.flush(which, self.0.live.subscribe()).await;
        let vendor = match report.ended {
            Ended::VendorAway { .. } => 2,
            Ended::Done if report.sent + report.rejected > 0 => 1,
            Ended::Done | Ended::UnknownCohort | Ended::NotRecorded | Ended::SpoolFault => return report,
        };
        self.0.vendor.store(vendor, Ordering::Relaxed);
        report
    }

    /// Puts another configuration in force, all of it at once. Addresses, paths and the data folder stay what they
    /// were at the start.
    ///
    /// # Errors
    /// If it cannot be put in force; the one before it stays.
    pub async fn reload(&self, config: Config) -> anyhow::Result<()> {
        let result = self.put_in_force(config).await;
        self.set_configuration_refused(result.is_err());
        result
    }

    async fn put_in_force(&self, config: Config) -> anyhow::Result<()> {
        let _reloading = self.0.reloading.lock().await;
        let old = self.live();
        let accounts = if old.accounts.is_from(&config.accounts, config.accounts_lifetime) {
            Arc::clone(&old.accounts)
        } else {
            new_accounts(&config, &self.0.clock, &self.0.metrics)?
        };
        for (key, stays) in [
            ("listen", config.listen != old.config.listen),
            ("metrics_listen", config.metrics_listen != old.config.metrics_listen),
            ("base_path", config.base_path != old.config.base_path),
            ("data_dir", config.data_dir != old.config.data_dir),
            ("salt_file", config.salt_file != old.config.salt_file),
            ("max_sent_bytes", config.max_sent_bytes != old.config.max_sent_bytes),
            ("log_level", config.log_level != old.config.log_level),
        ] {
            if stays {
                tracing::warn!("`pod_proxy.{key}` has changed; the change is in force after a restart");
            }
        }
        let generation = old.generation + 1;
        let live = Arc::new(Live::new(config, accounts, generation)?);
        self.0.spool.set_bounds(live.config.quota).await;
        let enabled = live.config.policy.is_enabled();
        self.0.live.send_replace(live);
        // In this order: what the policy before let through is either written before this, and wiped, or not at all.
        self.0.spool.overtake(generation);
        if !enabled {
            self.0.forwarder.discard_all().await;
        }
        Ok(())
    }

    /// Reads the file again, and puts it in force if there is no mistake in it.
    ///
    /// # Errors
    /// If it cannot be put in force; the configuration before it stays.
    pub async fn reload_file(&self, path: PathBuf) -> anyhow::Result<()> {
        let read = tokio::task::spawn_blocking(move || Config::load(&path)).await?;
        match read {
            Ok(config) => self.reload(config).await,
            Err(Mistakes(mistakes)) => {
                self.set_configuration_refused(true);
                Err(Mistakes(mistakes).into())
            }
        }
    }

    fn set_configuration_refused(&self, refused: bool) {
        self.0.configuration_refused.store(refused, Ordering::Relaxed);
        self.0.metrics.configuration_refused.set(i64::from(refused));
    }

    /// Whether to say now that an event was not kept, for that reason.
    pub(crate) fn is_complaint_due(&self, reason: KeepError) -> bool {
        self.0.not_kept.is_due(reason, std::time::Instant::now())
    }

    /// Whether the file had mistakes at the last reload.
    pub fn is_configuration_refused(&self) -> bool {
        self.0.configuration_refused.load(Ordering::Relaxed)
    }

    /// Whether nothing is sent because what leaves cannot be written down in the log of what was sent.
    pub fn is_sent_log_failing(&self) -> bool {
        self.0.metrics.sent_log_failing.get() != 0
    }

    /// What the last attempt to reach the vendor showed.
    pub fn vendor_state(&self) -> VendorState {
        VendorState::of(self.0.vendor.load(Ordering::Relaxed))
    }

    /// Until when the loop that sends rests; `None` while it works, and where it does not run. So a simulation knows
    /// that it may move the clock.
    pub fn rests_until(&self) -> Option<Timestamp> {
        *self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits for the vendor.
    pub fn held(&self) -> Held {
        self.0.spool.held()
    }

    /// The numbers about its operation.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.live().config.clone()
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.0.live.borrow())
    }

    /// Stops: no new connections; requests that have begun are answered; the spool is closed. Takes at most some
    /// seconds.
    pub async fn shutdown(&self) {
        self.0.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that died has been reported by `died`.
            let _ = task.await;
        }
        self.0.spool.close().await;
    }

    /// Resolves if a part of the proxy has died, which it should not.
    pub async fn died(&self) {
        tokio::select! {
            // The sender is a part of this, so it is not gone.
            _ = async { self.0.dead.subscribe().wait_for(|dead| *dead).await.is_ok() } => {}
            () = self.0.spool.closed() => {}
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let last_words = LastWords(self.0.dead.clone());
        let task = tokio::spawn(async move {
            let _last_words = last_words;
            task.await;
        });
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// Says that a task has ended, also if it did so by a panic.
struct LastWords(watch::Sender<bool>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn new_accounts(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Accounts>> {
    let source = config.accounts.clone();
    let accounts = Accounts::new(source, config.accounts_lifetime, Arc::clone(clock), Arc::clone(metrics))?;
    Ok(Arc::new(accounts))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
