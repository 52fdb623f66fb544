//! The faults of the proxy in today's Pod Server, tried on this one: twelve lessons, each a test.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::clock::FixedClock;

use crate::stand_in::*;

const CANARY: &str = "canary";

/// A proxy with a vendor behind it.
struct Stage {
    vendor: Vendor,
    folder: tempfile::TempDir,
    app: pod_proxy::app::App,
}

impl Stage {
    async fn set(analytics: &str, settings: &str) -> Self {
        let vendor = Vendor::start().await;
        let folder = tempfile::tempdir().unwrap();
        let app = proxy(&toml(&vendor.url, folder.path(), analytics, settings)).await;
        Self { vendor, folder, app }
    }

    /// What the vendor gets for one event.
    async fn sent(&self, event: &str) -> Vec<Value> {
        let answer = post(&self.app, event).await;
        assert!(answer.status == 204, "{answer:?}");
        self.app.proxy.flush().await;
        self.vendor.events()
    }
}

#[tokio::test]
async fn lesson_1_nothing_but_post_on_the_exact_path_is_taken_or_relayed() {
    for analytics in ["", "enabled = false"] {
        let stage = Stage::set(analytics, "").await;
        let base = "/cloud-api-proxy/v1/analytics";
        for (method, target, expected) in [
            ("GET", EVENT.to_owned(), 405),
            ("PUT", EVENT.to_owned(), 405),
            ("PATCH", EVENT.to_owned(), 405),
            ("DELETE", EVENT.to_owned(), 405),
            ("TRACE", EVENT.to_owned(), 405),
            ("post", EVENT.to_owned(), 405),
            ("POST", format!("{EVENT}/"), 404),
            ("POST", "/cloud-api-proxy//v1/analytics/event".to_owned(), 404),
            ("POST", format!("/{EVENT}"), 404),
            ("POST", format!("{base}/%65vent"), 404),
            ("POST", format!("{base}/./event"), 404),
            ("POST", format!("{base}/x/../event"), 404),
            ("POST", format!("{base}/../../../../v1/secret"), 404),
            ("POST", format!("{base}/..%2f..%2fsecret"), 404),
            ("POST", format!("{base}/EVENT"), 404),
            ("POST", format!("{base}/events"), 404),
            ("POST", format!("{EVENT};canary"), 404),
            ("GET", format!("{base}/"), 404),
            ("GET", "/".to_owned(), 404),
            ("CONNECT", "prose.org:443".to_owned(), 404),
            ("POST", "http://prose.org/_api/cloud/v1/secret".to_owned(), 404),
        ] {
            let answer = raw(&stage.app, request(method, &target, "", SAMPLE)).await;
            assert_eq!(answer.status, expected, "{method} {target}: {answer:?}");
            assert!(
                answer.head.contains("content-type: application/problem+json"),
                "{method} {target}: {answer:?}"
            );
        }
        stage.app.proxy.flush().await;
        assert_eq!(stage.vendor.bytes(), b"", "{analytics}");
    }
}

#[tokio::test]
async fn lesson_2_unknown_fields_name_and_data_do_not_pass_and_odd_types_are_no_way_around_the_filter() {
    let stage = Stage::set("usage.meta_user_count.enabled = false", "").await;
    let event = json!({
        "name": CANARY, "data": { CANARY: CANARY }, CANARY: [CANARY],
        "origin": { CANARY: CANARY,
            "app": { "platform": "web", CANARY: CANARY },
            "pod": { "user_hash": "19a124bd2f89edfe", CANARY: CANARY, "user_count_range": CANARY,
                     "user_count_min": 666, "identifiable": { "domain": "canary.example", CANARY: 1 } },
        },
    });
    let sent = stage.sent(&event.to_string()).await;
    assert_eq!(sent[0]["origin"]["app"], json!({ "platform": "web" }));
    for (pointer, odd) in [
        ("/origin/app/platform", json!({ CANARY: 1 })),
        ("/origin/app/platform", json!([CANARY])),
        ("/origin/app/platform", json!(7)),
        ("/origin/app/user_preferred_locales", json!(CANARY)),
        ("/origin/app/user_preferred_locales", json!([{ CANARY: 1 }])),
        ("/origin/app/version", json!([CANARY])),
        ("/origin/pod/user_hash", json!({ CANARY: 1 })),
        ("/origin/pod/user_hash", json!(CANARY)),
        ("/origin/pod", json!([CANARY])),
        ("/name", json!({ CANARY: 1 })),
    ] {
        let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
        *event.pointer_mut(pointer).unwrap() = odd;
        let answer = post(&stage.app, &event.to_string()).await;
        assert_eq!(answer.status, 422, "{pointer}: {answer:?}");
        assert!(!answer.body.contains(CANARY), "{pointer}: {answer:?}");
    }
    stage.app.proxy.flush().await;
    assert_eq!(stage.vendor.requests().len(), 1);
    assert!(!String::from_utf8_lossy(&stage.vendor.bytes()).contains(CANARY));
    assert!(!String::from_utf8_lossy(&stage.vendor.bytes()).contains("666"));
}

