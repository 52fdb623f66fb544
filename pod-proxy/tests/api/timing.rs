//! Neither the time nor the bytes of a request tell when in the interval an event arrived.
//!
//! Only the test moves the clock, so the moment at which a request arrives is known exactly.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use pod_proxy::forward::phase::{Phase, next_flush, next_report};
use pod_proxy::forward::retry::{Backoff, longest_backoff};
use shared::clock::FixedClock;
use shared::pseudonym::Salt;

use crate::stand_in::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A proxy with its own schedule, a salt of sevens, and a clock that the test moves.
struct Stage {
    vendor: Vendor,
    clock: Arc<FixedClock>,
    app: App,
    /// When each request arrived, and its bytes.
    came: Vec<(Timestamp, Request)>,
}

impl Stage {
    async fn set(vendor: &Vendor, folder: &Path, now: Timestamp) -> Self {
        std::fs::write(folder.join("salt"), [7; 256]).unwrap();
        let clock = Arc::new(FixedClock::new(now));
        let config = Config::from_toml(&toml(&vendor.url, folder, "", "accounts.fixed = 33")).unwrap();
        let app = App::start(config, StartOptions { clock: clock.clone(), background: true }).await.unwrap();
        until("the report of the start", async || app.proxy.spool_usage().entries > 0).await;
        Self { vendor: vendor.clone(), clock, app, came: Vec::new() }
    }

    /// It is `now`. A reload makes the loop look at the clock. A real clock does not need that.
    async fn it_is(&self, now: Timestamp) {
        self.clock.set(now);
        self.app.proxy.reload(self.app.proxy.config()).await.unwrap();
    }

    /// It is `now`, and the loop has done what is due.
    async fn passes(&self, now: Timestamp) {
        self.it_is(now).await;
        let rests = || self.app.sleeps_until().is_some_and(|until| until > now);
        until("the proxy to have done what is due", async || rests()).await;
    }

    /// It is `now`, and somebody starts an app.
    async fn seen_at(&self, now: Timestamp, installation: usize, version: &str) {
        self.it_is(now).await;
        assert_eq!(post(&self.app, &event(installation, version)).await.status, 204);
    }

    /// It is `now`, and something leaves; nothing did since the last time.
    async fn leaves_at(&mut self, now: Timestamp) {
        let before = self.came.len();
        assert_eq!(self.vendor.requests().len(), before, "something has left before {now}");
        self.passes(now).await;
        let requests = self.vendor.requests();
        assert!(requests.len() > before, "nothing has left at {now}");
        self.came.extend(requests[before..].iter().map(|request| (now, request.clone())));
    }
}

fn salt() -> Salt {
    Salt::from_bytes(&[7; 256]).unwrap()
}

