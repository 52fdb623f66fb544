//! The attack: compare the platforms with the apps. Of 40 on iOS, 30 have an app that runs nowhere else. So
//! ten use another app there, a group too small to publish.
//!
//! The defence holds if no two numbers of two insights differ by such a group, beyond rounding.
//! `release::tally::tests` plays the same attack against random populations.
//!
//! In the case without the defence, the same service with the same reports folds each insight alone, and does
//! not audit pairs.

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

/// How many are certain to be on iOS with another app than the one built for it.
async fn attack(threshold: Threshold) -> u64 {
    let service = service_with(threshold).await;
    service.report(&events()).await;
    let mut platforms = published(&service, "platforms").await;
    let mut apps = published(&service, "app_versions").await;
    service.app.shutdown().await;
    assert!(!platforms.is_empty() && !apps.is_empty(), "both are published");
    platforms.retain(|label, _| label.starts_with("ios"));
    apps.retain(|label, _| label.starts_with("prose-app-ios"));
    // A report without an app says nothing about the other apps.
    if apps.is_empty() { 0 } else { certainly_left_over(&platforms, &apps) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_two_insights_is_nobody() {
    assert_eq!(attack(Threshold::default()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_each_is_folded_alone_it_is_a_small_group() {
    #[expect(clippy::disallowed_methods, reason = "what an attack finds without the audit")]
    let unaudited = Threshold::unaudited();
    assert_eq!(attack(unaudited).await, 6, "of the ten, whatever was rounded");
}
