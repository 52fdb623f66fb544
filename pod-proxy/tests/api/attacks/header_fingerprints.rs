//! The attack: the vendor, or a reader of its traffic, tells the apps of a Pod apart by the headers of their requests
//! (agent, languages, encodings, order, additions of networks in between), and so knows which reports belong together.
//!
//! It fails if the reports of fifty apps that differ in every header leave with the same headers, byte for byte.
//! `oracle.rs` checks the bodies.
//!
//! The defence cannot be turned off: the proxy builds requests from events, and an event has no headers. The mutation is a
//! usual reverse proxy instead, which removes the headers that are known to identify, and forwards the others.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stand_in::*;

const APPS: usize = 50;

/// Headers that are known to identify a client.
const KNOWN: [&str; 5] = ["cookie", "authorization", "forwarded", "x-forwarded-for", "x-real-ip"];

/// What the apps post through.
#[derive(Clone, Copy)]
enum Through {
    TheProxy,
    AReverseProxy,
}

/// The headers of an app, different from every other.
fn headers_of(app: usize) -> String {
    let mut headers = vec![
        format!("user-agent: client/{app}"),
        format!("accept: */{app}"),
        format!("accept-encoding: gzip;q=0.{app}"),
        format!("accept-language: de-{app}"),
        format!("via: 1.1 proxy{app}"),
        format!("cookie: session={app}"),
        format!("authorization: Bearer {app}"),
        format!("x-forwarded-for: 203.0.113.{app}"),
        format!("x-client-{app}: {app}"),
    ];
    let first = app % headers.len();
    headers.rotate_left(first);
    headers.iter().map(|header| format!("{header}\r\n")).collect()
}

/// How many apps the vendor can tell apart by their headers.
async fn attack(through: Through) -> usize {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    for number in 0..APPS {
        let request = request("POST", EVENT, &headers_of(number), &event(number, "1.0.0"));
        match through {
            Through::TheProxy => {
                assert_eq!(raw(&app, request).await.status, 204);
                app.proxy.flush().await;
            }
            Through::AReverseProxy => relay(&vendor, &request).await,
        }
    }
    app.shutdown().await;
    let requests = vendor.requests();
    assert!(requests.len() >= APPS);
    // The length depends on the body.
    let head = |request: &Request| {
        let lines =
            request.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
        lines.skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    requests.iter().map(head).collect::<BTreeSet<_>>().len()
}

/// Forwards a request without the headers that are known to identify.
async fn relay(vendor: &Vendor, request: &str) {
    let (host, base) = vendor.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut came = String::new();
    listener.accept().await.unwrap().0.read_to_string(&mut came).await.unwrap();

    let (head, body) = came.split_once("\r\n\r\n").unwrap();
    let mut handed_on = format!("POST /{base}/v1/analytics/event HTTP/1.1\r\n");
    for line in head.lines().skip(1) {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        if !KNOWN.contains(&name.as_str()) {
            handed_on += &format!("{line}\r\n");
        }
    }
    let mut upstream = TcpStream::connect(host).await.unwrap();
    upstream.write_all(format!("{handed_on}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    upstream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn fifty_apps_leave_with_the_same_headers() {
    assert_eq!(attack(Through::TheProxy).await, 1);
}

#[tokio::test]
async fn behind_a_proxy_that_hands_headers_on_each_is_known() {
    assert_eq!(attack(Through::AReverseProxy).await, APPS);
}
