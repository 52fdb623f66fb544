//! `kill -9` of the real process: what was acknowledged arrives all the same.

mod stand_in;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stand_in::*;

/// The process, killed at the latest when the test ends.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pod-proxy"))
            .args(["run", "--config"])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, address) = line.split_once("listening=")?;
                Some(address.split(' ').next().unwrap().to_owned())
            })
            .expect("it says where it listens");
        // The pipe must be read on, or the process would block.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn every_event_that_was_acknowledged_before_a_kill_arrives() {
    let vendor = Vendor::start().await;
    vendor.otherwise(Does::answer(503));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "flush_interval = 'PT1S'")).unwrap();
    let http = reqwest_client();

    // Killed in the middle of the work, several times.
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let process = Process::start(&config);
        let url = format!("http://{}{EVENT}", process.address);
        let mut posts = tokio::task::JoinSet::new();
        for installation in round * 200..(round + 1) * 200 {
            let request =
                http.post(&url).header("content-type", "application/json").body(event(installation, "1.0.0"));
            posts.spawn(async move {
                let answer = request.send().await;
                answer.is_ok_and(|answer| answer.status() == 204).then_some(installation)
            });
        }
        let mut process = Some(process);
        while let Some(done) = posts.join_next().await {
            acknowledged.extend(done.unwrap());
            if acknowledged.len() >= round * 150 + 100
                && let Some(process) = process.take()
            {
                process.kill();
            }
        }
    }
    assert!(acknowledged.len() >= 300, "{}", acknowledged.len());

    vendor.otherwise(Does::take());
    vendor.forget();
    let salt = shared::pseudonym::Salt::from_bytes(&[7; 256]).unwrap();
    let expected: BTreeSet<String> = acknowledged
        .iter()
        .map(|installation| {
            let hash = shared::pseudonym::UserHash::parse(&format!("{installation:016x}")).unwrap();
            serde_json::to_value(salt.apply(hash)).unwrap().as_str().unwrap().to_owned()
        })
        .collect();
    let _process = Process::start(&config);
    vendor
        .wait_for(|requests| {
            let arrived: BTreeSet<String> = requests
                .iter()
                .flat_map(Request::events)
                .filter_map(|event| Some(event["origin"]["pod"]["user_hash"].as_str()?.to_owned()))
                .collect();
            expected.is_subset(&arrived)
        })
        .await;
}

#[tokio::test]
async fn a_signal_stops_the_process_cleanly_and_soon() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "")).unwrap();
    let mut process = Process::start(&config);
    // A connection that never sends anything does not hold it up.
    let _idle = tokio::net::TcpStream::connect(&process.address).await.unwrap();
    let pid = rustix::process::Pid::from_child(&process.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let started = tokio::time::Instant::now();
    let status = tokio::task::spawn_blocking(move || process.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn reqwest_client() -> reqwest::Client {
    pod_proxy::app::install_crypto();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
