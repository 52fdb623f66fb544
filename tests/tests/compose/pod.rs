//! `deploy/pod/compose.yaml`: a proxy beside a Pod, whose vendor is elsewhere.

use std::fs;

use anyhow::ensure;
use e2e::stack::{client, folder, post};
use serde_json::Value;

use crate::docker::{Project, docker, until};
use crate::load::event;
use crate::vendor::{self, Vendor};
use crate::{block_on, images};

pub(crate) fn a_proxy_beside_a_pod_becomes_healthy_and_hands_on_what_its_file_allows() -> anyhow::Result<()> {
    vendor::with(|Vendor { project: of_vendor, .. }| {
        let (tag, folder) = (images::tag()?, folder()?);
        let file = "[server]\ndomain = 'pod.example'\n[vendor_analytics]\npreset = 'gdpr'\nusage.user_lang.enabled = false\n\
            [pod_proxy]\naccounts.fixed = 33\npod_version = '0.5.0'\nflush_interval = 'PT1S'\n\
            vendor_url = 'http://ingest-api:8280/_api/cloud'\n";
        fs::write(folder.path().join("prose.toml"), file)?;
        let mut project = Project::new("pod", "pod/compose.yaml", &tag);
        project.set("PROSE_DIRECTORY", &folder.path().display().to_string());
        // "As the file says."
        project.set("PROSE_VENDOR_ANALYTICS__ENABLED", "");
        project.up(&[])?;
        let log = project.log("pod-proxy")?;
        ensure!(log.contains("Shared with the vendor (preset `gdpr`)"), "{log}");

        // The vendor is elsewhere; what leads there on this machine is a network.
        let before = of_vendor.counted()?;
        let container = project.container("pod-proxy")?;
        docker(&["network", "connect", &of_vendor.full_name("reports"), &container])?;
        let mut event = event(900_000);
        event["origin"]["app"]["platform"] = "macos-aarch64".into();
        event["origin"]["app"]["user_preferred_locales"] = Value::from_iter(["de-CH"]);
        let url = project.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        until("the vendor counts it", || Ok((of_vendor.counted()? == before + 1).then_some(())))?;

        let sent = project.sent("pod-proxy")?;
        let sent = sent.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let of_app: Vec<_> = sent.iter().filter(|line| !line["event"]["origin"]["app"].is_null()).collect();
        ensure!(of_app.len() == 1 && sent.len() > 1, "an event and the Pod's own report: {sent:?}");
        let origin = &of_app[0]["event"]["origin"];
        ensure!(
            origin["app"]["platform"] == "macos-aarch64" && origin["pod"]["user_count_min"] == 20,
            "{origin}"
        );
        ensure!(origin["app"]["user_preferred_locales"].is_null(), "{origin}");
        ensure!(
            !of_app[0].to_string().contains(event["origin"]["pod"]["user_hash"].as_str().unwrap_or("none"))
        );
        Ok(())
    })
}
