use proptest::prelude::*;
use serde_json::{Value, json};
use shared::data_point::{DataPoint, REGISTRY, UserLang};
use shared::domain::Domain;
use shared::event::Observed;
use shared::version::Version;

use super::*;

const SAMPLE: &str = r#"{
    "name": "account:signin", "data": { "credential_type": "password" },
    "origin": {
        "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
                 "user_preferred_locales": ["de-CH", "en"] },
        "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
    }
}"#;

fn salt() -> Salt {
    Salt::from_bytes(&[0x61; Salt::LEN]).unwrap()
}

fn facts() -> PodFacts {
    PodFacts::of(Domain::parse("example.org").unwrap())
        .with_version(Some(Observed::from(Version::parse("0.5.0"))))
        .with_accounts(Some(33))
}

fn policy(text: &str) -> Policy {
    let document = shared::config::parse_toml(&format!("[vendor_analytics]\n{text}")).unwrap();
    Policy::resolve(&document).unwrap()
}

fn sent(policy: &Policy, facts: &PodFacts, event: &str) -> Result<Value, Dropped> {
    let event = Event::from_json(event.as_bytes()).unwrap();
    outgoing(policy, facts, &salt(), event).map(|event| serde_json::to_value(event).unwrap())
}

/// The app part of the sample, with `platform` and `locales` as given.
#[track_caller]
fn check_app(text: &str, platform: &str, locales: &[&str], expected: Value) {
    let event = json!({ "origin": {
        "app": { "name": "prose-app-web", "version": "1.0.1", "platform": platform,
                 "user_preferred_locales": locales },
        "pod": { "user_hash": "19a124bd2f89edfe" },
    }});
    let sent = sent(&policy(text), &facts(), &event.to_string()).unwrap();
    assert_eq!(sent["origin"]["app"], expected, "{text}");
}

#[track_caller]
fn check_platform(lists: &str, platform: &str, expected: Option<&str>) {
    let event = json!({ "origin": { "app": { "platform": platform },
        "pod": { "user_hash": "19a124bd2f89edfe" } } });
    let sent = sent(&policy(lists), &facts(), &event.to_string()).unwrap();
    assert_eq!(sent["origin"]["app"]["platform"].as_str(), expected, "{lists}: {platform}");
}

#[test]
fn the_sample_event_leaves_salted_with_the_pods_own_size_and_without_name_and_data() {
    let expected = json!({
        "name": "app:daily",
        "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
                     "user_preferred_locales": ["de-CH", "en"] },
            "pod": { "domain_hash": "bfabc37432958b06", "user_hash": "8f113d7b9a078c36",
                     "user_count_min": 20, "user_count_max": 49,
                     "user_count_range": "20–49", "user_count_range_open": "20+" },
        },
        "proxied": true,
    });
    assert_eq!(sent(&policy(""), &facts(), SAMPLE).unwrap(), expected);
}

#[test]
fn what_an_app_says_about_the_pod_is_ignored() {
    let event = json!({ "name": "pod:daily", "proxied": false, "origin": { "pod": {
        "domain_hash": "ffffffffffffffff", "user_hash": "19a124bd2f89edfe", "version": "6.6.6",
        "user_count_min": 666, "user_count_max": 667, "user_count_range": "canary",
        "user_count_range_open": "canary", "identifiable": { "domain": "canary.example" } } } });
    let policy = policy("usage.meta_user_count.enabled = false");
    let expected = json!({ "name": "app:daily", "origin": { "app": {}, "pod": {
        "domain_hash": "bfabc37432958b06", "user_hash": "8f113d7b9a078c36" } }, "proxied": true });
    assert_eq!(sent(&policy, &facts(), &event.to_string()).unwrap(), expected);
}

#[test]
fn an_installation_is_counted_even_if_everything_about_its_app_is_stripped() {
    check_app("usage.enabled = false", "web", &["de"], json!({}));
}

#[test]
fn a_data_point_that_is_off_is_stripped() {
    let (name, version) = ("prose-app-web", "1.0.1");
    check_app(
        "usage.user_app_version.enabled = false",
        "web",
        &["de"],
        json!({ "platform": "web", "user_preferred_locales": ["de"] }),
    );
    check_app(
        "usage.user_platform.enabled = false",
        "web",
        &["de"],
        json!({ "name": name, "version": version, "user_preferred_locales": ["de"] }),
    );
    check_app(
        "usage.user_lang.enabled = false",
        "web",
        &["de"],
        json!({ "name": name, "version": version, "platform": "web" }),
    );
    check_app(
        "usage.user_lang.max_locales = 2",
        "web",
        &["de", "en", "fr"],
        json!({ "name": name, "version": version, "platform": "web", "user_preferred_locales": ["de", "en"] }),
    );
}

