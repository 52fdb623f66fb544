//! `ingest-api health`: asks the service on this machine whether it is ready. For supervisors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::body::Body;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::say;

/// How long the answer may take; the service asks the database first.
const PATIENCE: Duration = Duration::from_secs(4);

/// Prints that the service at `listen` is ready.
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
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("nothing listens on {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer.
    tokio::spawn(connection);
    let request = Request::get("/readyz").header(header::HOST, address.to_string()).body(Body::empty())?;
    let status = sender.send_request(request).await?.status();
    ensure!(status.is_success(), "not ready: {address} answered {status}; its log says why");
    Ok(())
}

/// The address of a service that listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
