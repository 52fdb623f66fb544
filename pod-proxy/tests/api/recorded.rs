//! Nothing leaves that is not in the log of what was sent: not on a full disk, not in a kill.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::stand_in::*;

/// The log as `pod-proxy sent` shows it: answer and event, byte for byte.
fn sent(config: &Path) -> Vec<(String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pod-proxy"));
    command.args(["sent", "--limit", "1000000", "--format", "json", "--config"]).arg(config);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let (_, event) = line.split_once(r#","event":"#).unwrap();
        (value["answer"].as_str().unwrap().to_owned(), event.strip_suffix('}').unwrap().to_owned())
    };
    text.lines().map(line).collect()
}

/// How often each event is there.
fn times(events: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for event in events {
        *times.entry(event).or_default() += 1;
    }
    times
}

/// The events in these requests, byte for byte.
fn words(requests: &[Request]) -> Vec<String> {
    let array = |request: &Request| {
        let events: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&request.body).unwrap();
        events.into_iter().map(|event| event.get().to_owned()).collect::<Vec<_>>()
    };
    requests.iter().flat_map(array).collect()
}

async fn health(http: &reqwest::Client, process: &Process) -> Value {
    let url = format!("http://{}/healthz", process.address);
    let answer = http.get(url).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// How many requests were not made because they could not be recorded.
async fn attempts(http: &reqwest::Client, process: &Process) -> u64 {
    let metrics = process.metrics.as_ref().unwrap();
    let text = http.get(format!("http://{metrics}/metrics")).send().await.unwrap().text().await.unwrap();
    let name = r#"pod_proxy_vendor_requests_total{outcome="not_recorded"} "#;
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
}

/// Writes into a file until the file system has no byte left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    assert_eq!(file.write_all(&[0]).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[tokio::test]
async fn nothing_leaves_while_the_disk_is_full_and_then_everything_does_and_all_of_it_is_in_the_log() {
    const INSTALLATIONS: usize = 300;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let config = folder.path().join("prose.toml");
    let settings = format!(
        "flush_interval = 'PT1S'\nmetrics_listen = '127.0.0.1:0'\nsalt_file = '{}'",
        folder.path().join("salt").display()
    );
    std::fs::write(&config, toml(&vendor.url, &data, "", &settings)).unwrap();
    vendor.otherwise(Does::answer(503));
    // A file system in memory, in its own mount namespace, so that it disappears with the process.
    let mut command = Command::new("unshare");
    let script = r#"mount -t tmpfs -o size=16m,mode=700 tmpfs "$2" && exec "$0" run --config "$1""#;
    command.args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_pod-proxy")]);
    let process = Process::spawn({
        command.arg(&config).arg(&data);
        command
    });
    let inside = |path: &Path| {
        Path::new(&format!("/proc/{}/root", process.id())).join(path.strip_prefix("/").unwrap())
    };
    let http = http_client();
    let url = format!("http://{}{EVENT}", process.address);
    let mut posts = tokio::task::JoinSet::new();
    for installation in 0..INSTALLATIONS {
        let request =
            http.post(&url).header("content-type", "application/json").body(event(installation, "1.0.0"));
        posts.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    while let Some(status) = posts.join_next().await {
        assert_eq!(status.unwrap(), 204);
    }

    let filler = inside(&data.join("filler"));
    fill(&filler);
    until("health to say so", async || health(&http, &process).await["sent_log"] == "failing").await;
    assert_eq!(health(&http, &process).await["status"], "degraded");
    vendor.otherwise(Does::take());
    let before = vendor.requests().len();
    let tried = attempts(&http, &process).await;
    until("another attempt", async || attempts(&http, &process).await > tried).await;
    assert_eq!(vendor.requests().len(), before, "something left that could not be recorded");
    assert_eq!(health(&http, &process).await["spool"]["entries"], INSTALLATIONS + 1);
    let logged =
        process.log().matches("nothing is sent, because the log of what was sent cannot be written").count();
    assert_eq!(logged, 1, "{}", process.log());

    std::fs::remove_file(&filler).unwrap();
    let expected = hashes(0..INSTALLATIONS);
    vendor.wait_for(|requests| expected.is_subset(&arrived(&requests[before..]))).await;
    until("health to say so", async || health(&http, &process).await["sent_log"] == "written").await;
    assert_eq!(health(&http, &process).await["status"], "ok");

    // The folder has another path outside the namespace, so `sent` gets a configuration of its own.
    let from_here = folder.path().join("from-here.toml");
    std::fs::write(&from_here, toml(&vendor.url, &inside(&data), "", "")).unwrap();
    until("the spool to be empty", async || health(&http, &process).await["spool"]["entries"] == 0).await;
    let sent = sent(&from_here);
    assert_eq!(times(sent.into_iter().map(|(_, event)| event)), times(words(&vendor.requests())));
}

#[tokio::test]
async fn whatever_reached_the_vendor_before_a_kill_is_in_the_log() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "flush_interval = 'PT1S'")).unwrap();
    let http = http_client();
    for round in 0..6 {
        let process = Process::start(&config);
        let url = format!("http://{}{EVENT}", process.address);
        let before = vendor.requests().len();
        // Killed after a request has arrived: before its answer in even rounds, after it in odd ones.
        vendor.otherwise(if round % 2 == 0 { Does::Hangs } else { Does::take() });
        for installation in 0..20 {
            let body = event(installation, &format!("1.{round}.0"));
            let request = http.post(&url).header("content-type", "application/json").body(body);
            assert_eq!(request.send().await.unwrap().status(), 204);
        }
        vendor.wait_for(|requests| requests.len() > before).await;
        process.kill();
    }
    let in_log = sent(&config);
    let unknown = in_log.iter().filter(|(answer, _)| answer == "unknown").count();
    assert!(unknown >= 3, "{unknown}");
    let in_log = times(in_log.into_iter().map(|(_, event)| event));
    let reached = times(words(&vendor.requests()));
    assert!(reached.len() > 20, "{}", reached.len());
    for (event, times) in reached {
        assert!(in_log.get(&event).is_some_and(|logged| *logged >= times), "{event}");
    }
}
