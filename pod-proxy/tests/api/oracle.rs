//! The leak oracle: puts marker values into every place of a request, and searches for them wherever bytes go.
//!
//! Some markers may never leave (`canary`, the pseudonym that the app sent, what it says about the Pod). Others resemble
//! real values of a data point, and may leave only if the policy, which is random, allows it. What a round left behind is
//! removed before the next one, so that a byte that was allowed earlier does not look like a leak.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use pod_proxy::config::Config;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use shared::clock::FixedClock;
use shared::policy::Policy;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::by_lot::{CASES_IN_A_ROUND, TOO_LATE, any_policy, any_request};
use crate::stand_in::*;

const ROUNDS: usize = 220;
const SEEDS: [u64; 3] = [0x5eed, 0xcafe, 2_026];
const SEED: u64 = SEEDS[0];

/// What no policy lets out.
const NEVER: [&str; 7] = ["canary", "deadbeef", "feedface", "6666.", "666.6.6", "Canary", "CANARY"];

/// A log that can be searched.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that the crate logs, at every level.
fn capture_logs() -> Captured {
    let captured = Captured::default();
    let writer = captured.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let targets = Targets::new().with_target("pod_proxy", LevelFilter::TRACE);
    // Another test of this file may have installed its own, which panics as well but cannot be searched.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer).with(targets));
    captured
}

#[track_caller]
fn assert_absent(marker: &str, bytes: &[u8], place: &str, context: &str) {
    // A search in text is many times faster. A marker is text, so bytes that are not cannot hide one.
    let text = String::from_utf8_lossy(bytes);
    if let Some(at) = text.find(marker) {
        let before: String =
            text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
        let from: String = text[at..].chars().take(60).collect();
        panic!("`{marker}` is in {place}: …{before}{from}…\n{context}");
    }
}

/// What a policy lets out, by what `pod-proxy policy --format json` says of it.
#[derive(Clone, Debug)]
struct Shares {
    user_app_version: bool,
    meta_user_count: bool,
    /// The allow list and the deny list.
    user_platform: Option<[Option<Vec<String>>; 2]>,
    /// The greatest number of locales.
    user_lang: Option<usize>,
    pod_domain: bool,
}

impl Shares {
    /// `None` if a Pod with so many accounts sends nothing.
    fn of(policy: &Policy, accounts: u32) -> Option<Self> {
        let policy = serde_json::to_value(policy).unwrap();
        let is_small = policy["min_cohort_size"].as_u64().is_some_and(|least| u64::from(accounts) < least);
        if policy["enabled"] == false || is_small {
            return None;
        }
        let section = |category: &str, name: &str| {
            let section = &policy[category][name];
            (policy[category]["enabled"] == true && section["enabled"] == true).then_some(section)
        };
        let list = |section: &Value, key: &str| serde_json::from_value(section[key].clone()).unwrap();
        Some(Self {
            user_app_version: section("usage", "user_app_version").is_some(),
            meta_user_count: section("usage", "meta_user_count").is_some(),
            user_platform: section("usage", "user_platform")
                .map(|section| ["allow_list", "deny_list"].map(|key| list(section, key))),
            user_lang: section("usage", "user_lang")
                .map(|section| section["max_locales"].as_u64().map_or(16, |max| max.try_into().unwrap())),
            pod_domain: section("acquisition", "pod_domain").is_some(),
        })
    }
}

/// The markers of a round that the policy does not allow.
fn forbidden(shares: Option<&Shares>, round: usize) -> Vec<String> {
    let mut markers: Vec<String> = NEVER.iter().chain(&TOO_LATE).map(|marker| (*marker).to_owned()).collect();
    let mut forbid = |allowed: bool, more: &[&str]| {
        if !allowed {
            markers.extend(more.iter().map(|marker| (*marker).to_owned()));
        }
    };
    let Some(shares) = shares else {
        forbid(
            false,
            &["netbsd", "riscv64", "kw-GB", "gv-IM", "\"user_count_", "20–49", "example.org", "prose-app"],
        );
        forbid(false, &[&format!("442.{round}.")]);
        return markers;
    };
    let Shares { user_app_version, meta_user_count, user_platform, user_lang, pod_domain } = shares;
    forbid(*user_app_version, &[&format!("442.{round}."), "prose-app"]);
    forbid(*meta_user_count, &["\"user_count_", "20–49"]);
    forbid(user_lang.is_some(), &["kw-GB", "gv-IM", "\"und\"", "\"user_preferred_locales\""]);
    forbid(*pod_domain, &["example.org", "\"identifiable\""]);
    forbid(user_platform.is_some(), &["netbsd", "riscv64"]);
    for platform in ["netbsd", "netbsd-riscv64"] {
        let allowed = user_platform.as_ref().is_none_or(|lists| lists_allow(lists, platform));
        forbid(allowed, &[&format!("\"{platform}\"")]);
    }
    markers
}

