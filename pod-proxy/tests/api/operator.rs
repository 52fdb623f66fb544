//! A change of the configuration acts at once, also on what waits, and a mistake in it changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use pod_proxy::app::{App, StartOptions};
use pod_proxy::config::Config;
use pod_proxy::filter::{Dropped, PodReport};
use pod_proxy::forward::Ended;
use pod_proxy::forward::phase::{Phase, next_report};
use serde_json::{Value, json};
use shared::clock::FixedClock;
use shared::pseudonym::Salt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::stand_in::*;

/// Posts one event of each of so many installations, concurrently.
async fn post_many(app: &App, installations: usize) {
    let http = http_client();
    let mut posts = tokio::task::JoinSet::new();
    for installation in 0..installations {
        let body = event(installation, "442.1.1");
        let request = http.post(app.event_url()).header("content-type", "application/json").body(body);
        posts.spawn(async move { request.send().await.unwrap().status() });
        if posts.len() >= 50 {
            assert_eq!(posts.join_next().await.unwrap().unwrap(), 204);
        }
    }
    while let Some(status) = posts.join_next().await {
        assert_eq!(status.unwrap(), 204);
    }
}

#[tokio::test]
async fn a_policy_that_is_tightened_acts_on_a_thousand_events_that_wait() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = |analytics: &str| toml(&vendor.url, folder.path(), analytics, "accounts.fixed = 33");
    let app = proxy(&text("preset = 'all'")).await;
    vendor.otherwise(Does::answer(503));
    post_many(&app, 1_000).await;
    assert_eq!(app.proxy.spool_usage().entries, 1_000);
    let tighter = "usage.user_app_version.enabled = false\nusage.user_lang.max_locales = 1\n\
                   usage.user_platform.deny_list = ['macos']\nusage.meta_user_count.enabled = false";
    app.proxy.reload(Config::from_toml(&text(tighter)).unwrap()).await.unwrap();
    vendor.otherwise(Does::take());
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.left), (1_000, 0));
    for event in vendor.events() {
        assert_eq!(event["origin"]["app"], json!({ "user_preferred_locales": ["de-CH"] }));
        let pod: Vec<_> = event["origin"]["pod"].as_object().unwrap().keys().collect();
        assert_eq!(pod, ["domain_hash", "user_hash"]);
    }
    let bytes = String::from_utf8(vendor.bytes()).unwrap();
    for forbidden in ["442.1", "prose-app", "macos", "\"en\"", "user_count", "example.org"] {
        assert!(!bytes.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn a_policy_that_is_tightened_acts_in_the_middle_of_sending_one_by_one() {
    let vendor = Vendor::start().await;
    vendor.takes_one_by_one();
    let folder = tempfile::tempdir().unwrap();
    let text = |analytics: &str| toml(&vendor.url, folder.path(), analytics, "");
    let app = proxy(&text("")).await;
    post_many(&app, 200).await;
    let flush = tokio::spawn({
        let app = app.clone();
        async move { app.proxy.flush().await }
    });
    vendor.wait_for(|requests| requests.len() > 20).await;
    app.proxy.reload(Config::from_toml(&text("usage.user_lang.enabled = false")).unwrap()).await.unwrap();
    let before = vendor.requests().len();
    assert_eq!(flush.await.unwrap().sent, 200);
    let singles = vendor.requests();
    assert!(before < 150, "the reload came too late to show anything");
    // One may have been in progress.
    for request in singles.iter().skip(before + 1).filter(|request| request.path().ends_with("/event")) {
        assert!(!request.body.contains("de-CH"), "{}", request.body);
    }
}

#[tokio::test]
async fn turning_analytics_off_discards_a_thousand_events_that_wait() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = |analytics: &str| toml(&vendor.url, folder.path(), analytics, "");
    let app = proxy(&text("")).await;
    post_many(&app, 1_000).await;
    app.proxy.reload(Config::from_toml(&text("enabled = false")).unwrap()).await.unwrap();
    assert_eq!(app.proxy.spool_usage().entries, 0);
    // Turned on again, it starts empty.
    app.proxy.reload(Config::from_toml(&text("")).unwrap()).await.unwrap();
    assert_eq!(app.proxy.flush().await.sent, 0);
    assert_eq!(vendor.bytes(), b"");
    assert!(
        app.proxy.render_metrics().contains(r#"pod_proxy_entries_discarded_total{reason="disabled"} 1000"#)
    );
    let spool = std::fs::read(folder.path().join("spool.redb")).unwrap();
    assert!(!spool.windows(7).any(|window| window == b"442.1.1"));
}

#[tokio::test]
async fn what_waits_at_a_start_with_analytics_off_is_discarded() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    post_many(&app, 10).await;
    app.shutdown().await;
    let app = proxy(&toml(&vendor.url, folder.path(), "enabled = false", "")).await;
    assert_eq!(app.proxy.spool_usage().entries, 0);
}

#[tokio::test]
async fn a_hangup_reads_the_file_again_and_a_mistake_in_it_changes_nothing() {
    let vendor = Vendor::start().await;
    vendor.otherwise(Does::answer(503));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prose.toml");
    let metrics_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!("metrics_listen = '127.0.0.1:{metrics_port}'");
    let write = |analytics: &str| {
        std::fs::write(&path, toml(&vendor.url, folder.path(), analytics, &settings)).unwrap();
    };
    write("");
    let process = Process::start(&path);
    let http = http_client();
    let get = async |url: String| http.get(url).send().await.unwrap().text().await.unwrap();
    let health = async || -> Value {
        serde_json::from_str(&get(format!("http://{}/healthz", process.address)).await).unwrap()
    };
    let refused = async |value: u8| {
        let metrics = get(format!("http://127.0.0.1:{metrics_port}/metrics")).await;
        metrics.contains(&format!("pod_proxy_configuration_refused {value}"))
    };
    let in_force = async || {
        let url = format!("http://{}/cloud-api-proxy/v1/analytics/policy", process.address);
        serde_json::from_str::<Value>(&get(url).await).unwrap()["data_points"].take()
    };
    assert_eq!(health().await["configuration"], "in_force");
    let before = in_force().await;

    write("enabled = 'perhaps'\nusage.user_lang.enabled = false");
    process.signal(rustix::process::Signal::HUP);
    until("the mistake to be seen", async || health().await["configuration"] == "refused").await;
    assert_eq!(health().await["status"], "degraded");
    assert_eq!(in_force().await, before);
    assert!(refused(1).await);
    until("the log to say so", async || process.log().contains("vendor_analytics.enabled: must be")).await;

    write("usage.user_lang.enabled = false");
    process.signal(rustix::process::Signal::HUP);
    until("the file to be in force", async || health().await["configuration"] == "in_force").await;
    assert_eq!(in_force().await, json!(["usage.user_app_version", "usage.user_platform"]));
    assert!(refused(0).await);

    write("enabled = false");
    process.signal(rustix::process::Signal::HUP);
    until("analytics to be off", async || health().await["analytics"] == "off").await;
    until("nothing to wait", async || health().await["spool"]["entries"] == 0).await;
}

#[tokio::test]
async fn the_pod_reports_at_the_start_and_then_daily_at_a_time_of_its_own() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
    let phase = Phase::of_report(&Salt::from_bytes(&[7; 256]).unwrap());
    let due = next_report("2026-03-01T00:00:00Z".parse().unwrap(), phase);
    let clock = Arc::new(FixedClock::new(due - SignedDuration::from_millis(200)));
    let text = toml(&vendor.url, folder.path(), "", "pod_version = '0.5.0'\nflush_interval = 'P7D'");
    let options = StartOptions { clock: clock.clone(), background: true };
    let app = App::start(Config::from_toml(&text).unwrap(), options).await.unwrap();
    until("the report of the start", async || app.proxy.spool_usage().entries == 1).await;
    assert_eq!(app.proxy.flush().await.sent, 1);
    for _ in 0..2 {
        clock.advance(SignedDuration::from_millis(200));
        until("the daily report", async || app.proxy.spool_usage().entries == 1).await;
        assert_eq!(app.proxy.flush().await.sent, 1);
        clock.advance(SignedDuration::from_hours(24) - SignedDuration::from_millis(200));
        // A reload makes the loop look at the clock. A real clock does not need that.
        app.proxy.reload(app.proxy.config()).await.unwrap();
    }
    let names: Vec<_> = vendor.events().iter().map(|event| event["name"].clone()).collect();
    assert_eq!(names, ["pod:startup", "pod:daily", "pod:daily"]);
    app.shutdown().await;
}

