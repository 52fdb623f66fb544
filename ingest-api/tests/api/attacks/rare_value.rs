//! The attack: report a value that nobody else has (a version, a locale, a name) from one installation. Look
//! for it in all answers, or see whether others report it.
//!
//! The defence holds if the value is in no release and no answer, neither as written nor in its normal form.
//!
//! Without a threshold, and without the constraint that makes the database reject such a mistake, a value
//! gets a label of its own. Free text has no defence to switch off: a row has a number for each value and no
//! room for text. So a release into which a text is written by hand shows that an answer would contain it,
//! and that the search would find it.

use super::*;
use crate::support::{proxied, ten_pods};

/// Rare values, and texts that are no values.
const RARE: [&str; 7] =
    ["7.31.4-rc.9", "7.31", "eo-AQ", "netbsd", "riscv64", "CANARY-host.example", "7.31.4-rc.9+alice.laptop"];

/// The label that a text would have if it were kept.
const AS_IT_CAME: &str = "NEW.label := replace(NEW.label, 'unrecognised', 'CANARY-host.example');
    NEW.label := replace(NEW.label, '7.31.4-rc.9', '7.31.4-rc.9+alice.laptop')";

/// Which of them are found.
async fn attack(threshold: Threshold, texts: Defence) -> Vec<&'static str> {
    let service = service_with(threshold).await;
    if threshold != Threshold::default() {
        service.query("ALTER TABLE release.block DROP CONSTRAINT block_is_a_group").await.unwrap();
    }
    if texts == Defence::Off {
        tamper(&service, "INSERT", "release.block", AS_IT_CAME).await;
    }
    let mut events = ten_pods(6);
    events.extend((0..10).flat_map(|pod| (50..54).map(move |n| proxied(pod, n, "1.0.1", "windows", "fr"))));
    events.push(proxied(1, 100, "7.31.4-rc.9+alice.laptop", "netbsd-riscv64", "eo-AQ"));
    let mut named = proxied(1, 101, "CANARY-host.example", "CANARY-host.example", "CANARY-host.example");
    named["origin"]["app"]["name"] = "CANARY-host.example".into();
    events.push(named);
    service.report(&events).await;
    let mut answers = String::new();
    service.set_clock("2026-12-02T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    for insight in ["app_versions", "platforms", "languages", "reach", "pod_versions", "pod_sizes", "pods"] {
        for format in ["json", "csv"] {
            for window in ["day", "week", "month"] {
                let path = format!(
                    "/v1/insights/{insight}?window={window}&format={format}&from=2026-11-01&to=2026-12-01"
                );
                let answer = service.get(&path, Some(&token)).await;
                assert_eq!(answer.status, 200);
                answers += &answer.body;
            }
        }
    }
    answers += &service.query("SELECT b::text FROM release.block b").await.unwrap().concat();
    assert!(answers.contains("macos-aarch64"), "what is not rare is there");
    service.app.shutdown().await;
    RARE.into_iter().filter(|rare| answers.contains(rare)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_value_is_found_nowhere() {
    assert_eq!(attack(Threshold::default(), Defence::On).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_threshold_it_is_found() {
    assert_eq!(attack(no_threshold(), Defence::On).await, RARE[..5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_would_be_found_if_it_were_kept() {
    assert_eq!(attack(no_threshold(), Defence::Off).await, RARE);
}
