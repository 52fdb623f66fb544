//! Wires database, keys, writer, jobs and listeners. Tests start here, too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use listen::Clients;
use shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::Token;
use crate::config::{Config, DatabaseConfig, parse_database_url};
use crate::embedded::Embedded;
use crate::http::{
    LoginThrottle, MAX_BATCHES, PageCache, Readiness, RenderQueue, Services, metrics_router, router,
};
use crate::intake::{DomainNotes, IntakeLimits, Writer};
use crate::jobs::Jobs;
use crate::jobs::close_windows::CloseWindows;
use crate::keys::KeyDirectory;
use crate::metrics::Metrics;
use crate::open_windows::OpenWindows;
use crate::release_cache::ReleaseCache;
use crate::store::tokens::StoredToken;
use crate::store::{Database, StoreError};
use crate::window::Window;

/// Connections that are open at a time on one listener: usually fewer than the files that a process may open.
const MAX_CONNECTIONS: usize = 800;
/// How long requests may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(6);
/// How long connections to the database may take to close after that.
const CLOSE: Duration = Duration::from_secs(1);

/// Whether jobs run by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At their intervals.
    Timed,
    /// Only when called: for tests, and for simulations whose clock stands still.
    OnCall,
}

/// The configured database, with its private Postgres if it has one.
pub struct OpenDatabase {
    /// Connections.
    pub database: Database,
    embedded: Option<Embedded>,
    url: String,
}

impl std::fmt::Debug for OpenDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenDatabase").field("embedded", &self.embedded).finish_non_exhaustive()
    }
}

