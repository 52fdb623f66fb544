//! The vendor misbehaves, the disk is full, or the spool is: no acknowledged event is lost, and no app waits.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use pod_proxy::forward::{Ended, sent_log};
use pod_proxy::proxy::VendorState;
use serde_json::json;
use shared::clock::FixedClock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::stand_in::*;

/// How long an app may wait at most, on a machine that is busy with other tests.
const NO_TIME: Duration = Duration::from_millis(800);

#[tokio::test]
async fn a_vendor_who_fails_hangs_resets_and_asks_to_wait_gets_everything_in_the_end() {
    let vendor = Vendor::start().await;
    let wait = || Does::Answers(429, "retry-after: 3\r\n", String::new());
    vendor.next([Does::answer(503), Does::Hangs, Does::Resets, wait(), Does::answer(500)]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let settings = "flush_interval = 'PT1S'\nrequest_timeout = 'PT1S'";
    let config = Config::from_toml(&toml(&vendor.url, folder.path(), "", settings)).unwrap();
    let app = App::start(config, StartOptions::default()).await.unwrap();

    let mut sent = 0;
    let mut slowest = Duration::ZERO;
    while vendor.requests().len() < 6 {
        let before = Instant::now();
        assert_eq!(post(&app, &event(sent, "1.0.0")).await.status, 204);
        slowest = slowest.max(before.elapsed());
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(sent < 2_000, "the vendor was not tried again");
    }
    assert!(slowest < NO_TIME, "an app waited for {slowest:?}");
    let expected = hashes(0..sent);
    vendor.wait_for(|requests| expected.is_subset(&arrived(&requests[5..]))).await;
    let times = vendor.times();
    let waited = times[4] - times[3];
    assert!(waited >= Duration::from_secs(3), "sent after {waited:?}, though asked to wait");
    until("the spool to be empty", async || app.proxy.spool_usage().entries == 0).await;
    assert_eq!(app.proxy.status().vendor, VendorState::Reachable);
    app.shutdown().await;
}

#[tokio::test]
async fn a_vendor_without_a_route_for_many_gets_one_after_the_other() {
    let vendor = Vendor::start().await;
    vendor.takes_one_by_one();
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    for installation in 0..5 {
        assert_eq!(post(&app, &event(installation, "1.0.0")).await.status, 204);
    }
    vendor.next([Does::take(), Does::answer(422), Does::answer(503)]);
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.rejected, report.left), (1, 1, 3));
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.rejected, report.left), (3, 0, 0));
    assert!(app.proxy.render_metrics().contains(r#"pod_proxy_entries_discarded_total{reason="refused"} 1"#));
}

#[tokio::test]
async fn what_the_vendor_rejects_is_discarded_and_the_rest_of_the_batch_is_settled() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    for installation in 0..5 {
        assert_eq!(post(&app, &event(installation, "1.0.0")).await.status, 204);
    }
    let answer = json!({ "accepted": 3, "rejected": [{ "index": 1, "problem": {} }, { "index": 4, "problem": {} },
        { "index": 99, "problem": {} }] });
    vendor.next([Does::Answers(200, "", answer.to_string())]);
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.rejected, report.left), (3, 2, 0));

    assert_eq!(post(&app, SAMPLE).await.status, 204);
    vendor.next([Does::answer(400)]);
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.rejected, report.left), (0, 1, 0));
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_somebody_in_between_is_sent_one_by_one() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    for installation in 0..3 {
        assert_eq!(post(&app, &event(installation, "1.0.0")).await.status, 204);
    }
    vendor.next([Does::answer(413)]);
    assert_eq!(app.proxy.flush().await.sent, 3);
    assert_eq!(vendor.requests().len(), 4);
}

#[tokio::test]
async fn a_redirection_is_not_followed_and_costs_nothing() {
    let vendor = Vendor::start().await;
    let elsewhere = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    for status in [301, 302, 307, 308] {
        let location: &'static str = Box::leak(format!("location: {}\r\n", elsewhere.url).into_boxed_str());
        vendor.next([Does::Answers(status, location, String::new())]);
        assert_eq!(app.proxy.flush().await.left, 1);
    }
    assert_eq!(elsewhere.bytes(), b"");
    assert_eq!(app.proxy.flush().await.sent, 1);
}