#[tokio::test]
async fn what_is_shared_and_how_to_turn_it_off_is_logged_at_every_level() {
    for level in ["error", "warn", "info"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prose.toml");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = |analytics: &str| {
            let settings = format!("flush_interval = 'P7D'\nlog_level = '{level}'");
            let text = toml("http://127.0.0.1:1/x", folder.path(), analytics, &settings);
            text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))
        };
        std::fs::write(&path, text("")).unwrap();
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_pod-proxy"))
            .args(["run", "--config"])
            .arg(&path)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = rustix::process::Pid::from_child(&child);
        let http = http_client();
        let health = format!("http://127.0.0.1:{port}/healthz");
        let is = async |analytics: &str| match http.get(&health).send().await {
            Ok(answer) => answer.text().await.unwrap().contains(&format!(r#""analytics":"{analytics}""#)),
            Err(_) => false,
        };
        until("it to run", async || is("on").await).await;
        std::fs::write(&path, text("enabled = false")).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
        until("the file to be in force", async || is("off").await).await;
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let log =
            tokio::task::spawn_blocking(move || child.wait_with_output().unwrap().stderr).await.unwrap();
        let log = String::from_utf8(log).unwrap();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("To turn all of it off:")).collect();
        assert_eq!(lines.len(), 1, "{level}: {log}");
        assert!(
            lines[0].contains("Shared with the vendor") && lines[0].contains("listening="),
            "{level}: {log}"
        );
        assert!(log.contains("Analytics are off"), "{level}: {log}");
        assert_eq!(log.contains("stopped"), level == "info", "{level}: {log}");
    }
}