#[test]
fn an_allow_list_takes_full_names_and_families_and_nothing_that_is_not_recognised() {
    let macos = "usage.user_platform.allow_list = ['macos']";
    check_platform(macos, "macos-aarch64", Some("macos-aarch64"));
    check_platform(macos, "macos", Some("macos"));
    check_platform(macos, "linux", None);
    check_platform(macos, "macos-toaster", Some("macos"));
    check_platform(macos, "plan9", None);
    let full = "usage.user_platform.allow_list = ['macos-aarch64']";
    check_platform(full, "macos-aarch64", Some("macos-aarch64"));
    check_platform(full, "macos-x86_64", None);
    check_platform(full, "macos", None);
    let exotic = "usage.user_platform.allow_list = ['plan9']";
    check_platform(exotic, "plan9", None);
    check_platform("usage.user_platform.allow_list = ['unrecognised']", "plan9", Some("unrecognised"));
    check_platform("usage.user_platform.allow_list = []", "web", None);
}

#[test]
fn a_deny_list_wins_and_takes_also_what_is_not_recognised() {
    let secret = "usage.user_platform.deny_list = ['secret']";
    check_platform(secret, "secret", None);
    check_platform(secret, "secret-x86_64", None);
    check_platform(secret, "other", Some("unrecognised"));
    check_platform(secret, "web", Some("web"));
    check_platform("usage.user_platform.deny_list = ['unrecognised']", "other", None);
    let both = "usage.user_platform.allow_list = ['macos']\nusage.user_platform.deny_list = ['macos-x86_64']";
    check_platform(both, "macos-x86_64", None);
    check_platform(both, "macos-aarch64", Some("macos-aarch64"));
}

#[test]
fn the_domain_leaves_only_where_the_operator_opted_in() {
    let sent = sent(&policy("acquisition.pod_domain.enabled = true"), &facts(), SAMPLE).unwrap();
    assert_eq!(sent["origin"]["pod"]["identifiable"], json!({ "domain": "example.org" }));
}

#[test]
fn the_pods_own_report_has_its_version_and_size_and_no_installation() {
    let own = |text: &str| {
        let event = filter(&policy(text), &facts(), Report::Pod(PodReport::Daily)).unwrap();
        serde_json::to_value(event).unwrap()
    };
    let expected = json!({ "name": "pod:daily", "origin": { "pod": { "domain_hash": "bfabc37432958b06",
        "version": "0.5.0", "user_count_min": 20, "user_count_max": 49, "user_count_range": "20–49",
        "user_count_range_open": "20+" } }, "proxied": true });
    assert_eq!(own(""), expected);
    let counted_only = json!({ "name": "pod:daily",
        "origin": { "pod": { "domain_hash": "bfabc37432958b06" } }, "proxied": true });
    assert_eq!(own("usage.enabled = false"), counted_only);
}

#[test]
fn an_event_is_dropped_for_one_of_four_reasons() {
    let check = |text: &str, accounts, event, expected| {
        let facts = facts().with_accounts(accounts);
        assert_eq!(sent(&policy(text), &facts, event).unwrap_err(), expected);
    };
    check("", Some(33), r#"{"origin":{"app":{"platform":"web"}}}"#, Dropped::NoUserHash);
    check("enabled = false", Some(33), SAMPLE, Dropped::Disabled);
    check("min_cohort_size = 34", Some(33), SAMPLE, Dropped::SmallCohort);
    check("min_cohort_size = 1", None, SAMPLE, Dropped::UnknownCohort);
}

fn any_names() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(prop::collection::vec(any_platform(), 0..4))
}

fn any_platform() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "macos",
            "macos-aarch64",
            "web",
            "linux-x86_64",
            "secret",
            "unrecognised",
            "MacOS"
        ])
        .prop_map(str::to_owned),
        "[a-z0-9]{1,6}(-[a-z0-9_]{1,6})?",
    ]
}