#[tokio::test]
async fn more_than_a_batch_is_sent_in_batches_of_bounded_size_one_at_a_time() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    let mut takes = tokio::task::JoinSet::new();
    for installation in 0..1_201 {
        let app = app.clone();
        let event = shared::event::Event::from_json(event(installation, "1.0.0").as_bytes()).unwrap();
        takes.spawn(async move { app.proxy.take(event).await });
    }
    while let Some(taken) = takes.join_next().await {
        taken.unwrap().unwrap();
    }
    // Each answer takes a while, so that concurrent requests would be noticed.
    let slow = Arc::new(Notify::new());
    vendor.next((0..3).map(|_| Does::TakesWhen(Arc::clone(&slow))));
    let answers = async {
        for batch in 1..=3 {
            vendor.wait_for(|requests| requests.len() >= batch).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            slow.notify_one();
        }
    };
    let (report, ()) = tokio::join!(app.proxy.flush(), answers);
    assert_eq!(report.sent, 1_201);
    assert_eq!(vendor.most_at_once(), 1);
    let sizes: Vec<_> = vendor.requests().iter().map(|request| request.events().len()).collect();
    assert_eq!(sizes, [500, 500, 201]);
}

#[tokio::test]
async fn an_address_that_nobody_listens_on_is_a_vendor_who_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml("http://127.0.0.1:1/x", folder.path(), "", "")).await;
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    let report = app.proxy.flush().await;
    assert_eq!(report.ended, Ended::VendorAway { reason: "unreachable", retry_after: None });
    // Nothing left, so nothing is in the log of what left.
    assert!(sent_log::read(folder.path(), 10).unwrap().is_empty());
}

#[tokio::test]
async fn connecting_takes_no_longer_than_the_connect_timeout() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

    // The listener accepts nobody, and its queue is full, so the system does not answer new connections.
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener, 0).unwrap();
    let address: std::net::SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue has no end");
    }

    let folder = tempfile::tempdir().unwrap();
    let settings = "connect_timeout = 'PT1S'\nrequest_timeout = 'PT1M'";
    let app = proxy(&toml(&format!("http://{address}/x"), folder.path(), "", settings)).await;
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    let before = Instant::now();
    let report = app.proxy.flush().await;
    assert_eq!((report.ended, report.left), (Ended::VendorAway { reason: "timeout", retry_after: None }, 1));
    let waited = before.elapsed();
    assert!(waited >= Duration::from_millis(900) && waited < Duration::from_secs(15), "{waited:?}");
    // Nothing left, so nothing is in the log of what left.
    assert!(sent_log::read(folder.path(), 10).unwrap().is_empty());
}

