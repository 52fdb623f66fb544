//! `kill -9` of the real process: every acknowledged event arrives.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::stand_in::*;

#[tokio::test]
async fn every_event_that_was_acknowledged_before_a_kill_arrives() {
    let vendor = Vendor::start().await;
    vendor.otherwise(Does::answer(503));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "flush_interval = 'PT1S'")).unwrap();
    let http = http_client();

    // Killed several times while it works.
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

    a_new_process_sends(&vendor, &config, acknowledged).await;
}

#[tokio::test]
async fn a_signal_stops_the_process_cleanly_and_soon() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml(&vendor.url, folder.path(), "", "")).unwrap();
    let mut process = Process::start(&config);
    // An idle connection does not delay it.
    let _idle = tokio::net::TcpStream::connect(&process.address).await.unwrap();
    process.signal(rustix::process::Signal::TERM);
    let started = tokio::time::Instant::now();
    let status = tokio::task::spawn_blocking(move || process.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(10));
}
