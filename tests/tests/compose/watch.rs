//! What somebody who watches the containers of `deploy/compose.yaml` sees: targets and alerts, and logs without a canary.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use e2e::stack::client;
use serde_json::Value;

use crate::block_on;
use crate::docker::{Project, until};
use crate::whole::with;

/// Writes the rules, and the targets in `targets`, into `folder`, so that Prometheus looks each second and fires within two.
pub(crate) fn hasty(deploy: &Path, targets: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder.join("prometheus");
    fs::create_dir(&folder)?;
    for (from, name) in [(targets, "prometheus.yml"), ("prometheus/alerts.yml", "alerts.yml")] {
        let text = fs::read_to_string(deploy.join(from)).with_context(|| from.to_owned())?;
        let hasty = |line: &str| match line.split_once("for: ") {
            Some((before, _)) if before.trim().is_empty() => format!("{before}for: 2s"),
            _ => line.replace("_interval: 15s", "_interval: 1s"),
        };
        fs::write(folder.join(name), text.lines().map(hasty).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(folder)
}

fn ask(project: &Project, path: &str) -> anyhow::Result<Value> {
    let url = format!("{}/api/v1/{path}", project.url("prometheus", 9090)?);
    block_on(async { Ok(client()?.get(url).send().await?.json().await?) })
}

/// The alerts that fire, each with the job or instance that it is about.
pub(crate) fn firing(project: &Project) -> anyhow::Result<BTreeSet<(String, String)>> {
    let answer = ask(project, "alerts")?;
    let alerts = answer["data"]["alerts"].as_array().context("alerts")?;
    let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    Ok(firing.map(|alert| (label(alert, "alertname"), label(alert, "job"))).collect())
}

/// Waits until an alert of that name fires, or none does.
pub(crate) fn wait_for_alert(project: &Project, name: &str, fires: bool) -> anyhow::Result<()> {
    let what = format!("{name} {}", if fires { "fires" } else { "is over" });
    until(&what, || Ok((firing(project)?.iter().any(|(found, _)| found == name) == fires).then_some(())))
}

/// Waits until these targets are up, and there are no others, and no alert fires for one.
pub(crate) fn wait_until_up(project: &Project, expected: &[&str]) -> anyhow::Result<()> {
    until("every target is up, and no alert fires for one", || {
        let answer = ask(project, "targets")?;
        let targets = answer["data"]["activeTargets"].as_array().context("targets")?;
        let all: BTreeSet<_> =
            targets.iter().map(|target| target["labels"]["instance"].as_str().unwrap_or_default()).collect();
        ensure!(all == expected.iter().copied().collect(), "{all:?} are watched");
        let up = targets.iter().all(|target| target["health"] == "up");
        Ok((up && firing(project)?.iter().all(|(name, _)| name != "TargetDown")).then_some(()))
    })
}

pub(crate) fn prometheus_sees_every_target_and_an_alert_fires_when_one_is_gone() -> anyhow::Result<()> {
    with(|whole| {
        let project = &whole.project;
        let down = ("TargetDown".to_owned(), "pod-proxy".to_owned());
        wait_until_up(project, &["ingest-api:8281", "pod-proxy:8291", "prometheus-front:9090"])?;
        project.compose(&["stop", "pod-proxy"])?;
        until("an alert fires", || Ok(firing(project)?.contains(&down).then_some(())))?;
        project.compose(&["start", "pod-proxy"])?;
        until("the alert is over", || Ok((!firing(project)?.contains(&down)).then_some(())))?;
        project.wait_until_healthy("pod-proxy")
    })
}

pub(crate) fn no_canary_is_in_the_log_of_any_container() -> anyhow::Result<()> {
    with(|whole| {
        ensure!(whole.canaries.len() > 300, "only {} canaries", whole.canaries.len());
        whole.search_logs(&whole.project)
    })
}