/// The Pod Server's local API. `answer` is its body; an empty one stands for a failure. Returns its URL and the number of
/// queries.
async fn pod_server(answer: Arc<std::sync::Mutex<&'static str>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/users-util/stats", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4_096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(head[..read].starts_with(b"GET /users-util/stats HTTP/1.1\r\n"));
            let body = *answer.lock().unwrap();
            let status = if body.is_empty() { 500 } else { 200 };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

#[tokio::test]
async fn while_the_number_of_accounts_is_unknown_and_a_cohort_is_asked_for_nothing_is_sent() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = Arc::new(std::sync::Mutex::new(r#"{"count":33}"#));
    let (url, asked) = pod_server(Arc::clone(&answer)).await;
    let clock = Arc::new(FixedClock::new("2026-03-01T00:00:00Z".parse().unwrap()));
    let text = toml(&vendor.url, folder.path(), "min_cohort_size = 20", &format!("accounts.url = '{url}'"));
    let app = proxy_at(&text, clock.clone()).await;
    for installation in 0..5 {
        assert_eq!(post(&app, &event(installation, "1.0.0")).await.status, 204);
    }
    assert_eq!((app.proxy.spool_usage().entries, asked.load(Ordering::SeqCst)), (5, 1));

    // The Pod Server is down when the answer expires: the entries keep waiting.
    *answer.lock().unwrap() = "";
    clock.advance(SignedDuration::from_hours(2));
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.left, report.ended), (0, 5, Ended::UnknownCohort));
    assert_eq!(vendor.bytes(), b"");
    // New reports are not stored.
    assert_eq!(app.proxy.report(PodReport::Daily).await, Ok(Some(Dropped::UnknownCohort)));

    *answer.lock().unwrap() = r#"{"count":33}"#;
    clock.advance(SignedDuration::from_mins(2));
    assert_eq!(app.proxy.flush().await.sent, 5);
    assert_eq!(vendor.events()[0]["origin"]["pod"]["user_count_range"], "20–49");

    // The Pod has become small: the entries are discarded.
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    *answer.lock().unwrap() = r#"{"count":19}"#;
    clock.advance(SignedDuration::from_hours(2));
    let report = app.proxy.flush().await;
    assert_eq!((report.sent, report.withheld, report.left), (0, 1, 0));
    assert_eq!(vendor.requests().len(), 1);
}

