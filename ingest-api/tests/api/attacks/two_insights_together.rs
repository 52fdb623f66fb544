//! The attack: compare the platforms with the apps. Of 40 on iOS, an app that runs nowhere else has 30: ten use another
//! app there, and that is a group that nothing would be published about.
//!
//! It is held off if no two numbers of two insights differ by such a group, beyond rounding.
//! `release::tally::tests` plays the same against random populations.
//!
//! Without the audit, each insight is folded for itself. That is what the service does with those who tell nothing else:
//! so they tell one service their platforms and another their apps, and neither has two insights to compare.

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

/// What is published of a family by a service that is told all but some fields of the app.
async fn told_without(fields: &[&str], family: &str) -> BTreeMap<String, u64> {
    let service = Service::start().await;
    let mut events = events();
    for event in &mut events {
        let app = event["origin"]["app"].as_object_mut().unwrap();
        app.retain(|field, _| !fields.contains(&field.as_str()));
    }
    service.report(&events).await;
    let published = published(&service, family).await;
    service.app.shutdown().await;
    published
}

/// How many are certain to be on iOS with another app than the one that is made for it.
async fn attack(defence: Defence) -> u64 {
    let (not_with_platforms, not_with_apps): (&[&str], &[&str]) = match defence {
        Defence::On => (&[], &[]),
        Defence::Off => (&["name", "version"], &["platform"]),
    };
    let mut platforms = told_without(not_with_platforms, "platforms").await;
    let mut apps = told_without(not_with_apps, "app_versions").await;
    assert!(!platforms.is_empty() && !apps.is_empty(), "both are published");
    platforms.retain(|label, _| label.starts_with("ios"));
    apps.retain(|label, _| label.starts_with("prose-app-ios"));
    // An app of which nothing is said tells nothing of the others.
    if apps.is_empty() { 0 } else { certainly_left_over(&platforms, &apps) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_two_insights_is_nobody() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_each_is_folded_alone_it_is_a_small_group() {
    assert_eq!(attack(Defence::Off).await, 6, "of the ten, whatever was rounded");
}
