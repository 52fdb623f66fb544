//! The parts, wired: database, keys, writer, jobs and listeners. Tests start here too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use shared::clock::Clock;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Token;
use crate::config::{Config, DatabaseConfig};
use crate::embedded::Embedded;
use crate::http::{Services, metrics_router, router};
use crate::intake::Writer;
use crate::jobs::close_windows::CloseWindows;
use crate::jobs::purge::{purge_domains, purge_releases};
use crate::keys::KeyDirectory;
use crate::metrics::Metrics;
use crate::open_windows::OpenWindows;
use crate::store::Database;
use crate::store::tokens::StoredToken;
use crate::window::{Window, WindowKind};

/// How long after its end a window stays open, so that instances whose clocks differ a little agree that it is over.
pub const GRACE: Duration = Duration::from_secs(60);
/// How long requests that are in flight have to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(8);

/// Whether jobs run by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// On their schedule.
    Scheduled,
    /// Only when somebody calls them: for tests, and for simulations whose clock stands still.
    OnCall,
}

/// The database of a configuration, with the private Postgres if it is that.
#[derive(Debug)]
pub struct OpenDatabase {
    /// Connections.
    pub database: Database,
    embedded: Option<Embedded>,
    url: String,
}

impl OpenDatabase {
    /// Opens the configured database. A private Postgres is started if it does not run; if this process is its
    /// `owner`, it is stopped at the end even if it ran already.
    ///
    /// # Errors
    /// If there is none.
    pub async fn open(config: &Config, owner: bool) -> anyhow::Result<Self> {
        match &config.database {
            DatabaseConfig::Url(url) => {
                let options: PgConnectOptions = url.parse().map_err(|_| {
                    anyhow::anyhow!(
                        "the database URL is not one; it looks like postgres://user@host/database"
                    )
                })?;
                Ok(Self { database: Database::new(options), embedded: None, url: url.clone() })
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

    /// The URL of the database, for tools such as `psql` and `pg_dump`. May hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes the connections, and stops the private Postgres if it is ours.
    pub async fn close(self) {
        self.database.close().await;
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
    job: Job,
    clock: Arc<dyn Clock>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
}

impl App {
    /// Starts everything; requests are answered when this returns.
    ///
    /// # Errors
    /// If the database, the key directory or a listener is not to be had, or an open window has lost its key.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, jobs: Jobs) -> anyhow::Result<Self> {
        let listener = bind(config.listen).await?;
        let metrics_listener = bind(config.metrics_listen).await?;
        let database = OpenDatabase::open(&config, true).await?;
        match Self::start_with(&config, clock, jobs, database.database.clone(), listener, metrics_listener)
            .await
        {
            Ok(parts) => Ok(parts(database)),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    async fn start_with(
        config: &Config,
        clock: Arc<dyn Clock>,
        jobs: Jobs,
        database: Database,
        listener: TcpListener,
        metrics_listener: TcpListener,
    ) -> anyhow::Result<impl FnOnce(OpenDatabase) -> Self> {
        database.check_schema().await?;
        let keys = KeyDirectory::open(&config.key_dir)?;
        let metrics = Arc::new(Metrics::new());
        let close =
            CloseWindows { database: database.clone(), keys: keys.clone(), thresholds: config.thresholds };
        // A window that cannot be written to is found now, and not at the first report.
        let mut windows = OpenWindows::new(keys);
        windows.current(&database, clock.now()).await?;

        let (writer, writer_task) = Writer::start(database.clone(), windows, clock.clone(), metrics.clone());
        let services = Services { database, writer, metrics: metrics.clone(), clock: clock.clone() };
        let (stop, stopped) = watch::channel(false);
        let address = listener.local_addr()?;
        let metrics_address = metrics_listener.local_addr()?;
        let mut servers = vec![
            serve(listener, router(services, &config.base_path), stopped.clone()),
            serve(metrics_listener, metrics_router(metrics.clone()), stopped.clone()),
        ];
        let job = Job { close, retention: config.retention, clock: clock.clone(), metrics: metrics.clone() };
        if jobs == Jobs::Scheduled {
            servers.push(tokio::spawn(job.clone().run_every(config.close_interval, stopped)));
        }
        Ok(move |database| Self {
            address,
            metrics_address,
            database,
            job,
            clock,
            stop,
            servers,
            writer: writer_task,
        })
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

    /// Releases what is over and deletes what is due, as the jobs do on their schedule.
    ///
    /// # Errors
    /// If the database or the key directory fails.
    pub async fn run_jobs(&self) -> anyhow::Result<Vec<Window>> {
        self.job.run().await
    }

    /// A token that works for a day, for whoever started the service. Replaces the one that an earlier start made.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn issue_start_token(&self) -> anyhow::Result<Token> {
        const NAME: &str = "printed at start";
        let database = &self.database.database;
        let token = Token::generate();
        let expires_at = crate::access::expiry(self.clock.now(), Duration::from_secs(86_400));
        let stored = StoredToken { name: NAME.to_owned(), may_read_domains: true, expires_at };
        database.delete_token(NAME).await?;
        database.insert_token(&stored, &token.digest()).await?;
        Ok(token)
    }

    /// Takes no more requests, answers those that are in flight, and stops everything.
    pub async fn shutdown(self) {
        // The receivers may have ended already.
        let _ = self.stop.send(true);
        let drained = async {
            for server in self.servers {
                let _ = server.await;
            }
            // The writer ends when the last handle to it has gone with the servers.
            let _ = self.writer.await;
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        self.database.close().await;
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn serve(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let signal = async move {
        // An error means that the sender is gone, which is the end as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(signal).await {
            tracing::error!(%error, "a listener failed");
        }
    })
}

#[derive(Clone, Debug)]
struct Job {
    close: CloseWindows,
    retention: Option<Duration>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Job {
    async fn run_every(self, interval: Duration, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stopped.changed() => return,
            }
            if let Err(error) = self.run().await {
                tracing::error!(error = format!("{error:#}"), "windows could not be closed; trying again");
            }
        }
    }

    async fn run(&self) -> anyhow::Result<Vec<Window>> {
        let now: Timestamp = self.clock.now();
        let closed = self.close.run(now.saturating_sub(GRACE).unwrap_or(now)).await;
        self.metrics.close_finished(closed.as_deref().ok());
        let closed = closed?;
        for window in &closed {
            tracing::info!(%window, "released");
        }
        for kind in WindowKind::ALL {
            if let Some(window) = self.close.database.newest_release(kind).await? {
                self.metrics.newest_release(window);
            }
        }
        purge_domains(&self.close.database, now).await?;
        if let Some(retention) = self.retention {
            purge_releases(&self.close.database, now, retention).await?;
        }
        Ok(closed)
    }
}