impl OpenDatabase {
    /// Opens the configured database, and starts a private Postgres if it does not run. The `owner` stops it
    /// at the end, even if it ran before.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub async fn open(config: &Config, owner: bool) -> anyhow::Result<Self> {
        match &config.database {
            DatabaseConfig::Url(url) => Self::of_url(url.clone()),
            DatabaseConfig::UrlFile(file) => {
                let url = std::fs::read_to_string(file)
                    .context("cannot read the file that `database_url_file` names")?;
                Self::of_url(url.trim().to_owned())
            }
            DatabaseConfig::Embedded => {
                let embedded = Embedded::start(&config.data_dir, owner).await?;
                let database = Database::new(embedded.options());
                // Nobody else maintains a private database.
                database.migrate().await?;
                let url = embedded.url();
                Ok(Self { database, embedded: Some(embedded), url })
            }
        }
    }

    fn of_url(url: String) -> anyhow::Result<Self> {
        let options =
            parse_database_url(&url).map_err(|wrong| anyhow::anyhow!("the database URL {wrong}"))?;
        Ok(Self { database: Database::new(options), embedded: None, url })
    }

    /// Checks that commands can use it. Prepares a private database, and changes nothing in any other.
    ///
    /// # Errors
    /// If they cannot use it.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        match self.embedded {
            Some(_) => self.database.prepare().await,
            None => self.database.check().await,
        }
    }

    /// The URL of the database, for tools such as `psql` and `pg_dump`. May hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes the connections, and stops the private Postgres if this process runs it.
    pub async fn close(self) {
        // We do not wait for a connection that is stuck.
        if tokio::time::timeout(CLOSE, self.database.close()).await.is_err() {
            tracing::warn!("a connection to the database did not close in time");
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// The running service.
#[derive(Debug)]
pub struct App {
    database: OpenDatabase,
    parts: Parts,
}

#[derive(Debug)]
struct Parts {
    address: SocketAddr,
    metrics_address: SocketAddr,
    jobs: Jobs,
    stop: watch::Sender<bool>,
    /// The listeners, the writer, and the jobs on their schedule.
    tasks: JoinSet<()>,
}

impl App {
    /// Starts everything; requests are answered when this returns.
    ///
    /// # Errors
    /// If the database, the key directory or a listener cannot be opened, or the key of an open window is
    /// missing.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, schedule: Schedule) -> anyhow::Result<Self> {
        let listeners = [bind(config.listen).await?, bind(config.metrics_listen).await?];
        let database = OpenDatabase::open(&config, true).await?;
        match start_parts(&config, clock, schedule, &database.database, listeners).await {
            Ok(parts) => Ok(Self { database, parts }),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Where reports are taken and insights served.
    pub fn address(&self) -> SocketAddr {
        self.parts.address
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.parts.metrics_address
    }

    /// The database.
    pub fn database(&self) -> &OpenDatabase {
        &self.database
    }

    /// Merges open windows, releases those that are over and purges old data, as the jobs do on their
    /// schedule.
    ///
    /// # Errors
    /// If one of them fails.
    pub async fn run_jobs(&self) -> anyhow::Result<Vec<Window>> {
        self.parts.jobs.run().await
    }

    /// A token for the person who started the service. It works for a day, cannot read domains, and replaces
    /// the token of the start before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn issue_start_token(&self) -> anyhow::Result<Token> {
        const NAME: &str = "printed at start";
        let database = &self.database.database;
        let token = Token::generate();
        let expires_at = crate::access::expiry(self.parts.jobs.clock.now(), Duration::from_secs(86_400));
        let stored = StoredToken { name: NAME.to_owned(), may_read_domains: false, expires_at };
        database.delete_token(NAME).await?;
        database.insert_token(&stored, &token.digest()).await?;
        Ok(token)
    }

    /// Resolves if a part of the service ends, which none should before [`Self::shutdown`].
    pub async fn died(&mut self) {
        // A panic has been printed by its task.
        let _ = self.parts.tasks.join_next().await;
    }

    /// Finishes the requests in flight, takes no new ones, and stops everything within ten seconds.
    pub async fn shutdown(mut self) {
        self.parts.stop.send_replace(true);
        let drained = async {
            // The writer ends when the listeners have dropped its last handle.
            while self.parts.tasks.join_next().await.is_some() {}
            // Domains that are not written yet are dropped: now, they would be written right after the last
            // reports.
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        self.parts.tasks.abort_all();
        self.database.close().await;
    }
}

async fn start_parts(
    config: &Config,
    clock: Arc<dyn Clock>,
    schedule: Schedule,
    database: &Database,
    [listener, metrics_listener]: [TcpListener; 2],
) -> anyhow::Result<Parts> {
    database.prepare().await?;
    let keys = KeyDirectory::open(&config.key_dir)?;
    let metrics = Arc::new(Metrics::new());
    let domains = DomainNotes::default();
    let thresholds = config.thresholds;
    let windows = OpenWindows::new(keys.clone());
    let releases = ReleaseCache::new(database.clone());
    let jobs = Jobs {
        close: CloseWindows { database: database.clone(), keys: keys.clone(), thresholds },
        windows: windows.clone(),
        releases: releases.clone(),
        domains: domains.clone(),
        retention: config.retention,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    // Finds a window that cannot be written to before the first report does.
    windows.current(database, clock.now()).await?;

    let (writer, writer_task) =
        Writer::new(database.clone(), windows, domains, clock.clone(), metrics.clone());
    let limits = config.limits.map(|rates| Arc::new(IntakeLimits::new(rates, &clock)));
    let services = Arc::new(Services {
        database: database.clone(),
        releases,
        page_cache: PageCache::default(),
        render_queue: RenderQueue::new(metrics.clone()),
        keys,
        writer,
        places: Arc::new(Semaphore::new(MAX_BATCHES)),
        login_throttle: LoginThrottle::new(&clock),
        public_insights: Arc::new(config.public_insights.clone()),
        session_lifetime: config.session_lifetime,
        trusted_proxies: config.trusted_proxies.clone(),
        public_url: config.public_url.clone(),
        limits,
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        clock,
    });
    let (stop, stopped) = watch::channel(false);
    let address = listener.local_addr()?;
    let metrics_address = metrics_listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(writer_task);
    let router = router(services, &config.base_path);
    tasks.spawn(listen::serve(listener, router, Clients::Addresses, MAX_CONNECTIONS, stopped.clone()));
    let router = metrics_router(metrics);
    tasks.spawn(listen::serve(metrics_listener, router, Clients::Unknown, MAX_CONNECTIONS, stopped.clone()));
    if schedule == Schedule::Timed {
        let (jobs, interval, mut stopped) = (jobs.clone(), config.close_interval, stopped);
        tasks.spawn(async move {
            tokio::select! {
                () = jobs.run_every(interval) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
    }
    Ok(Parts { address, metrics_address, jobs, stop, tasks })
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