/// Whether an operator's lists let a platform pass.
fn lists_allow([allow, deny]: &[Option<Vec<String>>; 2], platform: &str) -> bool {
    let named = |list: &Vec<String>| {
        list.iter().any(|entry| platform == entry || platform.starts_with(&format!("{entry}-")))
    };
    allow.as_ref().is_none_or(named) && !deny.as_ref().is_some_and(named)
}

/// Whether the policy allows everything that is in an event, and nothing else is.
fn check_event(event: &Value, shares: &Shares, context: &str) {
    let Shares { user_app_version, meta_user_count, user_platform, user_lang, pod_domain } = shares;
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let set = |names: &[(bool, &[&str])]| -> BTreeSet<String> {
        let names = names.iter().filter(|(allowed, _)| *allowed).flat_map(|(_, names)| *names);
        names.map(|name| (*name).to_owned()).collect()
    };
    let (app, pod) = (&event["origin"]["app"], &event["origin"]["pod"]);
    assert_eq!(keys(event), set(&[(true, &["name", "origin", "proxied"])]), "{event}\n{context}");
    assert_eq!(
        (&event["name"], &event["proxied"]),
        (&"app:daily".into(), &true.into()),
        "{event}\n{context}"
    );
    assert_eq!(keys(&event["origin"]), set(&[(true, &["app", "pod"])]), "{event}\n{context}");
    let size: &[&str] = &["user_count_min", "user_count_max", "user_count_range", "user_count_range_open"];
    let of_pod = [
        (true, &["domain_hash", "user_hash"][..]),
        (*meta_user_count, size),
        (*pod_domain, &["identifiable"]),
    ];
    assert_eq!(keys(pod), set(&of_pod), "{event}\n{context}");
    if *pod_domain {
        assert_eq!(pod["identifiable"], serde_json::json!({ "domain": "example.org" }), "{event}\n{context}");
    }
    // An app may leave out any of these.
    let of_app = [
        (*user_app_version, &["name", "version"][..]),
        (user_platform.is_some(), &["platform"]),
        (user_lang.is_some(), &["user_preferred_locales"]),
    ];
    assert!(keys(app).is_subset(&set(&of_app)), "{event}\n{context}");
    for key in ["name", "version", "platform"] {
        assert!(app.get(key).is_none_or(Value::is_string), "{event}\n{context}");
    }
    if let Some(locales) = app.get("user_preferred_locales") {
        let locales = locales.as_array().unwrap();
        assert!(locales.len() <= user_lang.unwrap_or(0), "{event}\n{context}");
        assert!(locales.iter().all(Value::is_string), "{event}\n{context}");
    }
    if let (Some(lists), Some(platform)) = (user_platform, app["platform"].as_str()) {
        assert!(lists_allow(lists, platform), "{event}\n{context}");
    }
}

/// What the oracle has seen. If it sees nothing, it proves nothing.
#[derive(Debug, Default)]
struct Seen {
    taken: usize,
    arrived: usize,
    /// Rounds in which it was allowed and found at the vendor.
    versions: usize,
    platforms: usize,
    locales: usize,
    sizes: usize,
    domains: usize,
    /// Rounds in which a version was allowed and found in the spool.
    spooled: usize,
}

