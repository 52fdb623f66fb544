//! The attack: compare the platforms with the apps. Of 40 on iOS, an app that runs nowhere else has 30: ten use another
//! app there, and that is a group that nothing would be published about.
//!
//! It is held off if no two numbers of two insights differ by such a group, beyond rounding.
//! `release::tally::tests` plays the same against random populations.

use ingest_api::release::bounds;
use serde_json::Value;

use super::*;
use crate::support::proxied;

fn events() -> Vec<Value> {
    let mut events = Vec::new();
    for pod in 0..10 {
        let say = |n: u32, app: &str, platform| {
            let mut event = proxied(pod, n, "1.0.0", platform, "en");
            event["origin"]["app"]["name"] = app.into();
            event
        };
        events.extend((0..3).map(|n| say(n, "prose-app-ios", "ios")));
        events.push(say(3, "prose-app-web", "ios"));
        events.extend((4..13).map(|n| say(n, "prose-app-web", "windows")));
    }
    events
}

/// How many are certain to be on iOS with another app than the one that is made for it.
async fn attack(defence: Defence) -> u64 {
    let service = Service::start().await;
    service.report(&events()).await;
    let (mut platforms, mut apps) =
        (published(&service, "platforms").await, published(&service, "app_versions").await);
    service.app.shutdown().await;
    if defence == Defence::Off {
        // Each family folded for itself: all of these cells are safe.
        platforms = BTreeMap::from([("ios".to_owned(), 40), ("windows".to_owned(), 90)]);
        apps =
            BTreeMap::from([("prose-app-ios 1.0.0".to_owned(), 30), ("prose-app-web 1.0.0".to_owned(), 100)]);
    }
    let of_app: Option<u64> = apps
        .iter()
        .filter(|(label, _)| label.starts_with("prose-app-ios"))
        .map(|(_, n)| bounds(*n).1)
        .reduce(|a, b| a + b);
    let on_platform = platforms
        .iter()
        .filter(|(label, _)| label.starts_with("ios"))
        .map(|(_, n)| bounds(*n).0)
        .sum::<u64>();
    of_app.map_or(0, |of_app| on_platform.saturating_sub(of_app))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_two_insights_is_nobody() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_each_is_folded_alone_it_is_a_small_group() {
    assert!(attack(Defence::Off).await > 0);
}