/// A point of sending and the next one, with no daily report due around them.
fn points() -> [Timestamp; 2] {
    let point = |from| next_flush(from, HOUR, Phase::of_flush(&salt()));
    let report = next_report("2026-03-01T00:00:00Z".parse().unwrap(), Phase::of_report(&salt()));
    let first = point(report + seconds(2 * 3_600));
    [first, point(first)]
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// The requests and when they arrived, if installations are seen so many seconds before or after the first point, and the
/// vendor fails so often.
async fn requests_if(seen: &[(i64, usize, &str)], failures: u32) -> Vec<(Timestamp, Request)> {
    let [first, second] = points();
    let mut vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Each vendor has another port, which is in the requests.
    let address = vendor.url.clone();
    vendor.next((0..failures).map(|_| Does::answer(503)));
    let mut stage = Stage::set(&vendor, folder.path(), first - seconds(3_000)).await;
    let mut seen = seen.iter().peekable();
    let mut backoff = Backoff::default();
    let mut due = first;
    for attempt in 0..=failures {
        while let Some((at, installation, version)) = seen.next_if(|(at, ..)| first + seconds(*at) < due) {
            stage.seen_at(first + seconds(*at), *installation, version).await;
        }
        stage.leaves_at(due).await;
        let drawn = Phase::of_wait(&salt(), attempt);
        let wait = backoff.next(longest_backoff(HOUR), drawn, None);
        due = if attempt < failures { due + SignedDuration::try_from(wait).unwrap() } else { second };
    }
    for (at, installation, version) in seen {
        stage.seen_at(first + seconds(*at), *installation, version).await;
    }
    stage.leaves_at(due).await;
    until("everything to have left", async || stage.app.proxy.spool_usage().entries == 0).await;
    stage.app.shutdown().await;
    vendor.url.clear();
    let host = address.strip_prefix("http://").unwrap().split('/').next().unwrap();
    stage
        .came
        .into_iter()
        .map(|(at, Request { head, body })| (at, Request { head: head.replace(host, ""), body }))
        .collect()
}

#[tokio::test]
async fn times_and_bytes_of_requests_do_not_depend_on_when_in_the_interval_the_events_came() {
    let early = [(-2_900, 1, "1.0.0"), (-2_800, 2, "1.0.0"), (-2_700, 3, "1.0.0"), (5, 4, "1.0.0")];
    let late = [(-30, 3, "1.0.0"), (-20, 1, "1.0.0"), (-10, 2, "1.0.0"), (3_500, 4, "1.0.0")];
    let early = requests_if(&early, 0).await;
    assert_eq!(early.iter().map(|(at, _)| *at).collect::<Vec<_>>(), points());
    assert_eq!(arrived(&[early[0].1.clone()]), hashes([1, 2, 3]));
    assert_eq!(early, requests_if(&late, 0).await);
}

#[tokio::test]
async fn a_vendor_who_fails_learns_nothing_of_what_came_between_the_attempts() {
    // The first wait is at most one second, the second two, and so on. What is seen after the first point is a new
    // installation, or one that is in the batch that is tried again.
    const FAILURES: u32 = 6;
    let early =
        [(-2_900, 1, "1.0.0"), (-2_800, 2, "1.0.0"), (1, 3, "1.0.0"), (2, 1, "1.0.1"), (3, 4, "1.0.0")];
    let late =
        [(-20, 2, "1.0.0"), (-10, 1, "1.0.0"), (3_400, 4, "1.0.0"), (3_450, 1, "1.0.1"), (3_500, 3, "1.0.0")];
    let early = requests_if(&early, FAILURES).await;
    let tried = usize::try_from(FAILURES).unwrap() + 1;
    assert_eq!(early.len(), tried + 1);
    for (_, request) in &early[..tried] {
        assert_eq!(*request, early[0].1, "what is tried again is the same");
    }
    assert_eq!(arrived(&[early[0].1.clone()]), hashes([1, 2]));
    assert_eq!(arrived(&[early[tried].1.clone()]), hashes([1, 3, 4]));
    assert!(early[tried].1.body.contains("1.0.1"));
    assert_eq!(early, requests_if(&late, FAILURES).await);
}

#[tokio::test]
async fn what_comes_while_batches_are_on_their_way_waits_for_the_next_point() {
    let [first, second] = points();
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::set(&vendor, folder.path(), first - seconds(60)).await;
    let mut takes = tokio::task::JoinSet::new();
    for installation in 0..600 {
        let app = stage.app.clone();
        let event = shared::event::Event::from_json(event(installation, "1.0.0").as_bytes()).unwrap();
        takes.spawn(async move { app.proxy.take(event).await });
    }
    while let Some(taken) = takes.join_next().await {
        taken.unwrap().unwrap();
    }
    let go_on = Arc::new(tokio::sync::Notify::new());
    vendor.next([Does::TakesWhen(Arc::clone(&go_on))]);
    stage.it_is(first).await;
    vendor.wait_for(|requests| requests.len() == 1).await;
    for installation in 600..650 {
        assert_eq!(post(&stage.app, &event(installation, "1.0.0")).await.status, 204);
    }
    go_on.notify_one();
    until("the rest to have left", async || stage.app.proxy.spool_usage().entries == 50).await;
    assert_eq!(arrived(&vendor.requests()), hashes(0..600));
    let rests = || stage.app.sleeps_until() == Some(second);
    until("the proxy to rest", async || rests()).await;
    let before = vendor.requests().len();
    stage.passes(second).await;
    assert_eq!(arrived(&vendor.requests()[before..]), hashes(600..650));
    stage.app.shutdown().await;
}

#[tokio::test]
async fn what_the_vendor_asked_to_wait_is_waited_for_also_after_a_restart() {
    let [first, second] = points();
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let asked = 5_000;
    vendor.next([Does::Answers(429, "retry-after: 5000\r\n", String::new())]);
    let mut stage = Stage::set(&vendor, folder.path(), first - seconds(60)).await;
    stage.seen_at(first - seconds(50), 1, "1.0.0").await;
    stage.leaves_at(first).await;
    until("it to be written down", async || folder.path().join("not-before").exists()).await;
    stage.app.shutdown().await;

    let came = std::mem::take(&mut stage.came);
    let mut stage = Stage { came, ..Stage::set(&vendor, folder.path(), first + seconds(10)).await };
    stage.seen_at(first + seconds(20), 2, "1.0.0").await;
    // The next point comes before the end of the wait: it fixes what leaves then.
    stage.passes(second).await;
    assert_eq!(vendor.requests().len(), 1, "sent, though asked to wait");
    stage.seen_at(second + seconds(100), 3, "1.0.0").await;
    stage.seen_at(first + seconds(asked), 4, "1.0.0").await;
    let longest = Backoff::default().next(longest_backoff(HOUR), 1.0, None);
    stage.leaves_at(first + seconds(asked) + SignedDuration::try_from(longest).unwrap()).await;
    assert_eq!(arrived(&[stage.came[1].1.clone()]), hashes([1, 2]));
    until("it to be forgotten", async || !folder.path().join("not-before").exists()).await;
    stage.app.shutdown().await;
}