/// 31,680 cases, at least 10,000 of them accepted. The seeds are fixed, and a failure names the policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_marker_that_the_policy_does_not_allow_reaches_socket_spool_logs_metrics_or_answers() {
    let logs = capture_logs();
    let mut taken = 0;
    for seed in SEEDS {
        let seen = play(seed, &logs).await;
        assert!(seen.arrived > 3_000, "{seen:?}");
        let rounds = [seen.versions, seen.platforms, seen.locales, seen.sizes, seen.domains, seen.spooled];
        assert!(rounds.iter().all(|rounds| *rounds > 20), "{seen:?}");
        taken += seen.taken;
    }
    assert!(taken >= 10_000, "{taken} taken");
}

/// All rounds with one seed.
async fn play(seed: u64, logs: &Captured) -> Seen {
    let mut rng = StdRng::seed_from_u64(seed);
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = |analytics: &str, proxy: &str| {
        Config::from_toml(&toml(&vendor.url, folder.path(), analytics, proxy)).unwrap()
    };
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    let mut seen = Seen::default();
    for round in 1..=ROUNDS {
        let (analytics, accounts) = any_policy(&mut rng);
        let in_force = config(&analytics, &format!("accounts.fixed = {accounts}"));
        let policy = in_force.policy.clone();
        logs.0.lock().unwrap().clear();
        // The spool starts empty, so that nothing of an earlier round looks like a leak. The warning about the level
        // shows that the log is captured.
        app.proxy.reload(config("enabled = false", "log_level = 'warn'")).await.unwrap();
        app.proxy.reload(in_force).await.unwrap();
        vendor.forget();
        let shares = Shares::of(&policy, accounts);
        let max_locales = shares.as_ref().and_then(|shares| shares.user_lang).unwrap_or(16);
        let mut cases = tokio::task::JoinSet::new();
        for case in 0..CASES_IN_A_ROUND {
            let (app, request) = (app.clone(), any_request(&mut rng, round, case, max_locales));
            cases.spawn(async move { raw(&app, request).await });
        }
        let forbidden = forbidden(shares.as_ref(), round);
        while let Some(answer) = cases.join_next().await {
            let answer = answer.unwrap();
            assert!([204, 400, 404, 405, 413, 422].contains(&answer.status), "{answer:?}\n{analytics}");
            seen.taken += usize::from(answer.status == 204);
            for marker in &forbidden {
                let answer = format!("{}{}", answer.head, answer.body);
                assert_absent(marker, answer.as_bytes(), "an answer", &analytics);
            }
        }
        let spool = std::fs::read(folder.path().join("spool.redb")).unwrap();
        app.proxy.flush().await;
        let log = logs.0.lock().unwrap().clone();
        assert!(is_in("pod_proxy.log_level", &log), "the log is not captured");
        let places = [
            ("the spool", &spool),
            ("the vendor's socket", &vendor.bytes()),
            ("the logs", &log),
            ("the metrics", &app.proxy.render_metrics().into_bytes()),
        ];
        for marker in &forbidden {
            for (place, bytes) in places {
                assert_absent(marker, bytes, place, &analytics);
            }
        }
        let events = vendor.events();
        seen.arrived += events.len();
        match &shares {
            Some(shares) => events.iter().for_each(|event| check_event(event, shares, &analytics)),
            None => assert_eq!(vendor.bytes(), b"", "{analytics}"),
        }
        let bytes = vendor.bytes();
        let version = format!("442.{round}.");
        seen.versions += usize::from(is_in(&version, &bytes));
        seen.platforms += usize::from(is_in("netbsd-riscv64", &bytes));
        seen.locales += usize::from(is_in("kw-GB", &bytes));
        seen.sizes += usize::from(is_in("20–49", &bytes));
        seen.domains += usize::from(is_in("example.org", &bytes));
        seen.spooled += usize::from(is_in(&version, &spool));
    }
    assert_sent_log_is_clean(folder.path());
    app.shutdown().await;
    seen
}

fn is_in(marker: &str, bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(marker)
}

fn assert_sent_log_is_clean(folder: &Path) {
    for name in ["sent.ndjson", "sent.old.ndjson"] {
        let log = std::fs::read(folder.join(name)).unwrap_or_default();
        for marker in NEVER {
            assert_absent(marker, &log, name, "");
        }
    }
}

