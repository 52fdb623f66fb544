//! The metrics of releases, and the dashboard that shows them.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_release_of_each_insight_is_shown_and_nothing_of_an_open_window() {
    let service = Service::start().await;
    let mut events = ten_pods(6);
    events.push(pod(99, "9.9.9"));
    service.report(&events).await;
    service.app.run_jobs().await.unwrap();
    assert!(!metrics(&service).await.contains("ingest_insight_"), "the window is open");

    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let text = metrics(&service).await;
    let line = |name: &str, labels: &str, value: &str| format!("ingest_{name}{{{labels}}} {value}\n");
    let day = |insight: &str, population: &str, value: &str| {
        format!("insight=\"{insight}\",population=\"{population}\",value=\"{value}\",window=\"day\"")
    };
    for expected in [
        line("insight_reporters", &day("pods", "pod", "all"), "10"),
        line("insight_reporters", &day("pod_versions", "pod", "other"), "10"),
        line("insight_reporters", &day("reach", "pod", "all"), "60"),
        line("insight_reporters", &day("platforms", "pod", "macos-aarch64"), "60"),
        line("insight_folded_share", "insight=\"pod_versions\",population=\"pod\",window=\"day\"", "1"),
        line("insight_not_reported_share", "insight=\"languages\",population=\"pod\",window=\"day\"", "0"),
    ] {
        assert!(text.contains(&expected), "{expected} in {text}");
    }
    assert!(!text.contains("9.9.9"), "what was folded has no name");

    // The next day too few report: the metrics of the previous day are gone.
    service.report(&[pod(1, "0.4.0")]).await;
    service.set_clock("2026-11-24T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let text = metrics(&service).await;
    assert!(!text.contains(",window=\"day\"}"), "{text}");
    assert!(text.contains("window=\"week\"}"), "{text}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_dashboard_exists() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let words = asked.flat_map(|target| {
        let expr = target["expr"].as_str().unwrap();
        expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned).collect::<Vec<_>>()
    });
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("ingest_")).collect();
    assert!(named.len() >= 8, "{named:?}");

    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.post("/event", &json!({ "origin": {} })).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let text = metrics(&service).await;
    for name in named {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} in {text}");
    }
    service.app.shutdown().await;
}
