//! The limits for each network, and the answers beyond them.

use ingest_api::intake::IntakeRates;
use ingest_api::rates::Rate;
use jiff::SignedDuration;

use crate::support::*;

/// Behind a reverse proxy on this machine, with these limits.
async fn limited(rates: IntakeRates) -> Service {
    Service::start_with(|config| {
        config.limits = Some(rates);
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await
}

async fn post_from(service: &Service, from: &str, route: &str, body: &serde_json::Value) -> Response {
    let headers = [("content-type", "application/json"), ("x-forwarded-for", from)];
    let path = format!("/_api/cloud/v1/analytics/{route}");
    service.send("POST", &path, &headers, body.to_string().as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_of_one_network_are_told_when_to_come_back() {
    let service = limited(IntakeRates { requests: Rate::new(3, 360), ..IntakeRates::default() }).await;
    let event = pod(1, "0.4.0");
    for _ in 0..3 {
        assert_eq!(post_from(&service, "192.0.2.1", "event", &event).await.status, 204);
    }
    let answer = post_from(&service, "192.0.2.2", "event", &event).await;
    assert_eq!((answer.status, answer.problem().as_str()), (429, "too-many-requests"));
    assert_eq!(answer.header("retry-after"), Some("10"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "a browser app reads it too");
    assert_eq!(post_from(&service, "192.0.3.1", "event", &event).await.status, 204, "another network");
    assert_eq!(service.get("/healthz", None).await.status, 204, "nothing else is limited");
    service.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(post_from(&service, "192.0.2.1", "event", &event).await.status, 204);
    assert!(metrics(&service).await.contains("ingest_requests_limited_total{limit=\"requests\"} 1\n"));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_the_network_that_it_is_counted_by() {
    let service = limited(IntakeRates { requests: Rate::new(2, 1), ..IntakeRates::default() }).await;
    let event = pod(1, "0.4.0");
    // Each request claims another address; the proxy adds the real one.
    let statuses = [1, 2, 3, 4].map(|n| format!("203.0.113.{n}, 10.0.0.{n}, 192.0.2.1"));
    let mut taken = 0;
    for from in &statuses {
        taken += usize::from(post_from(&service, from, "event", &event).await.status == 204);
    }
    assert_eq!(taken, 2);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_are_too_many_in_batches_too() {
    let service = limited(IntakeRates { events: Rate::new(1_000, 3_600), ..IntakeRates::default() }).await;
    let batch = serde_json::Value::from(vec![pod(1, "0.4.0"); 600]);
    assert_eq!(post_from(&service, "192.0.2.1", "events", &batch).await.status, 200);
    let answer = post_from(&service, "192.0.2.1", "events", &batch).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("200")));
    assert!(metrics(&service).await.contains("ingest_requests_limited_total{limit=\"events\"} 1\n"));
    service.clock.advance(SignedDuration::from_secs(200));
    assert_eq!(post_from(&service, "192.0.2.1", "events", &batch).await.status, 200);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_too_many_new_pods_is_refused_and_nothing_of_it_counted() {
    let service = limited(IntakeRates { new_pods: Rate::new(5, 60), ..IntakeRates::default() }).await;
    let batch = |pods: std::ops::Range<u32>| serde_json::Value::from_iter(pods.map(|n| pod(n, "0.4.0")));
    assert_eq!(post_from(&service, "192.0.2.1", "events", &batch(0..4)).await.status, 200);
    let answer = post_from(&service, "192.0.2.1", "events", &batch(3..6)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("60")));
    let window = service.database().open_windows().await.unwrap()[0];
    assert_eq!(service.counted(&window).await, (0, 4));
    let text = metrics(&service).await;
    assert!(text.contains("ingest_requests_limited_total{limit=\"new_pods\"} 1\n"), "{text}");
    assert!(!text.contains("192.0.2"), "{text}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_defaults_a_large_pod_sends_its_day_at_once() {
    let service = limited(IntakeRates::default()).await;
    let day: Vec<_> = (0..9_000).map(|n| proxied(1, n, "1.0.0", "web", "en")).collect();
    for batch in day.chunks(1_000) {
        let batch = serde_json::Value::from(batch);
        assert_eq!(post_from(&service, "192.0.2.1", "events", &batch).await.status, 200);
    }
    service.app.shutdown().await;
}
