//! A listening socket and a router → answers, within bounds on time, size and the number of connections.

mod lingering;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use self::lingering::Lingering;

/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may stay unread, in milliseconds.
const UNREAD_MS: u32 = 30_000;
/// How large the head of a request may be.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long requests that have begun may take to finish after the service was told to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted, for example for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What handlers learn about their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Their addresses.
    Addresses,
    /// Nothing.
    Unknown,
}

/// Serves `router` until `stop` is true or its sender is gone. Requests that have begun may then finish.
///
/// Beyond `max_connections`, connections wait to be accepted; each open one takes some ten kilobytes and a file
/// descriptor. With [`Clients::Addresses`], a handler finds the address of its client in the extension
/// `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    clients: Clients,
    max_connections: usize,
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stopped(&mut stop) => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        // An answer is one small packet, which need not wait for more. A client that does not read it is disconnected.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_MS);
        let router = router.clone();
        let mut stop = stop.clone();
        connections.spawn(async move {
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                if clients == Clients::Addresses {
                    request.extensions_mut().insert(ConnectInfo(peer));
                }
                router.clone().call(request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(Lingering::new(stream)), service);
            let mut connection = std::pin::pin!(connection);
            // What goes wrong on a connection is its client's affair.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stopped(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE_PERIOD, finished).await;
    connections.shutdown().await;
}

/// Resolves when `stop` is true, or its sender is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
