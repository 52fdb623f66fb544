//! Many instances of the service on one database count the same as one.

use ingest_api::window::WindowKind;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::*;

/// Twelve Pods of two versions, with two apps, three platforms and three languages; and direct clients.
fn population() -> Vec<Value> {
    let mut events: Vec<Value> =
        (0..12).map(|number| pod(number, ["0.4.0", "0.4.1"][number as usize % 2])).collect();
    for number in 0..12u32 {
        for n in 0..10 + number {
            let version = ["1.0.0", "1.0.1", "0.9.0"][n as usize % 3];
            let platform = ["macos-aarch64", "web", "windows-x86_64"][(n + number) as usize % 3];
            let language = ["de-CH", "en", "fr"][(n / 3) as usize % 3];
            events.push(proxied(number, n, version, platform, language));
            events.push(direct(number, n, version, platform, language));
        }
    }
    events
}

type Published = Vec<(&'static str, &'static str, String, u64)>;

/// What is published of the day, the week and the month when the population reports to this many instances.
/// Each event is sent twice: the second time in another order and to another instance, while all instances
/// merge. Then all close at once.
async fn published_by(instances: usize) -> Vec<Published> {
    let service = Service::start().await;
    let mut others = Vec::new();
    for _ in 1..instances {
        others.push(service.another().await);
    }
    let addresses: Vec<_> = std::iter::once(&service.app).chain(&others).map(|app| app.address()).collect();
    let events = population();
    let turned: Vec<_> = events.iter().rev().cloned().collect();
    let mut senders = JoinSet::new();
    for (round, events) in [events, turned].into_iter().enumerate() {
        for (n, batch) in events.chunks(25).enumerate() {
            let (address, batch) = (addresses[(n + round) % instances], Value::from(batch));
            senders.spawn(async move { post_to(address, "/events", &batch).await.status });
        }
    }
    for app in std::iter::once(&service.app).chain(&others) {
        app.run_jobs().await.unwrap();
    }
    while let Some(status) = senders.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    service.set_clock("2026-12-02T08:00:00Z");
    let mut released = 0;
    for closed in
        futures_util::future::join_all(std::iter::once(&service.app).chain(&others).map(|app| app.run_jobs()))
            .await
    {
        released += closed.unwrap().len();
    }
    assert_eq!(released, 3, "each window by one of them");
    let mut published = Vec::new();
    for (kind, start) in
        [(WindowKind::Day, "2026-11-22"), (WindowKind::Week, "2026-11-16"), (WindowKind::Month, "2026-11-01")]
    {
        published.push(service.released(kind, start).await);
    }
    for other in others {
        other.shutdown().await;
    }
    assert_eq!(service.key_files(), [""; 0]);
    service.app.shutdown().await;
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_four_instances_release_what_one_does() {
    let one = published_by(1).await;
    // 10 + … + 21 installations of each population.
    assert!(one[0].contains(&("pod", "installations", "all".to_owned(), 185)), "{:?}", one[0]);
    assert!(one.iter().all(|published| published.len() > 15), "{one:?}");
    for instances in [2, 4] {
        assert_eq!(published_by(instances).await, one, "{instances} instances");
    }
}
