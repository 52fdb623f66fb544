//! A listening socket + a router → answers, within bounds on time and on the number of connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use super::lingering::Lingering;
use super::source::Peer;

/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// How long an answer may stay unread, in milliseconds.
const UNREAD_MS: u32 = 30_000;
/// More than this wait to be accepted: fewer than the files that a process may have open as a rule.
const MAX_CONNECTIONS: usize = 800;
/// How large the head of a request may be.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long requests that have begun may take to end when the service stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted: the process is out of file descriptors, for example.
const BREATHER: Duration = Duration::from_millis(100);

/// Serves until it is told to stop; then lets requests that have begun come to their end.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = told(&mut stop) => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        // An answer is one small packet; it need not wait for more. Whoever does not read it loses the connection.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_MS);
        let router = router.clone();
        let mut stop = stop.clone();
        connections.spawn(async move {
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                router.clone().call(request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(Lingering::new(stream)), service);
            let mut connection = std::pin::pin!(connection);
            // A connection that fails is the affair of who opened it.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = told(&mut stop) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, ended).await;
    connections.shutdown().await;
}

/// Resolves when the service is told to stop, or is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
