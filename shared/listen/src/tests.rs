use std::net::SocketAddr;

use axum::routing::{any, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A server of `router`: its address, the switch that stops it, and its task.
async fn server(router: Router, max_connections: usize) -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    (address, stop, tokio::spawn(serve(listener, router, Clients::Addresses, max_connections, stopped)))
}

async fn connect(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream
}

/// What is there to read next.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_after_the_stop_and_nobody_else_can_connect() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handler_begun, handler_goes_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let handler = async move || {
        handler_begun.notify_one();
        handler_goes_on.notified().await;
        "done"
    };
    let (address, stop, task) = server(Router::new().route("/", get(handler)), 10).await;
    let mut stream = connect(address, REQUEST).await;
    begun.notified().await;
    stop.send_replace(true);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert!(read(&mut stream).await.starts_with("HTTP/1.1 200"));
    drop(stream);
    task.await.unwrap();
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_until_another_has_ended() {
    let handler = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
    let (address, _stop, _) = server(Router::new().route("/", get(handler)), 1).await;
    let mut first = connect(address, REQUEST).await;
    assert!(read(&mut first).await.ends_with("127.0.0.1"));
    let mut second = connect(address, REQUEST).await;
    let early = tokio::time::timeout(Duration::from_millis(200), read(&mut second)).await;
    assert!(early.is_err(), "it was answered: {early:?}");
    drop(first);
    assert!(read(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_reads_the_answer() {
    let refuse = async || (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too large");
    let (address, _stop, _) = server(Router::new().route("/", any(refuse)), 10).await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n";
    let mut stream = connect(address, head).await;
    stream.write_all(&vec![0; 4_000_000]).await.unwrap();
    assert!(read(&mut stream).await.starts_with("HTTP/1.1 413"));
}

// The clock of a paused runtime jumps to the next timer when there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_waited_for_half_a_minute() {
    let (address, _stop, _) = server(Router::new(), 10).await;
    let begun = tokio::time::Instant::now();
    let mut stream = connect(address, b"GET / HTTP/1.1\r\nhost:").await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let waited = begun.elapsed();
    assert!(waited >= HEAD_TIMEOUT && waited < HEAD_TIMEOUT * 2, "{waited:?}");
}
