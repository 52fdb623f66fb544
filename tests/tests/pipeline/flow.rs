//! From an event to an insight: the right numbers are served, however often and in whatever order events are
//! sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use e2e::fleet::{Fleet, FleetSize};
use e2e::process::{ProxyProcess, command};
use e2e::served::Served;
use e2e::stack::{Stack, client, folder};
use e2e::truth::{Truth, differences};
use ingest_api::insight::Insight;
use ingest_api::release::Threshold;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// A Monday in the last week of a month, so that a window of each kind ends within the play.
const FIRST_DAY: Date = date(2026, 8, 24);

/// What readers get after the play: the numbers, and the bytes of all answers.
async fn play(fleet: &Fleet, times: usize) -> (Served, String) {
    let folder = folder().unwrap();
    let mut stack = Stack::start(fleet, folder.path()).await.unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    for mut day in fleet.days() {
        if times > 1 {
            day.repeat(times);
            day.mix(&mut rng);
        }
        stack.play(fleet, &day, times).await.unwrap();
    }
    let reader = stack.reader().await.unwrap();
    let to = FIRST_DAY.saturating_add(20.days());
    let served = reader.everything(FIRST_DAY.first_of_month(), to).await.unwrap();
    let mut answers = String::new();
    for insight in Insight::ALL {
        for kind in ["day", "week", "month"] {
            let query = match insight {
                Insight::Domains => "format=csv".to_owned(),
                _ => format!("window={kind}&from=2026-08-01&to={to}&format=csv"),
            };
            answers += &reader.get(&format!("/v1/insights/{}?{query}", insight.as_str())).await.unwrap();
        }
    }
    stack.shutdown().await;
    (served, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_about_a_fleet_is_what_must_be_however_often_and_in_which_order_it_sends() {
    let fleet = Fleet::new(7, FleetSize::SMALL, FIRST_DAY);
    let mut truth = Truth::default();
    fleet.days().for_each(|day| truth.observe(&fleet, &day));
    let today = FIRST_DAY.saturating_add(jiff::Span::new().days(fleet.size().days));
    let expected = truth.releases(|window| (window.end() <= today).then(Threshold::default));
    assert!(expected.len() > 60, "{} families", expected.len());

    let ((served, answers), (again, same_answers)) = tokio::join!(play(&fleet, 1), play(&fleet, 3));
    assert_eq!(differences(&expected, &served.releases), Vec::<String>::new());
    let windows: Vec<_> = truth.windows().filter(|window| window.end() <= today).collect();
    assert!(served.windows.iter().eq(&windows), "{:?}", served.windows);
    assert_eq!(served.domains, truth.domains(today));
    assert_eq!(again, served);
    assert_eq!(same_answers, answers, "byte for byte");
}

/// A changed number for one Pod must be found: a check that cannot fail proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_heard_makes_a_difference() {
    let size = FleetSize { days: 1, ..FleetSize::SMALL };
    let fleet = Fleet::new(7, size, FIRST_DAY);
    let mut truth = Truth::default();
    let mut day = fleet.day(0);
    truth.observe(&fleet, &day);
    let folder = folder().unwrap();
    let mut stack = Stack::start(&fleet, folder.path()).await.unwrap();
    day.pods.sort_by_key(|pod| std::cmp::Reverse(pod.events.len()));
    day.pods.drain(..5);
    stack.play(&fleet, &day, 1).await.unwrap();
    let reader = stack.reader().await.unwrap();
    let served = reader.everything(FIRST_DAY, FIRST_DAY).await.unwrap();
    stack.shutdown().await;
    let is_over = |window: ingest_api::window::Window| window.end() <= date(2026, 8, 25);
    let expected = truth.releases(|window| is_over(window).then(Threshold::default));
    assert!(!differences(&expected, &served.releases).is_empty());
}

/// The event of today's apps, as in the design.
const SAMPLE: &str = r#"{
  "name": "account:signin",
  "data": { "credential_type": "password" },
  "origin": {
    "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
             "user_preferred_locales": ["de-CH", "en"] },
    "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
  }
}"#;

