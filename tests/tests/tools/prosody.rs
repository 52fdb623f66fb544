//! The number of accounts of a real Prosody: accounts made with `prosodyctl` → the range that leaves the Pod.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::trial::{has, trial};
use anyhow::{Context, ensure};
use axum::routing::post;
use axum::{Json, Router};
use e2e::stack::{client, folder};
use jiff::SignedDuration;
use libtest_mimic::Trial;
use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use pod_proxy::forward::Ended;
use serde_json::{Value, json};
use shared::clock::FixedClock;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const GUIDE: &str = include_str!("../../../deploy/README.md");
/// The folder in the guide's command: Prosody's data folder on Debian.
const DATA: &str = "/var/lib/prosody";

pub(crate) fn trials() -> Vec<Trial> {
    let missing = (!has("prosodyctl")).then_some("prosody is not installed");
    vec![
        trial("the_range_follows_the_accounts_of_a_real_prosody", missing, the_range_follows),
        trial("a_real_prosody_with_too_few_accounts_keeps_the_pod_silent", missing, too_few),
        trial("a_pod_that_has_grown_to_the_cohort_size_is_heard_after_the_lifetime", missing, grown),
    ]
}

/// Installs Prosody, as root, where that does not start a server for the whole machine.
pub(crate) fn install() {
    let starts_services = Path::new("/run/systemd/system").exists();
    if has("prosodyctl") || !has("apt-get") || !rustix::process::geteuid().is_root() || starts_services {
        return;
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-y"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").status()
    };
    // Errors do not matter here: without Prosody, the test is skipped.
    let _ = apt_get(&["update"]);
    let _ = apt_get(&["install", "--no-install-recommends", "prosody"]);
}

/// A Prosody of this test, which never listens anywhere.
struct Prosody {
    folder: tempfile::TempDir,
    accounts: usize,
}

impl Prosody {
    fn new() -> anyhow::Result<Self> {
        let prosody = Self { folder: folder()?, accounts: 0 };
        fs::create_dir(prosody.home())?;
        fs::create_dir(prosody.home().join("certs"))?;
        let config = format!(
            "data_path = '{home}/data'\npidfile = '{home}/prosody.pid'\ncertificates = '{home}/certs'\n\
             log = {{ error = '*console' }}\nauthentication = 'internal_hashed'\nstorage = 'internal'\n\
             modules_disabled = {{ 'c2s', 's2s', 'http', 'tls' }}\nc2s_ports = {{ }}\ns2s_ports = {{ }}\n\
             VirtualHost 'example.org'\n",
            home = prosody.home().display()
        );
        fs::write(prosody.config(), config)?;
        // As root, prosodyctl switches to the package's user.
        if rustix::process::geteuid().is_root() {
            let changed =
                Command::new("chown").args(["-R", "prosody:prosody"]).arg(prosody.home()).status()?;
            ensure!(changed.success());
        }
        Ok(prosody)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("prosody")
    }

    fn config(&self) -> PathBuf {
        self.home().join("prosody.cfg.lua")
    }

    /// Makes accounts up to this number.
    fn grow_to(&mut self, accounts: usize) -> anyhow::Result<()> {
        for number in self.accounts..accounts {
            let user = format!("user-{number}");
            let mut command = Command::new("prosodyctl");
            command.arg("--config").arg(self.config()).args(["register", &user, "example.org", "a password"]);
            let output = command.stdin(Stdio::null()).output()?;
            ensure!(output.status.success(), "prosodyctl: {}", String::from_utf8_lossy(&output.stdout));
        }
        self.accounts = accounts;
        Ok(())
    }

    /// The guide's own command, unchanged except for the folder.
    fn accounts_command(&self) -> anyhow::Result<String> {
        let line = GUIDE.lines().find(|line| line.starts_with("accounts.command = ")).context("a command")?;
        ensure!(line.contains(DATA), "{line}");
        Ok(line.replace(DATA, &self.home().join("data").display().to_string()))
    }
}

