//! `pod-proxy run`: a configuration → a service, until a signal stops it.

use std::path::Path;

use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, StartOptions};
use crate::commands::CommandError;
use crate::commands::check::summary;
use crate::config::Config;

/// The log target that ignores `log_level`: what is shared from now on, and how to turn it off.
pub const ALWAYS: &str = "pod_proxy::always";

/// Runs until `SIGTERM` or `SIGINT`. `SIGHUP` reads the file again.
pub async fn run(config: Config, path: &Path) -> Result<(), CommandError> {
    config.require_domain()?;
    let summary = summary(&config);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let app = App::start(config, StartOptions::default()).await?;
    tracing::info!(target: ALWAYS, listening = %app.local_addr(), metrics = app.metrics_addr().map(tracing::field::display), "{summary}");
    let ended = loop {
        tokio::select! {
            _ = terminated.recv() => break Ok(()),
            _ = interrupted.recv() => break Ok(()),
            _ = hung_up.recv() => reload(&app, path).await,
            () = app.died() => break Err(anyhow!("a part of the proxy has died")),
        }
    };
    app.shutdown().await;
    tracing::info!("stopped");
    ended.map_err(CommandError::Other)
}

async fn reload(app: &App, path: &Path) {
    match app.proxy.reload_file(path.to_owned()).await {
        Ok(()) => tracing::info!(target: ALWAYS, "configuration reloaded. {}", summary(&app.proxy.config())),
        Err(error) => {
            tracing::error!("the configuration is refused, and the one before stays in force: {error:#}");
        }
    }
}