#[tokio::test]
async fn lesson_3_the_version_of_any_app_is_stripped() {
    let stage = Stage::set("usage.user_app_version.enabled = false", "").await;
    for name in ["prose-app-web", "other-app", ""] {
        let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
        event["origin"]["app"]["name"] = name.into();
        let app = stage.sent(&event.to_string()).await.pop().unwrap()["origin"]["app"].take();
        assert_eq!((&app["name"], &app["version"]), (&Value::Null, &Value::Null), "{name}");
    }
}

#[tokio::test]
async fn lesson_4_lists_match_a_platform_in_full_or_by_family() {
    let platform = async |lists: &str, platform: &str| {
        let stage = Stage::set(lists, "").await;
        let mut event: Value = serde_json::from_str(SAMPLE).unwrap();
        event["origin"]["app"]["platform"] = platform.into();
        stage.sent(&event.to_string()).await.pop().unwrap()["origin"]["app"]["platform"].take()
    };
    let allow = "usage.user_platform.allow_list = ['macos']";
    assert_eq!(platform(allow, "macos-aarch64").await, "macos-aarch64");
    assert_eq!(platform("usage.user_platform.deny_list = ['secret']", "secret-x86_64").await, Value::Null);
}

#[tokio::test]
async fn lesson_5_a_cohort_may_be_larger_than_255_and_no_locales_at_all_is_said_otherwise() {
    let stage = Stage::set("min_cohort_size = 300", "accounts.fixed = 299").await;
    assert_eq!(stage.sent(SAMPLE).await, [] as [Value; 0]);
    let stage = Stage::set("min_cohort_size = 300", "accounts.fixed = 300").await;
    assert_eq!(stage.sent(SAMPLE).await.len(), 1);
    let text = "[vendor_analytics]\nusage.user_lang.max_locales = 0";
    assert!(pod_proxy::config::Config::from_toml(text).is_err());
}

