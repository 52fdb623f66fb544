//! The published numbers stay right while Postgres and the service are killed. Events come over many
//! connections, half of them twice. Those sent once would show a loss; those sent twice, a double count.
//!
//! With the real binary and the real clock. A run at midnight UTC may see its counts spread over two windows.

use ingest_api::window::codes::unpack;
use shared::data_point::Reporter;
use shared::event::{App, Pod};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::lanes::spread;
use e2e::load::Crowd;
use e2e::process::VendorProcess;
use e2e::stack::{client, folder, post};
use ingest_api::app::OpenDatabase;
use ingest_api::config::{Config, Thresholds};
use ingest_api::intake::ValidReport;
use ingest_api::jobs::close_windows::CloseWindows;
use ingest_api::jobs::merge::{merge_window, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::release::{Family, Tally, Threshold};
use ingest_api::window::{Window, WindowKind};
use jiff::SignedDuration;
use shared::clock::{Clock, SystemClock};

const INSTALLATIONS: u64 = 40_000;
const BATCH: u64 = 100;
/// How long a condition may take to become true.
const PATIENCE: Duration = Duration::from_secs(90);

fn crowd() -> Crowd {
    Crowd::new(3, NonZeroU64::new(INSTALLATIONS).unwrap(), NonZeroU64::new(INSTALLATIONS / 25).unwrap())
}

fn event(number: u64) -> Vec<u8> {
    let mut json = Vec::new();
    crowd().write_event(number, &mut json);
    json
}

fn batch(first: u64) -> String {
    let events: Vec<String> =
        (first..first + BATCH).map(|number| String::from_utf8(event(number)).unwrap()).collect();
    format!("[{}]", events.join(","))
}

/// What must be published: each installation once, with what it reported, and its Pod, which reports nothing
/// about itself.
fn truth() -> Vec<(Family, String, u64)> {
    let (mut installations, mut pods) = (Tally::of::<App>(), Tally::of::<Pod>());
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..INSTALLATIONS {
        let report = ValidReport::from_json(&event(number)).unwrap();
        let pod = i64::from_be_bytes(*report.pod().as_bytes());
        let said = installations.said(unpack::<App>(&report.installation().unwrap().codes));
        installations.add(pod, said);
        if seen.insert(pod) {
            let said = pods.said(<Pod as Reporter>::Codes::default());
            pods.add(pod, said);
        }
    }
    let families = [installations, pods].map(|tally| tally.publish(&Threshold::default()));
    let mut numbers: Vec<_> = families
        .into_iter()
        .flatten()
        .flat_map(|(family, blocks)| {
            blocks.into_iter().map(move |block| (family, block.label().to_owned(), block.published()))
        })
        .collect();
    numbers.sort();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_equal_the_truth_though_much_was_sent_twice_and_both_servers_were_killed() {
    let folder = folder().unwrap();
    let data_dir = folder.path().join("vendor");
    let mut vendor = VendorProcess::start(&data_dir, ([127, 0, 0, 1], 0).into()).unwrap();
    let address = vendor.address();

    let acknowledged = Arc::new(AtomicU64::new(0));
    let http = client().unwrap();
    let send = {
        let acknowledged = Arc::clone(&acknowledged);
        move |first: u64| {
            let (http, acknowledged) = (http.clone(), Arc::clone(&acknowledged));
            async move {
                let url = format!("http://{address}/_api/cloud/v1/analytics/events");
                let end = Instant::now() + PATIENCE;
                // Sent until it is acknowledged, as a proxy does.
                while post(&http, &url, batch(first)).await.is_err() {
                    anyhow::ensure!(Instant::now() < end, "the service did not come back");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                acknowledged.fetch_add(BATCH, Ordering::Relaxed);
                Ok(())
            }
        }
    };
    let batches = INSTALLATIONS / BATCH;
    let numbers = (0..batches).chain((0..batches / 2).rev());
    let sending = tokio::spawn(spread(16, numbers.map(|number| number * BATCH).collect(), send));
    for (killed, tenth) in [2, 5, 8, 11, 14].into_iter().enumerate() {
        while acknowledged.load(Ordering::Relaxed) < INSTALLATIONS / 10 * tenth {
            assert!(!sending.is_finished(), "killed {killed} times, while events are sent");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if killed % 2 == 0 {
            vendor.kill_postgres().unwrap();
        } else {
            vendor.process().kill().unwrap();
            // Its remains must not stop the Postgres of the next service.
            drop(vendor);
            vendor = VendorProcess::start(&data_dir, address).unwrap();
        }
    }
    sending.await.unwrap().unwrap();
    vendor.process().stop().unwrap();

    let config = Config::in_directory(&data_dir);
    let open = OpenDatabase::open(&config, false).await.unwrap();
    let (database, now) = (open.database.clone(), SystemClock.now());
    let keys = KeyDirectory::open(&config.key_dir).unwrap();
    let stored = database.open_window(Window::containing(WindowKind::Week, now)).await.unwrap().unwrap();
    merge_window(&database, &stored, keys.read(stored.window).unwrap().as_ref()).await.unwrap();
    let (installations, _) = merged_reporters(&database, &stored).await.unwrap();
    assert_eq!(u64::try_from(installations).unwrap(), INSTALLATIONS, "to the last");
    let close = CloseWindows { database: database.clone(), keys, thresholds: Thresholds::default() };
    let closed = close.run(now + SignedDuration::from_hours(24 * 40)).await;
    assert!(closed.failed.is_empty() && closed.released.len() == 3, "{closed:?}");
    assert_eq!(closed.given_up, []);
    let truth = truth();
    assert!(truth.len() > 20, "{truth:?}");
    for kind in WindowKind::ALL {
        let window = Window::containing(kind, now);
        let releases = database.releases(&[window], &Family::ALL).await.unwrap();
        let mut found: Vec<_> = releases[0]
            .blocks()
            .iter()
            .map(|block| (block.family, block.label.clone(), block.published))
            .collect();
        found.sort();
        assert_eq!(found, truth, "{}", kind.as_str());
    }
    open.close().await;
}