#[tokio::test]
async fn a_full_spool_is_a_507_and_what_is_too_old_is_discarded_and_counted() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
    let settings = "max_spool_entries = 3\nmax_spool_age = 'P2D'";
    let app = proxy_at(&toml(&vendor.url, folder.path(), "", settings), clock.clone()).await;
    for installation in 0..3 {
        assert_eq!(post(&app, &event(installation, "1.0.0")).await.status, 204);
    }
    let full = post(&app, &event(3, "1.0.0")).await;
    assert_eq!(full.status, 507);
    assert!(full.body.contains("urn:prose-analytics:problem:storage-full"), "{full:?}");
    assert_eq!(post(&app, &event(2, "1.0.1")).await.status, 204);

    vendor.otherwise(Does::answer(503));
    clock.advance(SignedDuration::from_hours(48));
    assert_eq!(app.proxy.flush().await.left, 3);
    assert_eq!(post(&app, &event(2, "1.0.2")).await.status, 204);
    clock.advance(SignedDuration::from_hours(24));
    assert_eq!(app.proxy.flush().await.left, 1);
    assert!(app.proxy.render_metrics().contains(r#"pod_proxy_entries_discarded_total{reason="too_old"} 2"#));
}

#[tokio::test]
async fn a_clock_that_is_set_back_loses_nothing_and_one_that_is_set_far_forward_only_what_waited() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let start = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = Arc::new(FixedClock::new(start));
    let app = proxy_at(&toml(&vendor.url, folder.path(), "", ""), clock.clone()).await;
    let years = SignedDuration::from_hours(24 * 365 * 10);

    // Back, before it is sent.
    assert_eq!(post(&app, &event(0, "1.0.0")).await.status, 204);
    clock.set(start - years);
    assert_eq!(post(&app, &event(1, "1.0.0")).await.status, 204);
    assert_eq!(app.proxy.flush().await.sent, 2);

    // Forward and back: what arrived while it was ahead is sent.
    clock.set(start + years);
    assert_eq!(post(&app, &event(2, "1.0.0")).await.status, 204);
    clock.set(start);
    vendor.next([Does::answer(503)]);
    assert_eq!(app.proxy.flush().await.left, 1);
    clock.advance(SignedDuration::from_hours(24));
    assert_eq!(app.proxy.flush().await.sent, 1);
    assert_eq!(arrived(&vendor.requests()), hashes(0..3));

    // Forward: what waits is too old by the clock, and is counted; what arrives then is not.
    assert_eq!(post(&app, &event(3, "1.0.0")).await.status, 204);
    clock.set(start + years);
    assert_eq!(post(&app, &event(4, "1.0.0")).await.status, 204);
    assert_eq!(app.proxy.flush().await.sent, 1);
    assert!(app.proxy.render_metrics().contains(r#"pod_proxy_entries_discarded_total{reason="too_old"} 1"#));
    assert!(arrived(&vendor.requests()).is_superset(&hashes([4])));
}

#[tokio::test]
async fn the_proxy_goes_on_sending_after_its_clock_was_set_back_by_a_year() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let start = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = Arc::new(FixedClock::new(start));
    let config = Config::from_toml(&toml(&vendor.url, folder.path(), "", "flush_interval = 'PT2S'")).unwrap();
    let app = App::start(config, StartOptions { clock: clock.clone(), background: true }).await.unwrap();
    let moving = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            clock.advance(SignedDuration::from_millis(100));
        }
    };
    let sending = async {
        // The Pod's own report.
        vendor.wait_for(|requests| !requests.is_empty()).await;
        clock.set(start - SignedDuration::from_hours(24 * 365));
        assert_eq!(post(&app, &event(0, "1.0.0")).await.status, 204);
        vendor.wait_for(|requests| arrived(requests) == hashes([0])).await;
    };
    tokio::select! {
        () = sending => {}
        () = moving => {}
    }
    app.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_is_a_507_and_loses_nothing_that_was_acknowledged() {
    let vendor = Vendor::start().await;
    vendor.otherwise(Does::answer(503));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "flush_interval = 'PT1S'")).unwrap();
    // A limit on the size of files looks like a full disk.
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_pod-proxy");
    command
        .args(["-c", r#"trap '' XFSZ; ulimit -f 3200; exec "$0" run --config "$1""#, program])
        .arg(&config);
    let process = Process::spawn(command);
    let http = http_client();
    let url = format!("http://{}{EVENT}", process.address);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for group in 0..400 {
        let mut posts = tokio::task::JoinSet::new();
        for installation in group * 50..(group + 1) * 50 {
            let request =
                http.post(&url).header("content-type", "application/json").body(event(installation, "1.0.0"));
            posts.spawn(async move { (installation, request.send().await.unwrap().status().as_u16()) });
        }
        while let Some(done) = posts.join_next().await {
            match done.unwrap() {
                (installation, 204) => acknowledged.push(installation),
                (_, 507) => refused += 1,
                other => panic!("{other:?}: {}", process.log()),
            }
        }
        if refused > 100 {
            break;
        }
    }
    assert!(refused > 100 && acknowledged.len() > 1_000, "{refused} refused, {} taken", acknowledged.len());
    process.kill();

    a_new_process_sends(&vendor, &config, acknowledged).await;
}

#[tokio::test]
async fn a_damaged_spool_is_set_aside_and_the_service_starts() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spool.redb"), [0x5a; 10_000]).unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    assert!(folder.path().join("spool.redb.damaged-1").exists());
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    assert_eq!(app.proxy.flush().await.sent, 1);
}