/// A socket in place of the vendor, and the events that it got.
async fn vendor() -> anyhow::Result<(SocketAddr, UnboundedReceiver<Value>)> {
    let (send, events) = unbounded_channel();
    let take = async move |Json(batch): Json<Vec<Value>>| {
        let accepted = batch.len();
        batch.into_iter().for_each(|event| send.send(event).unwrap());
        Json(json!({ "accepted": accepted, "rejected": [] }))
    };
    let router = Router::new().route("/_api/cloud/v1/analytics/events", post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, events))
}

/// A proxy that counts the accounts of a Prosody, and what its vendor gets.
struct Pod {
    app: App,
    clock: Arc<FixedClock>,
    events: UnboundedReceiver<Value>,
    _folder: tempfile::TempDir,
}

impl Pod {
    async fn start(prosody: &Prosody, analytics: &str) -> anyhow::Result<Self> {
        let (vendor, events) = vendor().await?;
        let folder = folder()?;
        let text = format!(
            "[vendor_analytics]\n{analytics}\n[pod_proxy]\ndomain = 'example.org'\nlisten = '127.0.0.1:0'\n\
             vendor_url = 'http://{vendor}/_api/cloud'\ndata_dir = '{}'\naccounts.lifetime = 'PT1H'\n{}\n",
            folder.path().join("data").display(),
            prosody.accounts_command()?,
        );
        let clock = Arc::new(FixedClock::new("2026-03-01T10:00:00Z".parse()?));
        let options = StartOptions { clock: clock.clone(), background: false };
        let app = App::start(Config::from_toml(&text)?, options).await?;
        Ok(Self { app, clock, events, _folder: folder })
    }

    /// An app posts, and the proxy sends everything. Returns the range of accounts in what left, if any.
    async fn post_and_send(&mut self) -> anyhow::Result<Option<String>> {
        let event = json!({ "name": "app:startup", "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1" }, "pod": { "user_hash": "19a124bd2f89edfe" },
        }});
        e2e::stack::post(&client()?, &self.app.event_url(), event.to_string()).await?;
        let flushed = self.app.proxy.flush().await;
        ensure!(flushed.ended == Ended::Done && flushed.left == 0, "{flushed:?}");
        let Ok(event) = self.events.try_recv() else { return Ok(None) };
        ensure!(self.events.try_recv().is_err(), "more than one event left");
        let range = event["origin"]["pod"]["user_count_range"].as_str().context("a range")?;
        Ok(Some(range.to_owned()))
    }
}

fn block_on(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test)
}

fn the_range_follows() -> anyhow::Result<()> {
    let mut prosody = Prosody::new()?;
    prosody.grow_to(12)?;
    block_on(async {
        let mut pod = Pod::start(&prosody, "").await?;
        ensure!(pod.post_and_send().await?.as_deref() == Some("10–19"));
        prosody.grow_to(21)?;
        pod.clock.advance(SignedDuration::from_mins(59));
        ensure!(pod.post_and_send().await?.as_deref() == Some("10–19"), "asked again within the lifetime");
        pod.clock.advance(SignedDuration::from_mins(2));
        ensure!(pod.post_and_send().await?.as_deref() == Some("20–49"), "not asked again after the lifetime");
        pod.app.shutdown().await;
        Ok(())
    })
}

fn too_few() -> anyhow::Result<()> {
    let mut prosody = Prosody::new()?;
    prosody.grow_to(12)?;
    block_on(async {
        for (min_cohort_size, expected) in [(13, None), (12, Some("10–19"))] {
            let mut pod = Pod::start(&prosody, &format!("min_cohort_size = {min_cohort_size}")).await?;
            let range = pod.post_and_send().await?;
            ensure!(range.as_deref() == expected, "{min_cohort_size}: {range:?}");
            pod.app.shutdown().await;
        }
        Ok(())
    })
}

fn grown() -> anyhow::Result<()> {
    let mut prosody = Prosody::new()?;
    prosody.grow_to(12)?;
    block_on(async {
        let mut pod = Pod::start(&prosody, "min_cohort_size = 13").await?;
        ensure!(pod.post_and_send().await?.is_none());
        prosody.grow_to(13)?;
        pod.clock.advance(SignedDuration::from_mins(61));
        ensure!(pod.post_and_send().await?.as_deref() == Some("10–19"), "a Pod that has grown stays silent");
        pod.app.shutdown().await;
        Ok(())
    })
}