/// A socket in place of the vendor: accepts everything, and passes on heads and bodies.
fn vendor_socket() -> (SocketAddr, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    bytes.extend_from_slice(&buffer[..n]);
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                    });
                    if body.len() < length.unwrap_or(0) {
                        continue;
                    }
                    let accepted = serde_json::from_str::<Vec<Value>>(body).unwrap().len();
                    let answer = format!("{{\"accepted\":{accepted},\"rejected\":[]}}");
                    let head = head.to_owned();
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())
                        .unwrap();
                    send.send((head, body.to_owned())).unwrap();
                    bytes.clear();
                }
            });
        }
    });
    (address, requests)
}

/// Posts the sample as any HTTP client would. Returns the status and the duration.
fn post_sample(address: SocketAddr) -> (u16, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /cloud-api-proxy/v1/analytics/event HTTP/1.1\r\nhost: {address}\r\nuser-agent: CANARY\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{SAMPLE}",
        SAMPLE.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), start.elapsed())
}

#[test]
fn the_sample_event_is_taken_at_once_and_the_vendor_gets_exactly_what_preview_prints() {
    let folder = folder().unwrap();
    let (vendor, requests) = vendor_socket();
    let config = folder.path().join("prose.toml");
    let text = format!(
        "[vendor_analytics]\npreset = 'gdpr'\nacquisition.pod_domain.enabled = true\n\
         usage.user_lang.max_locales = 1\n\
         [pod_proxy]\ndomain = 'prose.example'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://{vendor}/_api/cloud'\n\
         data_dir = '{}'\naccounts.fixed = 33\npod_version = '0.5.0'\nflush_interval = 'PT1S'\n",
        folder.path().join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut proxy = ProxyProcess::start(&config).unwrap();
    let (status, elapsed) = post_sample(proxy.address());
    assert_eq!(status, 204);
    assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");

    // The salt exists now, so preview makes the same pseudonym.
    let mut preview = command("pod-proxy").unwrap();
    let preview = preview.args(["preview", "--config"]).arg(&config);
    let mut preview = preview.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let line: Value = serde_json::from_str(SAMPLE).unwrap();
    writeln!(preview.stdin.take().unwrap(), "{line}").unwrap();
    let printed = String::from_utf8(preview.wait_with_output().unwrap().stdout).unwrap();
    let event =
        printed.trim().strip_prefix("{\"outcome\":\"sent\",\"event\":").unwrap().strip_suffix('}').unwrap();
    let read: Value = serde_json::from_str(event).unwrap();
    assert_eq!(read["origin"]["app"]["user_preferred_locales"], serde_json::json!(["de-CH"]));

    let mut received = Vec::new();
    while !received.iter().any(|body: &String| body.contains("user_hash")) {
        let (head, body) = requests.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(head.starts_with("POST /_api/cloud/v1/analytics/events HTTP/1.1\r\n"), "{head}");
        assert!(!head.contains("CANARY"), "{head}");
        received.push(body);
    }
    let last = received.pop().unwrap();
    assert!(last.contains(event), "preview printed {event}, the vendor got {last}");
    proxy.process().stop().unwrap();
    assert!(!proxy.process().log().contains("19a124bd2f89edfe"));
}

#[tokio::test]
async fn an_app_is_told_what_the_page_for_its_authors_says() {
    let page = include_str!("../../../shared/APPS.md");
    let example = page.split("```json\n").find(|block| block.contains("\"data_points\"")).unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let folder = folder().unwrap();
    let config = folder.path().join("prose.toml");
    let text = format!(
        "vendor_analytics.preset = 'gdpr'\n[pod_proxy]\ndomain = 'prose.example'\nlisten = '127.0.0.1:0'\n\
         vendor_url = 'http://127.0.0.1:9'\ndata_dir = '{}'\naccounts.fixed = 33\n",
        folder.path().join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let proxy = ProxyProcess::start(&config).unwrap();
    let url = format!("http://{}/cloud-api-proxy/v1/analytics/policy", proxy.address());
    let told: Value = client().unwrap().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(told, example);
}
