//! `pod-proxy health`: asks the proxy on this machine, for its supervisor.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::commands::CommandError;
use crate::config::Config;

const TIMEOUT: Duration = Duration::from_secs(4);

/// Prints what the proxy with this configuration answers at `/healthz`.
pub async fn health(config: &Config, out: &mut impl Write) -> Result<(), CommandError> {
    crate::app::install_crypto();
    let address = reachable(config.listen);
    let answer = async {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let answer = client.get(format!("http://{address}/healthz")).send().await?;
        answer.error_for_status()?.text().await
    };
    let answer = answer.await.map_err(|error| anyhow!(error)).context("the proxy is not healthy")?;
    writeln!(out, "{answer}")?;
    Ok(())
}

/// Where to reach a proxy that listens on this address, which may stand for all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