/// An event whose allowed values are drawn from `same`, and all others from `other`.
fn event_of(shares: Option<&Shares>, same: &mut StdRng, other: &mut StdRng) -> String {
    let mut draw =
        |allowed: bool, n: u32| if allowed { same.random_range(0..n) } else { other.random_range(0..n) };
    let app_version = shares.is_some_and(|shares| shares.user_app_version);
    let platform = shares.is_some_and(|shares| shares.user_platform.is_some());
    let version = draw(app_version, 1_000);
    let name = ["prose-app-web", "prose-app-ios"][usize::try_from(draw(app_version, 2)).unwrap()];
    let platform_name =
        ["netbsd-riscv64", "netbsd", "web", "secret"][usize::try_from(draw(platform, 4)).unwrap()];
    let max = shares.and_then(|shares| shares.user_lang).unwrap_or(0);
    let locales: Vec<_> = (0..16)
        .map(|n| ["de-CH", "en", "fr-FR", "kw-GB"][usize::try_from(draw(n < max, 4)).unwrap()])
        .collect();
    let noise = draw(false, u32::MAX);
    serde_json::json!({
        "name": format!("event:{noise}"), "data": { "noise": noise }, "proxied": noise % 2 == 0,
        "origin": {
            "app": { "name": name, "version": format!("{version}.0.0"), "platform": platform_name,
                     "user_preferred_locales": locales, "noise": noise },
            "pod": { "user_hash": "19a124bd2f89edfe", "domain_hash": format!("{noise:016x}"),
                     "user_count_min": noise, "version": format!("{}.0.0", noise % 9_999),
                     "identifiable": { "domain": format!("n{noise}.example") } },
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_events_that_differ_only_in_what_is_not_allowed_give_the_same_bytes() {
    let mut rng = StdRng::seed_from_u64(SEED + 1);
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml(&vendor.url, folder.path(), "", "")).await;
    let mut sent = 0;
    for round in 0..300 {
        let (analytics, accounts) = any_policy(&mut rng);
        let text = toml(&vendor.url, folder.path(), &analytics, &format!("accounts.fixed = {accounts}"));
        let config = Config::from_toml(&text).unwrap();
        let policy = config.policy.clone();
        app.proxy.reload(config).await.unwrap();
        let mut requests = Vec::new();
        for other in [1, 2] {
            vendor.forget();
            let mut same = StdRng::seed_from_u64(round);
            let mut other = StdRng::seed_from_u64(round * 10 + other);
            let event = event_of(Shares::of(&policy, accounts).as_ref(), &mut same, &mut other);
            let headers = format!("user-agent: client {}\r\n", other.random::<u32>());
            assert_eq!(raw(&app, request("POST", EVENT, &headers, &event)).await.status, 204);
            app.proxy.flush().await;
            requests.push((vendor.requests(), vendor.bytes()));
        }
        sent += requests[0].0.len();
        assert_eq!(requests[0], requests[1], "{analytics}");
    }
    assert!(sent > 150, "{sent}");
}

/// The time depends on the clock and the salt alone (`forward::schedule`), and the bytes on the reports alone.
#[tokio::test]
async fn what_leaves_does_not_depend_on_when_in_which_order_or_how_often_events_came() {
    let folder = tempfile::tempdir().unwrap();
    let salt = folder.path().join("salt");
    let mut left = Vec::new();
    for turn in 0..3u64 {
        let vendor = Vendor::start().await;
        let data = folder.path().join(turn.to_string());
        let clock = Arc::new(FixedClock::new("2026-03-01T10:00:00Z".parse().unwrap()));
        let own = format!("salt_file = '{}'\naccounts.fixed = 33", salt.display());
        let app = proxy_at(&toml(&vendor.url, &data, "", &own), clock.clone()).await;
        let mut events: Vec<_> = (0..40).map(|installation| event(installation, "1.0.1")).collect();
        events.rotate_left(turn as usize * 13);
        if turn == 2 {
            events.reverse();
            events.extend(events.clone());
        }
        for event in events {
            clock.advance(SignedDuration::from_secs(7 * turn as i64 + 1));
            assert_eq!(post(&app, &event).await.status, 204);
        }
        app.proxy.flush().await;
        let bodies: Vec<_> = vendor.requests().iter().map(|request| request.body.clone()).collect();
        left.push(bodies);
    }
    assert!(!left[0].is_empty());
    assert_eq!(left[0], left[1]);
    assert_eq!(left[0], left[2]);
}
