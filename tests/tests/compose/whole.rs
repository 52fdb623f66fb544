//! `deploy/compose.yaml`: all of it, up once for the tests of this and other files, which go through it in their order.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use anyhow::ensure;
use e2e::needles::Needles;
use e2e::stack::{client, folder, post};
use serde_json::{Value, json};

use crate::docker::{Project, clone_into};
use crate::guide::Block;
use crate::load::event;
use crate::watch::hasty;
use crate::{block_on, images};

/// The system, and what its proxies were told that must be in no log.
pub(crate) struct Whole {
    pub(crate) project: Project,
    /// Where the repository was cloned to.
    clone: tempfile::TempDir,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) canaries: BTreeSet<String>,
    answered: bool,
}

static WHOLE: Mutex<Option<Result<Whole, String>>> = Mutex::new(None);

/// Does something with the system, which is started if it was not.
pub(crate) fn with<T>(test: impl FnOnce(&mut Whole) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut whole = WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = whole.get_or_insert_with(|| Whole::start().map_err(|error| format!("{error:#}")));
    test(whole.as_mut().map_err(|error| anyhow::anyhow!("the system did not start: {error}"))?)
}

/// Removes the system, if it was started; what its services needed is returned, the service and its MiB.
pub(crate) fn remove() -> Vec<(String, f64)> {
    let whole = WHOLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    whole.and_then(Result::ok).and_then(|whole| whole.project.resident_memory().ok()).unwrap_or_default()
}

impl Whole {
    /// From a clone, by the command of the guide, which builds the images too.
    fn start() -> anyhow::Result<Self> {
        let (clone, folder) = (folder()?, folder()?);
        clone_into(clone.path())?;
        let mut project = Project::of(clone.path(), "whole", "compose.yaml", &images::tag_of_clone()?);
        let prometheus = hasty(&clone.path().join("deploy"), "prometheus/prometheus.yml", folder.path())?;
        project.set("PROMETHEUS_DIRECTORY", &prometheus.display().to_string());
        project.typed(clone.path(), &["-f", "deploy/compose.yaml", "up", "-d"])?;
        project.wait_until_all_healthy()?;
        Ok(Self { project, clone, folder, canaries: BTreeSet::new(), answered: false })
    }

    /// Looks whether a log of these containers has a canary in it, or a password of the database.
    pub(crate) fn search_logs(&self, of: &Project) -> anyhow::Result<()> {
        let mut needles = Needles::default();
        for canary in &self.canaries {
            needles.add(canary, canary.as_bytes());
        }
        let passwords = self.project.in_volume("database-secrets", "cat *")?;
        ensure!(passwords.lines().count() == 2, "two passwords");
        passwords.lines().for_each(|password| needles.add("a password", password.as_bytes()));
        for (service, _) in of.containers()? {
            let log = of.log(&service)?;
            let found = needles.find(log.as_bytes());
            ensure!(found.is_empty(), "in the log of {service}: {found:?}");
            ensure!(
                service == "migrate" || !log.is_empty() || service == "prometheus",
                "{service} has no log"
            );
        }
        Ok(())
    }

    /// Answers for the operator, if that was not done: in `.env`, as the guide says.
    pub(crate) fn answer(&mut self) -> anyhow::Result<()> {
        if !self.answered {
            let said =
                Block::after("## In containers", "compose.yaml")?.run(&self.project, self.clone.path())?;
            ensure!(said.contains("Shared with the vendor"), "{said}");
            self.project.wait_until_healthy("pod-proxy")?;
            self.answered = true;
        }
        Ok(())
    }

    pub(crate) fn ingest_api(&self) -> anyhow::Result<String> {
        self.project.url("ingest-api", 8280)
    }
}

/// An event of an app of the Pod in the file.
pub(crate) fn app_event(number: usize) -> Value {
    let mut event = event(number);
    event["origin"]["app"]["platform"] = json!("macos-aarch64");
    event
}

pub(crate) fn user_hash(event: &Value) -> String {
    event["origin"]["pod"]["user_hash"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn the_file_alone_brings_up_every_service_healthy() -> anyhow::Result<()> {
    with(|whole| {
        let running: BTreeSet<String> =
            whole.project.containers()?.into_iter().map(|(service, _)| service).collect();
        let expected = ["ingest-api", "migrate", "pod-proxy", "postgres", "prometheus", "secrets"];
        ensure!(running == expected.map(str::to_owned).into(), "{running:?}");
        for service in ["ingest-api", "pod-proxy", "postgres", "prometheus"] {
            ensure!(whole.project.inspect(service)?["State"]["Health"]["Status"] == "healthy", "{service}");
        }
        for service in ["secrets", "migrate"] {
            ensure!(whole.project.inspect(service)?["State"]["ExitCode"] == 0, "{service}");
        }
        whole.project.confined()
    })
}

pub(crate) fn nothing_is_shared_until_the_operator_has_answered() -> anyhow::Result<()> {
    with(|whole| {
        let event = app_event(900_001);
        whole.canaries.insert(user_hash(&event));
        let url = whole.project.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        let health = whole.project.proxy_health("pod-proxy")?;
        ensure!(health["analytics"] == "off" && health["spool"]["entries"] == 0, "{health}");
        ensure!(whole.project.sent("pod-proxy")?.is_empty());
        ensure!(whole.project.counted()? == 0);
        ensure!(whole.project.sql("SELECT count(*) FROM optin.domain")? == "0");
        let log = whole.project.log("pod-proxy")?;
        ensure!(log.contains("Analytics are off: nothing is stored, and nothing is sent."), "{log}");

        Ok(())
    })
}

pub(crate) fn what_the_operator_answered_is_in_force_and_the_log_says_so() -> anyhow::Result<()> {
    with(|whole| {
        whole.answer()?;
        let before = whole.project.counted()?;
        let event = app_event(900_002);
        whole.canaries.insert(user_hash(&event));
        let log = whole.project.log("pod-proxy")?;
        ensure!(
            log.contains("Shared with the vendor (preset `gdpr`)") && log.contains("`enabled = false`"),
            "{log}"
        );
        let url = whole.project.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        whole.project.wait_until_sent("pod-proxy")?;
        let sent = whole.project.sent("pod-proxy")?;
        ensure!(sent.contains("macos-aarch64") && !sent.contains(&user_hash(&event)), "{sent}");
        ensure!(whole.project.counted()? == before + 1);
        Ok(())
    })
}
