//! A [`Config`] → a running proxy: opens the data folder, listens, starts the tasks and stops them. Tests and simulations
//! start here too.

mod background;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use listen::Clients;
use parking_lot::Mutex;
use shared::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::http;
use crate::proxy::Proxy;
use crate::salt;
use crate::spool::Spool;

/// Connections that are open at a time on one listener.
const MAX_CONNECTIONS: usize = 1_000;

/// What differs between a service and a simulation.
#[derive(Clone, Debug)]
pub struct StartOptions {
    pub clock: Arc<dyn Clock>,
    /// Whether the proxy sends and reports on its own. If not, [`Proxy::flush`] and [`Proxy::report`] do it.
    pub background: bool,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), background: true }
    }
}

/// A running proxy. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct App {
    pub proxy: Proxy,
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    local_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    sleeps_until: Arc<Mutex<Option<Timestamp>>>,
    stop: watch::Sender<bool>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

/// Gives TLS its cryptography. A second call does nothing.
pub fn install_crypto() {
    // The error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl App {
    pub async fn start(config: Config, options: StartOptions) -> anyhow::Result<Self> {
        let StartOptions { clock, background } = options;
        install_crypto();
        config.require_domain()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .with_context(|| format!("cannot create the data folder {}", config.data_dir.display()))?;
        let salt = salt::load_or_create(&config.salt_file)?;
        let spool = Spool::open(&config.data_dir, config.quota)?;
        let listener = listen(config.listen).await?;
        let local_addr = listener.local_addr()?;
        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let metrics_addr = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let base_path = config.base_path.clone();
        let proxy = Proxy::new(config, salt, spool, clock)?;
        proxy.discard_if_off().await;

        let (stop, stopped) = watch::channel(false);
        let sleeps_until = Arc::default();
        let mut tasks = JoinSet::new();
        let router = http::router(proxy.clone(), &base_path);
        tasks.spawn(listen::serve(listener, router, Clients::Unknown, MAX_CONNECTIONS, stopped.clone()));
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(proxy.clone());
            tasks.spawn(listen::serve(listener, router, Clients::Unknown, MAX_CONNECTIONS, stopped.clone()));
        }
        if background {
            tasks.spawn(background::run(proxy.clone(), Arc::clone(&sleeps_until), stopped));
        }
        let tasks = tokio::sync::Mutex::new(tasks);
        let running = Running { local_addr, metrics_addr, sleeps_until, stop, tasks };
        Ok(Self { proxy, running: Arc::new(running) })
    }

    /// Where apps reach it.
    pub fn local_addr(&self) -> SocketAddr {
        self.running.local_addr
    }

    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.running.metrics_addr
    }

    /// The route for events, as a URL.
    pub fn event_url(&self) -> String {
        let base_path = &self.proxy.live().config.base_path;
        format!("http://{}{base_path}/v1/analytics/event", self.local_addr())
    }

    /// Until when the schedule sleeps; `None` while it works, and without a schedule. A simulation may then move the clock.
    pub fn sleeps_until(&self) -> Option<Timestamp> {
        *self.running.sleeps_until.lock()
    }

    /// Stops: accepts no new connection, answers requests that have begun, and closes the spool. Takes some seconds at
    /// most.
    pub async fn shutdown(&self) {
        self.running.stop.send_replace(true);
        // A task that died has been reported by `died`.
        while self.running.tasks.lock().await.join_next().await.is_some() {}
        self.proxy.close().await;
    }

    /// Resolves when a part of the proxy has ended, which none should before [`App::shutdown`].
    pub async fn died(&self) {
        tokio::select! {
            _ = async { self.running.tasks.lock().await.join_next().await } => {}
            () = self.proxy.closed() => {}
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
