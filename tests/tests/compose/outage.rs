//! Parts of `deploy/compose.yaml` that go away and come back: what was acknowledged is kept.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::stack::{client, post};

use crate::block_on;
use crate::docker::{Project, docker, until};
use crate::load::{Load, event};
use crate::whole::{app_event, user_hash, with};

pub(crate) fn a_postgres_that_is_stopped_and_started_under_load_loses_no_event() -> anyhow::Result<()> {
    with(|whole| {
        let before = whole.project.counted()?;
        let base = whole.ingest_api()?;
        let sent = block_on(async {
            let load = Load::start(&base, 0)?;
            load.wait_for(300).await?;
            whole.project.compose(&["stop", "postgres"])?;
            load.wait_for_failure().await?;
            whole.project.compose(&["start", "postgres"])?;
            load.wait_for(300).await?;
            load.finish().await
        })?;
        whole.project.wait_until_healthy("ingest-api")?;
        whole.canaries.extend((0..sent.events).map(|number| user_hash(&event(number))));
        let counted = whole.project.counted()? - before;
        ensure!(counted == sent.events, "{counted} of {} are counted", sent.events);
        Ok(())
    })
}

pub(crate) fn a_proxy_cut_off_from_its_network_sends_all_that_it_acknowledged_when_it_is_back()
-> anyhow::Result<()> {
    const FIRST: usize = 700_000;
    const EVENTS: usize = 60;
    // It meets the vendor in both, and its apps in a third one.
    const NETWORKS: [&str; 2] = ["reports", "metrics"];
    with(|whole| {
        whole.answer()?;
        let project = &whole.project;
        project.wait_until_sent("pod-proxy")?;
        let (before, sent_before) = (project.counted()?, project.sent("pod-proxy")?.lines().count());
        let proxy = project.container("pod-proxy")?;
        for network in NETWORKS {
            docker(&["network", "disconnect", &project.full_name(network), &proxy])?;
        }
        let events: Vec<_> = (FIRST..FIRST + EVENTS).map(app_event).collect();
        let url = project.event_url("pod-proxy")?;
        block_on(async {
            let http = client()?;
            for event in &events {
                post(&http, &url, event.to_string()).await?;
            }
            Ok(())
        })?;
        // It has tried, in vain, and holds all of it.
        until("the proxy finds the vendor away", || {
            let health = project.proxy_health("pod-proxy")?;
            Ok((health["vendor"] == "away" && health["spool"]["entries"] == EVENTS).then_some(()))
        })?;
        ensure!(project.counted()? == before, "some have arrived");
        for network in NETWORKS {
            let alias = ["--alias", "pod-proxy", &project.full_name(network), &proxy];
            docker(&[&["network", "connect"][..], &alias].concat())?;
        }
        project.wait_until_sent("pod-proxy")?;
        let counted = project.counted()? - before;
        ensure!(counted == EVENTS, "{counted} of {EVENTS} are counted");
        // Counting merges what comes twice; the log of the proxy does not.
        let sent = project.sent("pod-proxy")?.lines().count() - sent_before;
        ensure!(sent == EVENTS, "{EVENTS} were to be sent, {sent} were");
        whole.canaries.extend(events.iter().map(user_hash));
        Ok(())
    })
}

pub(crate) fn each_service_is_gone_within_ten_seconds_and_what_it_acknowledged_is_kept() -> anyhow::Result<()>
{
    const FIRST: usize = 500_000;
    with(|whole| {
        let before = whole.project.counted()?;
        let base = whole.ingest_api()?;
        let (acknowledged, begun) = block_on(async {
            let load = Load::start(&base, FIRST)?;
            load.wait_for(200).await?;
            stopped_in_time(&whole.project, "ingest-api")?;
            anyhow::Ok(load.give_up().await)
        })?;
        whole.canaries.extend((FIRST..FIRST + begun).map(|number| user_hash(&event(number))));
        whole.project.up(&["ingest-api"])?;
        let counted = whole.project.counted()? - before;
        ensure!(
            (acknowledged..=begun).contains(&counted),
            "{counted} counted, {acknowledged} acknowledged, {begun} begun"
        );
        stopped_in_time(&whole.project, "pod-proxy")?;
        stopped_in_time(&whole.project, "prometheus")?;
        whole.project.up(&["pod-proxy", "prometheus"])
    })
}

fn stopped_in_time(project: &Project, service: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    docker(&["stop", "--time", "60", &project.container(service)?])?;
    let elapsed = start.elapsed();
    ensure!(elapsed < Duration::from_secs(10), "{service} took {elapsed:?} to stop");
    let state = project.inspect(service)?["State"].clone();
    ensure!(state["ExitCode"] == 0 && state["OOMKilled"] == false, "{service}: {state}");
    Ok(())
}