#[tokio::test]
async fn nobody_is_asked_for_the_number_of_accounts_if_it_decides_nothing() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (url, asked) = pod_server(Arc::new(std::sync::Mutex::new(r#"{"count":33}"#))).await;
    for analytics in ["enabled = false\nmin_cohort_size = 20", "usage.meta_user_count.enabled = false"] {
        let text = toml(&vendor.url, folder.path(), analytics, &format!("accounts.url = '{url}'"));
        let app = proxy(&text).await;
        assert_eq!(post(&app, SAMPLE).await.status, 204);
        app.proxy.report(PodReport::Startup).await.unwrap();
        app.proxy.flush().await;
        app.shutdown().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_policy_for_apps_says_what_is_in_force_and_can_be_cached() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let analytics = "preset = 'gdpr'\nusage.user_platform.deny_list = ['secret-platform']";
    let app = proxy(&toml(&vendor.url, folder.path(), analytics, "accounts.fixed = 20")).await;
    let path = "/cloud-api-proxy/v1/analytics/policy";
    let answer = raw(&app, request("GET", path, "origin: https://app.example\r\n", "")).await;
    let expected = json!({ "enabled": true, "max_locales": 2,
        "data_points": ["usage.user_app_version", "usage.user_platform", "usage.user_lang"] });
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
    assert!(answer.head.contains("cache-control: public, max-age=300"), "{answer:?}");
    assert!(answer.head.contains("access-control-allow-origin: *"), "{answer:?}");
    let etag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"a\", W/{etag}"), "*".to_owned()] {
        let again = raw(&app, request("GET", path, &format!("if-none-match: {known}\r\n"), "")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
    }

    let small = toml(&vendor.url, folder.path(), analytics, "accounts.fixed = 19");
    app.proxy.reload(Config::from_toml(&small).unwrap()).await.unwrap();
    let answer = raw(&app, request("GET", path, &format!("if-none-match: {etag}\r\n"), "")).await;
    let expected = json!({ "enabled": false, "max_locales": null, "data_points": [] });
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
}

#[tokio::test]
async fn a_browser_may_send_events_from_any_origin_but_nothing_of_its_user() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    let headers = "origin: https://app.example\r\naccess-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n";
    let preflight = raw(&app, request("OPTIONS", EVENT, headers, "")).await;
    assert_eq!(preflight.status, 200);
    for header in [
        "access-control-allow-origin: *",
        "access-control-allow-methods: GET,POST",
        "access-control-allow-headers: content-type",
        "access-control-max-age: 7200",
    ] {
        assert!(preflight.head.contains(header), "{header}: {preflight:?}");
    }
    assert!(!preflight.head.contains("credentials"));
    for body in [SAMPLE, "[]"] {
        let answer = raw(&app, request("POST", EVENT, "origin: https://app.example\r\n", body)).await;
        assert!(answer.head.contains("access-control-allow-origin: *"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_event_is_answered_with_a_problem_of_the_right_status() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    let large = format!("{{\"origin\":{{}},\"data\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(post(&app, &large).await.status, 413);
    let chunked = format!(
        "POST {EVENT} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    assert_eq!(raw(&app, chunked).await.status, 413);
    for declared in ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", ""] {
        let request = request("POST", EVENT, "", SAMPLE);
        let request = request.replace("content-type: application/json", &format!("content-type: {declared}"));
        assert_eq!(raw(&app, request).await.status, 415, "{declared}");
    }
    let utf8 = request("POST", EVENT, "", SAMPLE).replace("json\r\n", "json; charset=utf-8\r\n");
    assert_eq!(raw(&app, utf8).await.status, 204);
    let answer = raw(&app, request("GET", EVENT, "", "")).await;
    assert!(answer.head.contains("allow: POST"), "{answer:?}");
    let expected = json!({ "type": "urn:prose-analytics:problem:method-not-allowed",
        "title": "This method is not supported here", "status": 405 });
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), expected);
    tokio::time::timeout(Duration::from_secs(5), app.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_opt_out_breaks_off_a_request_that_is_on_its_way() {
    let vendor = Vendor::start().await;
    vendor.otherwise(Does::Hangs);
    let folder = tempfile::tempdir().unwrap();
    let text = |analytics: &str| toml(&vendor.url, folder.path(), analytics, "");
    let app = proxy(&text("")).await;
    post_many(&app, 10).await;
    let sending = tokio::spawn({
        let app = app.clone();
        async move { app.proxy.flush().await }
    });
    vendor.wait_for(|requests| !requests.is_empty()).await;
    app.proxy.reload(Config::from_toml(&text("enabled = false")).unwrap()).await.unwrap();
    let report =
        tokio::time::timeout(Duration::from_secs(5), sending).await.expect("it does not wait").unwrap();
    assert_eq!((report.sent, report.left), (0, 0));
    assert_eq!(vendor.requests().len(), 1, "and nothing is tried again");
}

#[tokio::test]
async fn an_event_whose_policy_changes_while_accounts_are_asked_for_is_not_stored() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    let accounts = format!("accounts.command = ['sh', '-c', 'touch {}; sleep 1; echo 50']", asked.display());
    let text = |analytics: &str| toml(&vendor.url, folder.path(), analytics, &accounts);
    let app = proxy(&text("min_cohort_size = 5")).await;
    let keeping = tokio::spawn({
        let app = app.clone();
        async move { post(&app, &event(1, "1.0.0")).await }
    });
    until("the accounts are asked for", async || asked.exists()).await;
    app.proxy.reload(Config::from_toml(&text("enabled = false")).unwrap()).await.unwrap();
    keeping.await.unwrap();
    assert_eq!(app.proxy.spool_usage().entries, 0);
}
