//! The release build of ingest-api, with a private Postgres in a temporary folder.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::bench::Server;
use e2e::load::{Load, Measured};
use e2e::stack::client;
use ingest_api::config::Config;
use ingest_api::keys::KeyDirectory;
use ingest_api::open_windows::OpenWindows;
use ingest_api::store::Database;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;

/// The path prefix of all routes.
pub(crate) const BASE_PATH: &str = "/_api/cloud";

/// Limits that are checked as always, and never reached.
const CONFIG: &str = "
[api.limits]
requests = { burst = 1_000_000_000, per_hour = 1_000_000_000 }
events = { burst = 1_000_000_000, per_hour = 1_000_000_000 }
new_pods = { burst = 1_000_000_000, per_hour = 1_000_000_000 }
";

/// A service under load.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    pub(crate) options: PgConnectOptions,
    folder: TempDir,
}

impl Service {
    /// Starts it with an empty database.
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        // Short, and not below a home folder: Postgres runs as another user, and the path of its socket must
        // be short.
        let folder = tempfile::Builder::new().prefix("bench").tempdir()?;
        let config = folder.path().join("ingest.toml");
        std::fs::write(&config, CONFIG)?;
        let arguments = ["--config".into(), config.into(), "--data-dir".into(), folder.path().into()];
        let (server, address, _) = serve(binary, &arguments).await?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(folder.path().join("postgres"))
            .ssl_mode(PgSslMode::Disable)
            .username("prose")
            .database("postgres");
        let database = Database::new(options.clone());
        Ok(Self { server, address, database, options, folder })
    }

    /// The URL of its private Postgres, for another instance.
    pub(crate) fn url(&self) -> String {
        let socket = self.data_dir().join("postgres").display().to_string().replace('/', "%2F");
        format!("postgres://prose@{socket}/postgres")
    }

    /// Its key directory.
    pub(crate) fn keys(&self) -> anyhow::Result<OpenWindows> {
        Ok(OpenWindows::new(KeyDirectory::open(&Config::in_directory(self.data_dir()).key_dir)?))
    }

    /// The folder of its private Postgres and its keys.
    pub(crate) fn data_dir(&self) -> &Path {
        self.folder.path()
    }
}

/// How long the start may take, with the database.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a server program that accepts `--listen`. Returns also how long it took until it was ready.
pub(crate) async fn serve(
    binary: &Path,
    arguments: &[std::ffi::OsString],
) -> anyhow::Result<(Server, SocketAddr, Duration)> {
    let address = free_address()?;
    let mut all = vec!["serve".into(), "--listen".into(), address.to_string().into()];
    all.extend(["--metrics-listen".into(), free_address()?.to_string().into()]);
    all.extend_from_slice(arguments);
    let start = Instant::now();
    let mut server = Server::start(binary, None, &all)?;
    // It listens before it has a database.
    server.wait_until_up(address).await?;
    let http = client()?;
    while !http.get(format!("http://{address}/readyz")).send().await?.status().is_success() {
        ensure!(start.elapsed() < PATIENCE, "the service does not become ready");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok((server, address, start.elapsed()))
}

/// An address on which nobody listened a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Sends a load, and prints nothing meanwhile.
pub(crate) async fn send(load: &Load) -> anyhow::Result<Measured> {
    load.run(std::sync::Arc::default()).await
}