#[tokio::test]
async fn lesson_6_no_header_of_the_app_goes_out_and_none_of_the_vendor_comes_back() {
    let stage = Stage::set("", "").await;
    let headers: String = [
        "user-agent",
        "accept-language",
        "cookie",
        "authorization",
        "referer",
        "origin",
        "forwarded",
        "x-forwarded-for",
        "x-real-ip",
        "cf-connecting-ip",
        "traceparent",
        "x-request-id",
        "dnt",
        "accept",
    ]
    .map(|name| format!("{name}: {CANARY}\r\n"))
    .concat();
    let answer = raw(&stage.app, request("POST", EVENT, &headers, SAMPLE)).await;
    assert_eq!(answer.status, 204);
    stage.app.proxy.flush().await;
    let requests = stage.vendor.requests();
    let mut names: Vec<_> =
        requests[0].head.lines().skip(1).map(|line| line.split_once(':').unwrap().0).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "content-length", "content-type", "host"]);
    assert!(!String::from_utf8_lossy(&stage.vendor.bytes()).contains(CANARY));
    // The vendor has answered with a cookie, which no app may get.
    assert!(stage.app.proxy.spool_usage().entries == 0, "the vendor has not answered");
    for (method, target) in
        [("POST", EVENT), ("GET", "/cloud-api-proxy/v1/analytics/policy"), ("GET", "/healthz")]
    {
        let answer = raw(&stage.app, request(method, target, &headers, SAMPLE)).await;
        assert!(answer.status == 200 || answer.status == 204, "{answer:?}");
        for of_the_vendor in ["set-cookie", "vendor=", CANARY] {
            assert!(!answer.head.contains(of_the_vendor), "{answer:?}");
            assert!(!answer.body.contains(of_the_vendor), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn lesson_7_json_that_is_no_event_is_a_problem_and_no_panic() {
    let stage = Stage::set("", "").await;
    for (body, expected) in [
        ("[]", 422),
        ("\"x\"", 422),
        ("{\"origin\":\"x\"}", 422),
        ("{}", 422),
        ("null", 422),
        ("7", 422),
        ("", 400),
        ("{", 400),
        ("\u{0}", 400),
    ] {
        let answer = post(&stage.app, body).await;
        assert_eq!(answer.status, expected, "{body}: {answer:?}");
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], expected, "{body}");
    }
    assert_eq!(stage.sent(SAMPLE).await.len(), 1);
}

#[tokio::test]
async fn lesson_8_the_number_of_accounts_is_not_asked_for_with_every_event_and_never_if_analytics_are_off() {
    let asked = tempfile::tempdir().unwrap();
    let path = asked.path().join("asked");
    let source = format!("accounts.command = ['sh', '-c', 'echo x >> {}; echo 33']", path.display());
    let stage = Stage::set("min_cohort_size = 20", &source).await;
    for installation in 0..20 {
        assert_eq!(post(&stage.app, &event(installation, "1.0.0")).await.status, 204);
    }
    stage.app.proxy.flush().await;
    assert_eq!(stage.vendor.events().len(), 20);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");

    std::fs::remove_file(&path).unwrap();
    let stage = Stage::set("enabled = false\nmin_cohort_size = 20", &source).await;
    assert_eq!(stage.sent(SAMPLE).await, [] as [Value; 0]);
    assert!(!path.exists());
}

#[tokio::test]
async fn lesson_9_a_vendor_who_is_away_costs_neither_the_event_nor_the_apps_time() {
    let stage = Stage::set("", "request_timeout = 'PT1S'").await;
    stage.vendor.next([Does::Hangs, Does::answer(503), Does::Resets]);
    assert_eq!(post(&stage.app, SAMPLE).await.status, 204);
    for _ in 0..3 {
        let flush = tokio::spawn({
            let app = stage.app.clone();
            async move { app.proxy.flush().await }
        });
        let before = tokio::time::Instant::now();
        assert_eq!(post(&stage.app, SAMPLE).await.status, 204);
        assert!(before.elapsed() < Duration::from_millis(900), "the app waited for the vendor");
        assert_eq!(flush.await.unwrap().left, 1);
    }
    assert_eq!(stage.app.proxy.flush().await.sent, 1);
}

#[tokio::test]
async fn lesson_10_the_salt_is_the_owners_alone_and_a_truncated_one_is_refused() {
    let stage = Stage::set("", "").await;
    let path = stage.folder.path().join("salt");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    stage.app.shutdown().await;
    std::fs::write(&path, [1; 100]).unwrap();
    let config = toml(&stage.vendor.url, stage.folder.path(), "", "");
    let config = pod_proxy::config::Config::from_toml(&config).unwrap();
    let error = pod_proxy::app::App::start(config, Default::default()).await.unwrap_err();
    assert!(error.to_string().contains("has 100 bytes and not 256"), "{error}");
}

#[tokio::test]
async fn lesson_11_the_pod_reports_its_version_at_the_start_and_shows_what_was_sent() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = "pod_version = '0.5.0'\naccounts.fixed = 12\nflush_interval = 'PT1S'";
    let config =
        pod_proxy::config::Config::from_toml(&toml(&vendor.url, folder.path(), "", settings)).unwrap();
    let app = pod_proxy::app::App::start(config.clone(), Default::default()).await.unwrap();
    vendor.wait_for(|requests| !requests.is_empty()).await;
    app.shutdown().await;
    let expected = json!({ "name": "pod:startup", "origin": { "pod": { "domain_hash": "bfabc37432958b06",
        "version": "0.5.0", "user_count_min": 10, "user_count_max": 19, "user_count_range": "10–19",
        "user_count_range_open": "10+" } }, "proxied": true });
    assert_eq!(vendor.events(), [expected]);
    let mut log = Vec::new();
    let json = pod_proxy::commands::Format::Json;
    pod_proxy::commands::sent::sent(&config, 10, json, &mut log).unwrap();
    let body = vendor.requests()[0].body.clone();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains(body.trim_matches(['[', ']'])), "{log}");
}

#[tokio::test]
async fn lesson_12_the_vendor_does_not_see_when_somebody_starts_an_app() {
    let minutes = async |installations: &[(i64, usize)]| {
        let vendor = Vendor::start().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("salt"), [7; 256]).unwrap();
        let clock = Arc::new(FixedClock::new("2026-03-01T10:00:00Z".parse().unwrap()));
        let app = proxy_at(&toml(&vendor.url, folder.path(), "", ""), clock.clone()).await;
        for (minute, installation) in installations {
            clock.advance(SignedDuration::from_mins(*minute));
            assert_eq!(post(&app, &event(*installation, "1.0.0")).await.status, 204);
        }
        assert_eq!(vendor.bytes(), b"");
        app.proxy.flush().await;
        let requests = vendor.requests();
        assert_eq!(requests.len(), 1);
        requests[0].body.clone()
    };
    assert_eq!(minutes(&[(1, 1), (2, 2), (3, 3)]).await, minutes(&[(5, 3), (10, 1), (20, 2), (1, 2)]).await);
}
