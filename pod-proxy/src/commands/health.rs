//! `pod-proxy health`: asks the proxy on this machine, as whoever supervises it does.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::commands::CommandError;
use crate::config::Config;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Prints what the proxy with this configuration answers at `/healthz`.
///
/// # Errors
/// If it does not answer, or not with 200; or if nothing can be written.
pub async fn health(config: &Config, out: &mut impl Write) -> Result<(), CommandError> {
    crate::app::install_crypto();
    let address = reachable(config.listen);
    let answer = async {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let answer = client.get(format!("http://{address}/healthz")).send().await?;
        answer.error_for_status()?.text().await
    };
    let answer = answer.await.map_err(|error| anyhow!(error)).context("the proxy is not well")?;
    writeln!(out, "{answer}")?;
    Ok(())
}

/// Where to find a proxy that listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
