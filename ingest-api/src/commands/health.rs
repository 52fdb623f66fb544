//! `ingest-api health`: asks the service on this machine, as whoever supervises it does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::body::Body;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::say;

/// How long it may take to answer; a readiness check asks the database.
const PATIENCE: Duration = Duration::from_secs(4);

/// Says that the service at `listen` is ready.
///
/// # Errors
/// If it is not, or does not answer.
pub(super) async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(listen);
    tokio::time::timeout(PATIENCE, ask(address))
        .await
        .with_context(|| format!("{address} did not answer within {} s", PATIENCE.as_secs()))??;
    say("ready");
    Ok(())
}

async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is the end of the answer.
    tokio::spawn(connection);
    let request = Request::get("/readyz").header(header::HOST, address.to_string()).body(Body::empty())?;
    let status = sender.send_request(request).await?.status();
    ensure!(status.is_success(), "not ready: {address} answered {status}; its log says why");
    Ok(())
}

/// Where to find a service that listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