prop_compose! {
    fn any_policy()(
        switches in prop::array::uniform3(prop::bool::weighted(0.7)),
        points in prop::collection::vec(prop::bool::weighted(0.7), REGISTRY.len()),
        min_cohort_size in prop::option::weighted(0.3, 0..50_u32),
        max_locales in prop::option::of(1..4_u32),
        lists in [any_names(), any_names()],
    ) -> (Policy, Vec<&'static str>) {
        let [enabled, usage, acquisition] = switches;
        let category = |key: &str| if key.starts_with("usage.") { usage } else { acquisition };
        let on = REGISTRY.iter().zip(&points).filter(|(point, on)| enabled && **on && category(point.key));
        let in_force = on.map(|(point, _)| point.key).collect();
        let mut text = format!("enabled = {enabled}\nusage.enabled = {usage}\nacquisition.enabled = {acquisition}\n");
        for (point, on) in REGISTRY.iter().zip(points) {
            text += &format!("{}.enabled = {on}\n", point.key);
        }
        let numbers = [("min_cohort_size", min_cohort_size), ("usage.user_lang.max_locales", max_locales)];
        for (key, n) in numbers {
            text += &n.map(|n| format!("{key} = {n}\n")).unwrap_or_default();
        }
        for (key, list) in ["allow_list", "deny_list"].iter().zip(lists) {
            text += &list.map(|list| format!("usage.user_platform.{key} = {list:?}\n")).unwrap_or_default();
        }
        (policy(&text), in_force)
    }
}

prop_compose! {
    fn any_event()(
        name in "[a-z:]{0,10}",
        app in prop::option::of((
            prop::option::of(prop_oneof![Just("prose-app-web".to_owned()), "[a-z]{1,8}"]),
            prop::option::of(prop_oneof![Just("1.0.1".to_owned()), "[0-9.]{1,8}"]),
            prop::option::of(any_platform()),
            prop::option::of(prop::collection::vec(prop_oneof!["[a-z]{2}-[A-Z]{2}", "[a-z]{1,8}"], 0..20)),
        )),
        hash in "[0-9a-f]{16}",
        count in prop::option::of(0..1_000_u32),
        domain in prop::option::of(Just("canary.example")),
    ) -> Value {
        let app = app.map(|(name, version, platform, locales)| {
            let mut app = json!({});
            for (key, value) in [("name", json!(name)), ("version", json!(version)),
                ("platform", json!(platform)), ("user_preferred_locales", json!(locales))]
            {
                if !value.is_null() {
                    app[key] = value;
                }
            }
            app
        });
        json!({ "name": name, "data": { "canary": 1 }, "origin": { "app": app, "pod": {
            "user_hash": hash, "user_count_min": count, "user_count_max": count, "version": "6.6.6",
            "identifiable": { "domain": domain } } } })
    }
}

/// The paths of the leaves of `value`; an item of a list has the path of the list.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value.as_object() {
        Some(object) if !object.is_empty() => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// What leaves with every event that leaves at all, whatever the policy.
const ALWAYS: [&str; 5] = ["name", "proxied", "origin.app", "origin.pod.domain_hash", "origin.pod.user_hash"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn nothing_leaves_that_is_not_in_force(
        (policy, in_force) in any_policy(), event in any_event(), accounts in prop::option::of(0..200_u32),
    ) {
        let facts = facts().with_accounts(accounts);
        if policy.permits(accounts).is_err() {
            prop_assert!(sent(&policy, &facts, &event.to_string()).is_err());
            return Ok(());
        }
        let parsed = Event::from_json(event.to_string().as_bytes()).unwrap();
        let own = filter(&policy, &facts, Report::Pod(PodReport::Startup)).unwrap();
        for event in [outgoing(&policy, &facts, &salt(), parsed).unwrap(), own] {
            let value = serde_json::to_value(&event).unwrap();
            let mut found = Vec::new();
            leaves(&value, "", &mut found);
            for path in found.iter().filter(|path| !ALWAYS.contains(&path.as_str())) {
                let point = REGISTRY.iter().find(|p| p.fields.contains(&path.as_str()));
                prop_assert!(point.is_some_and(|point| in_force.contains(&point.key)), "{} left", path);
            }
            prop_assert!(!value.to_string().contains("canary"));
            let locales = value["origin"]["app"]["user_preferred_locales"].as_array().map_or(0, Vec::len);
            let options = policy.options(&UserLang::DECLARATION);
            let max = options.and_then(|options| options.number(&UserLang::MAX_LOCALES)).unwrap_or(u32::MAX);
            prop_assert!(locales <= usize::try_from(max).unwrap());
        }
    }

    #[test]
    fn filtering_twice_changes_nothing(
        (policy, _) in any_policy(), event in any_event(), accounts in prop::option::of(0..200_u32),
    ) {
        let facts = facts().with_accounts(accounts);
        let event = Event::from_json(event.to_string().as_bytes()).unwrap();
        if let Ok(once) = outgoing(&policy, &facts, &salt(), event) {
            let twice = filter(&policy, &facts, once.clone().into_report()).unwrap();
            prop_assert_eq!(serde_json::to_string(&twice).unwrap(), serde_json::to_string(&once).unwrap());
            prop_assert_eq!(twice, once);
        }
    }
}
