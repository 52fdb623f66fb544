//! `deploy/compose.yaml` on disks that are small: its first insight, by the commands of the guide, and then a disk that is
//! full.

use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use e2e::served::Reader;
use e2e::stack::{client, folder, post};
use serde_json::{Value, json};

use crate::docker::{POSTGRES, Project, repository, until};
use crate::guide::Block;
use crate::load::{Load, event};
use crate::watch::{hasty, wait_for_alert};
use crate::{block_on, images, today};

struct Small {
    project: Project,
    folder: tempfile::TempDir,
}

static SMALL: Mutex<Option<Result<Small, String>>> = Mutex::new(None);

fn with<T>(test: impl FnOnce(&Small) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut small = SMALL.lock().unwrap_or_else(PoisonError::into_inner);
    let small = small.get_or_insert_with(|| Small::start().map_err(|error| format!("{error:#}")));
    test(small.as_ref().map_err(|error| anyhow::anyhow!("the small system did not start: {error}"))?)
}

/// Removes it, if it was started.
pub(crate) fn remove() {
    SMALL.lock().unwrap_or_else(PoisonError::into_inner).take();
}

impl Small {
    fn start() -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut project = Project::new("small", "compose.yaml", &images::tag()?);
        let prometheus = hasty(&repository().join("deploy"), "prometheus/prometheus.yml", folder.path())?;
        project.set("PROMETHEUS_DIRECTORY", &prometheus.display().to_string());
        project.set("PROSE_VENDOR_ANALYTICS__ENABLED", "true");
        let disk = |mebibytes: u32, user: u32| {
            let options = format!("size={mebibytes}m,uid={user},gid={user},mode=0700");
            json!({ "driver": "local", "driver_opts": { "type": "tmpfs", "device": "tmpfs", "o": options } })
        };
        // A disk of memory is there as long as somebody has it open.
        let keeper = json!({
            "image": POSTGRES, "entrypoint": ["sleep", "infinity"], "network_mode": "none", "init": true,
            "volumes": ["database:/volumes/database", "spool:/volumes/spool"],
        });
        let small = json!({
            "services": { "keeper": keeper },
            "volumes": { "database": disk(192, 999), "spool": disk(8, 10_001) },
        });
        let file = folder.path().join("small.yaml");
        fs::write(&file, small.to_string())?;
        project.add_file(&file);
        project.up(&["keeper"])?;
        project.up(&[])?;
        Ok(Self { project, folder })
    }

    /// Takes all the room that is left on a disk.
    fn fill(&self, volume: &str) -> anyhow::Result<()> {
        let file = format!("/volumes/{volume}/ballast");
        let fill = format!("cat /dev/zero >{file} 2>/dev/null; [ -s {file} ]");
        self.project.exec("keeper", &["bash", "-c", &fill]).map(drop)
    }

    fn make_room(&self, volume: &str) -> anyhow::Result<()> {
        self.project.exec("keeper", &["rm", &format!("/volumes/{volume}/ballast")]).map(drop)
    }
}

pub(crate) fn the_commands_of_the_guide_give_an_insight() -> anyhow::Result<()> {
    with(|small| {
        let said =
            Block::after("### See a number", "compose.yaml")?.run(&small.project, small.folder.path())?;
        ensure!(said.contains(&format!("Released day {}.", today())), "{said}");
        let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        let macos: Vec<_> = said.lines().filter(|line| line.contains("macos")).filter_map(number).collect();
        ensure!(macos == [30], "{said}");
        // It is what a browser would be shown, with the token that was printed last.
        let token = said.split_whitespace().last().context("a token")?;
        let reader = Reader::with_token(&small.project.url("ingest-api", 8280)?, token)?;
        let answer = block_on(reader.get("/v1/insights/platforms?window=day"))?;
        let answer: Value = serde_json::from_str(&answer)?;
        let blocks = answer["windows"][0]["blocks"].as_array().context("blocks")?;
        ensure!(blocks.len() == 1 && blocks[0]["count"] == 30, "{answer}");
        Ok(())
    })
}

pub(crate) fn while_the_disk_of_the_database_is_full_reports_are_refused_and_none_is_lost()
-> anyhow::Result<()> {
    with(|small| {
        let project = &small.project;
        let base = project.url("ingest-api", 8280)?;
        block_on(post(&client()?, &format!("{base}/_api/cloud/v1/analytics/event"), event(0).to_string()))?;
        let before = project.counted()?;
        wait_for_alert(project, "ReportsRefused", false)?;
        let sent = block_on(async {
            let load = Load::start(&base, 1)?;
            load.wait_for(100).await?;
            small.fill("database")?;
            load.wait_for_failure().await?;
            // Here and not in an async function: it asks by itself.
            tokio::task::block_in_place(|| {
                std::thread::scope(|scope| {
                    scope
                        .spawn(|| wait_for_alert(project, "ReportsRefused", true))
                        .join()
                        .expect("it does not panic")
                })
            })?;
            small.make_room("database")?;
            load.wait_for(100).await?;
            load.finish().await
        })?;
        ensure!(sent.failures.iter().all(|failure| failure.contains("503")), "{:?}", sent.failures.first());
        project.wait_until_healthy("postgres")?;
        project.wait_until_healthy("ingest-api")?;
        let counted = project.counted()? - before;
        ensure!(counted == sent.events, "{counted} of {} are counted", sent.events);
        Ok(())
    })
}

pub(crate) fn while_the_disk_of_a_proxy_is_full_apps_are_told_and_what_it_acknowledged_is_kept()
-> anyhow::Result<()> {
    const FIRST: usize = 500_000;
    with(|small| {
        let project = &small.project;
        project.up(&["pod-proxy"])?;
        wait_for_alert(project, "SentLogFailing", false)?;
        let before = project.counted()?;
        let url = project.event_url("pod-proxy")?;
        // The vendor is away, so that what is taken waits.
        project.compose(&["stop", "ingest-api"])?;
        let mut acknowledged = 0;
        block_on(async {
            let http = client()?;
            for number in FIRST..FIRST + 20_000 {
                if acknowledged == 20 {
                    small.fill("spool")?;
                }
                let request = http.post(&url).header("Content-Type", "application/json");
                let status = request.body(event(number).to_string()).send().await?.status().as_u16();
                if status == 507 {
                    return Ok(());
                }
                ensure!(status == 204, "it answered {status}");
                acknowledged += 1;
            }
            anyhow::bail!("{acknowledged} fit on a disk that is full")
        })?;
        let health = project.proxy_health("pod-proxy")?;
        ensure!(health["spool"]["entries"].as_u64().is_some_and(|held| held >= acknowledged), "{health}");
        // Nothing leaves that cannot be recorded first, and health and metrics say so.
        wait_for_alert(project, "SentLogFailing", true)?;
        small.make_room("spool")?;
        project.compose(&["start", "ingest-api"])?;
        until("everything has been sent", || {
            let health = project.proxy_health("pod-proxy")?;
            Ok((health["spool"]["entries"] == 0 && health["sent_log"] == "written").then_some(()))
        })?;
        wait_for_alert(project, "SentLogFailing", false)?;
        let counted = project.counted()? - before;
        ensure!(counted as u64 == acknowledged, "{counted} of {acknowledged} are counted");
        let one_more = block_on(post(&client()?, &url, event(FIRST - 1).to_string()));
        ensure!(one_more.is_ok(), "{one_more:?}");
        Ok(())
    })
}
