//! The attack: subtract the total of one insight from that of another. The difference are reporters whose
//! operator shares one data point but not the other.
//!
//! The defence holds if the totals of all families of installations differ by no more than rounding. Each
//! family has a cell for those who did not report it. In the case without the defence, everything else of
//! each family is published.

use serde_json::Value;

use super::*;
use crate::support::proxied;

/// Ten Pods with six installations each; one of the Pods does not share the platform.
fn events() -> Vec<Value> {
    let mut events = Vec::new();
    for pod in 0..10 {
        for n in 0..6 {
            let mut event = proxied(pod, n, "1.0.0", "macos", "en");
            if pod == 3 {
                event["origin"]["app"].as_object_mut().unwrap().remove("platform");
            }
            events.push(event);
        }
    }
    events
}

/// How many installations are certain to be missing from the platforms.
async fn attack(defence: Defence) -> u64 {
    let service = service_that_folds(defence, "NEW.label = 'not_reported'").await;
    service.report(&events()).await;
    let platforms = published(&service, "platforms").await;
    let installations = published(&service, "installations").await;
    service.app.shutdown().await;
    assert_eq!(installations["all"], 60);
    certainly_left_over(&installations, &platforms)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_missing_from_an_insight() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_those_who_did_not_tell_they_stand_out() {
    assert_eq!(attack(Defence::Off).await, 1, "of the six, whatever was rounded");
}
