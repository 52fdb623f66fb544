//! The attack: the vendor, or an observer of its traffic, uses the times and the order of what leaves a Pod to learn when
//! somebody starts an app: when they get up, or are at work.
//!
//! It fails if bytes and times of what leaves are the same whenever, and in whatever order, the apps of a Pod are started
//! within the interval. `timing.rs` tries it with a vendor that fails on purpose, asks to wait or is slow.
//!
//! The defence: everything leaves at the Pod's own point of each interval, which depends on the salt alone, in the order of
//! the salted hashes. Without it, the same proxy sends each event when it arrives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use pod_proxy::forward::phase::{Phase, next_flush, next_report};
use shared::clock::FixedClock;
use shared::pseudonym::Salt;

use crate::stand_in::*;

/// When what waits is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    AtItsPoint,
    AtOnce,
}

/// So many seconds before the point, which installation starts its app: early or late.
const EARLY: [(i64, usize); 4] = [(3_000, 1), (2_900, 2), (2_800, 3), (2_700, 4)];
const LATE: [(i64, usize); 4] = [(2_000, 4), (60, 2), (30, 3), (10, 1)];

/// The Pod's point of an interval, with no daily report due around it.
fn point() -> Timestamp {
    let salt = Salt::from_bytes(&[7; 256]).unwrap();
    let report = next_report("2026-03-01T00:00:00Z".parse().unwrap(), Phase::of_report(&salt));
    next_flush(report + SignedDuration::from_hours(2), Duration::from_secs(3_600), Phase::of_flush(&salt))
}

/// What the vendor sees: when each request arrived, and its installations in order.
async fn seen(starts: &[(i64, usize)], sends: Sends) -> Vec<(Timestamp, String)> {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let before = |seconds: i64| point() - SignedDuration::from_secs(seconds);
    let (app, clock) = start(&vendor, folder.path(), before(3_300)).await;
    let mut seen = Vec::new();
    let mut look = |now: Timestamp| {
        let requests = vendor.requests();
        let new = requests[seen.len()..].iter().map(|request| (now, request.body.clone()));
        seen.extend(new.collect::<Vec<_>>());
        seen.clone()
    };
    for (seconds, installation) in starts {
        clock.set(before(*seconds));
        app.proxy.reload(app.proxy.config()).await.unwrap();
        assert_eq!(post(&app, &event(*installation, "1.0.0")).await.status, 204);
        if sends == Sends::AtOnce {
            app.proxy.flush().await;
        }
        look(before(*seconds));
    }
    clock.set(point());
    app.proxy.reload(app.proxy.config()).await.unwrap();
    until("everything to have left", async || app.proxy.spool_usage().entries == 0).await;
    let seen = look(point());
    app.shutdown().await;
    assert_eq!(arrived(&vendor.requests()), hashes(1..=4), "all of them have left");
    seen
}

/// A proxy with its own schedule, and its clock.
async fn start(vendor: &Vendor, folder: &Path, now: Timestamp) -> (App, Arc<FixedClock>) {
    std::fs::write(folder.join("salt"), [7; 256]).unwrap();
    let clock = Arc::new(FixedClock::new(now));
    let config = Config::from_toml(&toml(&vendor.url, folder, "", "accounts.fixed = 33")).unwrap();
    let app = App::start(config, StartOptions { clock: clock.clone(), background: true }).await.unwrap();
    until("the report of the start", async || app.proxy.spool_usage().entries > 0).await;
    (app, clock)
}

#[tokio::test]
async fn what_leaves_and_when_does_not_tell_when_an_app_was_started() {
    let early = seen(&EARLY, Sends::AtItsPoint).await;
    assert!(!early.is_empty() && early.iter().all(|(at, _)| *at == point()), "{early:?}");
    assert_eq!(early, seen(&LATE, Sends::AtItsPoint).await);
}

#[tokio::test]
async fn sent_at_once_it_tells_of_each_start_when_it_was() {
    for starts in [EARLY, LATE] {
        let seen: Vec<Timestamp> = seen(&starts, Sends::AtOnce).await.into_iter().map(|(at, _)| at).collect();
        let started: Vec<_> = starts.iter().map(|(at, _)| point() - SignedDuration::from_secs(*at)).collect();
        assert!(started.iter().all(|at| seen.contains(at)), "{seen:?}");
    }
}
