//! `ingest-api serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use shared::clock::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::say;
use crate::app::{App, Schedule};
use crate::config::{Config, DatabaseConfig};

/// Options of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to take reports and serve insights [default: 127.0.0.1:8280].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to serve metrics, at /metrics [default: 127.0.0.1:8281].
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// The format of the log, which goes to standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    log: LogFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Serve {
    pub(super) async fn run(self, mut config: Config) -> anyhow::Result<()> {
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")),
        );
        match self.log {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.metrics_listen = self.metrics_listen.unwrap_or(config.metrics_listen);
        let embedded = config.database == DatabaseConfig::Embedded;
        let (base_path, public_url) = (config.base_path.clone(), config.public_url.clone());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;

        let mut app = App::start(config, Arc::new(SystemClock), Schedule::Timed).await?;
        let address = app.address();
        tracing::info!(%address, metrics = %app.metrics_address(), private_postgres = embedded, "ready");
        say(&format!("Send reports to http://{address}{base_path}/v1/analytics/event"));
        if embedded {
            let token = app.issue_start_token().await?;
            let base = public_url.map_or_else(|| format!("http://{address}"), |url| url.as_str().to_owned());
            say(&format!("Insights, for one day: {base}{}", crate::login_path(&token)));
            say(
                "Later: `ingest-api token create NAME` creates a token for a reader; `--domains` lets it read the opt-in domains, too.",
            );
        }
        let alive = tokio::select! {
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            () = app.died() => false,
        };
        tracing::info!("stopping");
        tokio::select! {
            () = app.shutdown() => {}
            // A second Ctrl-C does not wait.
            _ = interrupt.recv() => {}
        }
        anyhow::ensure!(alive, "a part of the service ended unexpectedly; see the log");
        Ok(())
    }
}
