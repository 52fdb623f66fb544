//! A [`Config`] → a proxy at work: wires the parts. Tests and simulations start here too.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use shared::clock::{Clock, SystemClock};
use shared::config::Mistakes;
use shared::event::{Domain, Event};
use shared::pseudonym::Salt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::facts::PodFacts;
use crate::facts::accounts::Accounts;
use crate::filter::{self, Dropped, PodReport, Report, filter};
use crate::forward::client::Client;
use crate::forward::retry::{Backoff, longest_backoff};
use crate::forward::schedule::{self, Phase};
use crate::forward::sent_log::SentLog;
use crate::forward::{Ended, FlushReport, Forwarder};
use crate::http;
use crate::metrics::Metrics;
use crate::salt;
use crate::spool::{Held, KeepError, Spool};

/// The longest that a loop sleeps without looking at the clock, which may have been set or stood still.
const LONGEST_NAP: Duration = Duration::from_secs(900);

/// How long the vendor may still take to answer when the proxy stops.
const LAST_ANSWER: Duration = Duration::from_secs(3);

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
    salt: Salt,
    spool: Arc<Spool>,
    forwarder: Forwarder,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    local_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    configuration_refused: AtomicBool,
    vendor: AtomicU8,
    stop: watch::Sender<bool>,
    dead: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a reload replaces, all at once.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) client: Client,
    domain: Domain,
    accounts: Arc<Accounts>,
}

impl Live {
    fn new(config: Config, accounts: Arc<Accounts>) -> anyhow::Result<Self> {
        let domain = config.require_domain()?;
        let client = Client::new(&config)?;
        Ok(Self { config, client, domain, accounts })
    }

    /// What decides what leaves. The number of accounts is asked for if it decides something.
    pub(crate) async fn facts_for_sending(&self) -> PodFacts {
        let needed = self.config.policy.needs_account_count();
        self.facts(if needed { self.accounts.fresh().await } else { None })
    }

    /// What decides what is kept. An app does not wait for the number of accounts, unless it was never told and
    /// decides whether anything is kept at all.
    pub(crate) async fn facts_for_keeping(&self) -> PodFacts {
        let policy = &self.config.policy;
        let decides = policy.enabled && policy.min_cohort_size.unwrap_or(0) > 0;
        self.facts(if decides { self.accounts.at_hand().await } else { self.accounts.last_told() })
    }

    fn facts(&self, accounts: Option<u32>) -> PodFacts {
        let facts = PodFacts::of(self.domain.clone()).with_version(self.config.pod_version);
        facts.with_accounts(accounts)
    }
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
        let live = Arc::new(Live::new(config, accounts)?);
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
            live: watch::Sender::new(Arc::clone(&live)),
            salt,
            spool,
            metrics,
            clock,
            configuration_refused: AtomicBool::new(false),
            vendor: AtomicU8::new(0),
            stop: watch::Sender::new(false),
            dead: watch::Sender::new(false),
            tasks: Mutex::default(),
        }));

        if !config.policy.enabled {
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
        let live = self.live();
        match filter(&live.config.policy, &live.facts_for_keeping().await, report) {
            Ok(event) => {
                self.0.spool.keep(event, schedule::day(self.0.clock.now())).await?;
                self.0.metrics.kept.inc();
                Ok(None)
            }
            Err(reason) => {
                self.0.metrics.dropped(reason);
                Ok(Some(reason))
            }
        }
    }

    /// Sends everything that waits now, as the loop does when it is due. It does not look at when that is, nor at
    /// how long the vendor asked to wait.
    pub async fn flush(&self) -> FlushReport {
        let report = self.0.forwarder.flush(|| self.live()).await;
        let vendor = match report.ended {
            Ended::VendorAway { .. } => 2,
            Ended::Done if report.sent + report.rejected > 0 => 1,
            Ended::Done | Ended::UnknownCohort | Ended::SpoolFault => return report,
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
        let live = Arc::new(Live::new(config, accounts)?);
        self.0.spool.set_bounds(live.config.quota).await;
        let enabled = live.config.policy.enabled;
        self.0.live.send_replace(live);
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

    /// Whether the file had mistakes at the last reload.
    pub fn is_configuration_refused(&self) -> bool {
        self.0.configuration_refused.load(Ordering::Relaxed)
    }

    /// What the last attempt to reach the vendor showed.
    pub fn vendor_state(&self) -> VendorState {
        VendorState::of(self.0.vendor.load(Ordering::Relaxed))
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

    /// The loop that sends: at the Pod's own point of each interval, or when a failure has been waited out.
    async fn send_when_due(self) {
        let phase = Phase::of_flush(&self.0.salt);
        let mut backoff = Backoff::default();
        let mut retry_at = None;
        loop {
            let from = self.0.clock.now();
            let due = |live: &Live| {
                retry_at.unwrap_or_else(|| schedule::next_flush(from, live.config.flush_interval, phase))
            };
            if !self.wait_until(due).await {
                return;
            }
            let given_up = async {
                self.stopped().await;
                tokio::time::sleep(LAST_ANSWER).await;
            };
            let report = tokio::select! {
                report = self.flush() => report,
                () = given_up => return,
            };
            let longest = longest_backoff(self.live().config.flush_interval);
            retry_at = match report.ended {
                Ended::Done => {
                    backoff = Backoff::default();
                    None
                }
                Ended::VendorAway { reason, asked } => {
                    tracing::warn!(
                        reason,
                        waiting = report.left,
                        "the vendor cannot be reached; trying again later"
                    );
                    let wait = backoff.next(longest, rand::random(), asked);
                    Some(schedule::after(self.0.clock.now(), wait))
                }
                Ended::UnknownCohort | Ended::SpoolFault => {
                    tracing::warn!(
                        waiting = report.left,
                        "nothing can be sent at the moment; trying again later"
                    );
                    Some(schedule::after(self.0.clock.now(), longest))
                }
            };
            if report.sent + report.rejected + report.withheld > 0 {
                let FlushReport { sent, rejected, withheld, left, ended: _ } = report;
                tracing::info!(sent, rejected, withheld, left, "sent what was waiting");
            }
        }
    }

    /// The loop that reports on the Pod itself: now, and then each day at the Pod's own time.
    async fn report_when_due(self) {
        let phase = Phase::of_report(&self.0.salt);
        let mut report = PodReport::Startup;
        loop {
            if let Err(error) = self.report(report).await {
                tracing::warn!(%error, "the Pod's own report was not kept");
            }
            report = PodReport::Daily;
            let from = self.0.clock.now();
            if !self.wait_until(|_| schedule::next_report(from, phase)).await {
                return;
            }
        }
    }

    /// Waits until the clock shows what `due` says, which a reload may change. Returns false if the proxy stops.
    async fn wait_until(&self, due: impl Fn(&Live) -> Timestamp) -> bool {
        let mut reloads = self.0.live.subscribe();
        loop {
            let due = due(&self.live());
            let Ok(left) = Duration::try_from(due.duration_since(self.0.clock.now())) else { return true };
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LONGEST_NAP)) => {}
                _ = reloads.changed() => {}
                () = self.stopped() => return false,
            }
        }
    }

    async fn stopped(&self) {
        // The sender is a part of this, so it is not gone.
        let _ = self.0.stop.subscribe().wait_for(|stop| *stop).await;
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
