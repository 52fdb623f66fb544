//! `pod-proxy run`: a configuration → a service, until it is told to stop.

use std::path::Path;

use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Options};
use crate::commands::CommandError;
use crate::commands::check::summary;
use crate::config::Config;

/// The target of what is logged whatever `log_level` says: what is shared from now on, and how to turn it off.
pub const ALWAYS: &str = "pod_proxy::always";

/// Runs until `SIGTERM` or `SIGINT`. `SIGHUP` reads the file again.
///
/// # Errors
/// If it cannot start, or a part of it dies.
pub async fn run(config: Config, path: &Path) -> Result<(), CommandError> {
    config.require_domain()?;
    let summary = summary(&config);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let app = App::start(config, Options::default()).await?;
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
    match app.reload_file(path.to_owned()).await {
        Ok(()) => tracing::info!(target: ALWAYS, "read again. {}", summary(&app.config())),
        Err(error) => {
            tracing::error!("the configuration is not in force, and the one before it still is: {error:#}");
        }
    }
}
