//! The parts, wired: database, keys, writer, jobs and listeners. Tests start here too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::Token;
use crate::archive::Archive;
use crate::config::{Config, DatabaseConfig, parse_database_url};
use crate::embedded::Embedded;
use crate::http::{Entrance, MAX_BATCHES, MadePages, Making, Readiness, Services, metrics_router, router};
use crate::intake::{DomainNotes, IntakeLimits, Writer};
use crate::jobs::Jobs;
use crate::jobs::close_windows::CloseWindows;
use crate::keys::KeyDirectory;
use crate::metrics::Metrics;
use crate::open_windows::OpenWindows;
use crate::store::tokens::StoredToken;
use crate::store::{Database, StoreError};
use crate::window::Window;

/// Connections that are open at a time on one listener: fewer than the files that a process may open as a rule.
const MAX_CONNECTIONS: usize = 800;
/// How long requests that are in flight have to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(6);
/// How long connections to the database have to close after that.
const CLOSE: Duration = Duration::from_secs(1);

/// Whether jobs run by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At their intervals.
    Timed,
    /// Only when somebody calls them: for tests, and for simulations whose clock stands still.
    OnCall,
}

/// The database of a configuration, with the private Postgres if it is that.
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
    /// Opens the configured database. A private Postgres is started if it does not run; if this process is its
    /// `owner`, it is stopped at the end even if it ran already.
    ///
    /// # Errors
    /// If there is none.
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
                // Nobody else looks after a private database.
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

    /// Checks that commands can work with it. A private one is made ready; of any other, nothing is changed.
    ///
    /// # Errors
    /// If they cannot.
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

    /// Closes the connections, and stops the private Postgres if it is ours.
    pub async fn close(self) {
        // A connection that is stuck in the middle of something is not waited for.
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
    address: SocketAddr,
    metrics_address: SocketAddr,
    database: OpenDatabase,
    jobs: Jobs,
    stop: watch::Sender<bool>,
    /// The listeners, the writer, and the jobs on their schedule.
    tasks: JoinSet<()>,
}

impl App {
    /// Starts everything; requests are answered when this returns.
    ///
    /// # Errors
    /// If the database, the key directory or a listener is not to be had, or an open window has lost its key.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, schedule: Schedule) -> anyhow::Result<Self> {
        let listeners = [bind(config.listen).await?, bind(config.metrics_listen).await?];
        let database = OpenDatabase::open(&config, true).await?;
        match start_parts(&config, clock, schedule, &database.database, listeners).await {
            Ok(Parts { address, metrics_address, jobs, stop, tasks }) => {
                Ok(Self { address, metrics_address, database, jobs, stop, tasks })
            }
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Where reports are taken and insights served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// The database.
    pub fn database(&self) -> &OpenDatabase {
        &self.database
    }

    /// Merges open windows, releases what is over and deletes what is due, as the jobs do on their schedule.
    ///
    /// # Errors
    /// If one of them fails.
    pub async fn run_jobs(&self) -> anyhow::Result<Vec<Window>> {
        self.jobs.run().await
    }

    /// A token that works for a day, for whoever started the service; without the right to domains. Replaces the one
    /// that an earlier start made.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn issue_start_token(&self) -> anyhow::Result<Token> {
        const NAME: &str = "printed at start";
        let database = &self.database.database;
        let token = Token::generate();
        let expires_at = crate::access::expiry(self.jobs.clock.now(), Duration::from_secs(86_400));
        let stored = StoredToken { name: NAME.to_owned(), may_read_domains: false, expires_at };
        database.delete_token(NAME).await?;
        database.insert_token(&stored, &token.digest()).await?;
        Ok(token)
    }

    /// Resolves if a part of the service ends, which none should before [`Self::shutdown`].
    pub async fn died(&mut self) {
        // A panic has been printed by its task.
        let _ = self.tasks.join_next().await;
    }

    /// Takes no more requests, answers those that are in flight, and stops everything. Takes ten seconds at most.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let drained = async {
            // The writer ends when the last handle to it has gone with the listeners.
            while self.tasks.join_next().await.is_some() {}
            // Domains that are not written yet are dropped: written now, they would follow the last reports at once.
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        self.tasks.abort_all();
        self.database.close().await;
    }
}

struct Parts {
    address: SocketAddr,
    metrics_address: SocketAddr,
    jobs: Jobs,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
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
    let archive = Archive::new(database.clone());
    let jobs = Jobs {
        close: CloseWindows { database: database.clone(), keys: keys.clone(), thresholds },
        windows: windows.clone(),
        archive: archive.clone(),
        domains: domains.clone(),
        retention: config.retention,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    // A window that cannot be written to is found now, and not at the first report.
    windows.current(database, clock.now()).await?;

    let (writer, writer_task) =
        Writer::new(database.clone(), windows, domains, clock.clone(), metrics.clone());
    let entrance = Arc::new(Entrance::new(config, &clock));
    let limits = config.limits.map(|rates| Arc::new(IntakeLimits::new(rates, &clock)));
    let services = Arc::new(Services {
        database: database.clone(),
        archive,
        made: MadePages::default(),
        making: Making::new(metrics.clone()),
        keys,
        writer,
        places: Arc::new(Semaphore::new(MAX_BATCHES)),
        entrance,
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
    tasks.spawn(listen::serve(listener, router, MAX_CONNECTIONS, stopped.clone()));
    let router = metrics_router(metrics);
    tasks.spawn(listen::serve(metrics_listener, router, MAX_CONNECTIONS, stopped.clone()));
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
