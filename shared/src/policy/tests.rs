//! What the specification says about the configuration, block by block, and the laws of presets.

use super::*;
use crate::config::parse_toml;
use crate::data_point::{PodDomain, Unit, UserAppVersion, UserLang, UserPlatform};

fn policy(text: &str) -> Policy {
    Policy::resolve(&parse_toml(text).unwrap()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The key and value of each setting that differs from the default's.
fn changed(policy: &Policy) -> Vec<(&str, String)> {
    let default = Policy::default();
    let pairs = policy.settings().iter().zip(default.settings());
    let changed = pairs.filter(|(setting, default)| setting.value != default.value);
    changed.map(|(setting, _)| (setting.key.as_str(), setting.value.to_string())).collect()
}

#[track_caller]
fn mistakes(text: &str, expected: &[&str]) {
    let Mistakes(mut found) = Policy::resolve(&parse_toml(text).unwrap()).unwrap_err();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{text}");
}

/// What the default shares, except for these keys.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let policy = policy(text);
    let expected: Vec<_> = expected.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    assert_eq!(changed(&policy), expected, "{text}");
}

#[test]
fn the_default_shares_everything_that_does_not_identify() {
    let policy = Policy::default();
    assert_eq!(policy.preset(), "default");
    assert!(policy.permits(None).is_ok());
    for point in REGISTRY {
        assert_eq!(policy.in_force(point), !point.identifies, "{}", point.key);
    }
    let set = policy.settings().iter().filter(|setting| !matches!(setting.value, Value::Switch(_)));
    assert!(set.into_iter().all(|setting| setting.value == Value::Unset), "no option is set");
}

#[test]
fn the_specifications_block_for_pod_version() {
    check(
        "[vendor_analytics]\nusage.pod_version.enabled = false # Default: true",
        &[("usage.pod_version.enabled", "false")],
    );
}

#[test]
fn the_specifications_block_for_user_app_version() {
    check(
        "[vendor_analytics]\nusage.user_app_version.enabled = false # Default: true",
        &[("usage.user_app_version.enabled", "false")],
    );
}

#[test]
fn the_specifications_block_for_meta_user_count() {
    let text = "
        [vendor_analytics]
        usage.meta_user_count.enabled = false # Default: true
        # OR disable all analytics when below
        # a certain size to avoid small cohorts.
        min_cohort_size = 11
    ";
    check(text, &[("min_cohort_size", "11"), ("usage.meta_user_count.enabled", "false")]);
    let policy = policy(text);
    assert_eq!(policy.permits(Some(10)), Err(Withheld::SmallCohort));
    assert_eq!(policy.permits(None), Err(Withheld::UnknownCohort));
    assert!(policy.permits(Some(11)).is_ok());
}

#[test]
fn the_specifications_block_for_user_platform() {
    let text = r#"
        [vendor_analytics]
        usage.user_platform.enabled = false # Default: true
        usage.user_platform.allow_list = ["web", "macos", "windows", "ios", "android"]
        usage.user_platform.deny_list = ["your-secret-platform"]
    "#;
    check(
        text,
        &[
            ("usage.user_platform.enabled", "false"),
            ("usage.user_platform.allow_list", "web, macos, windows, ios, android"),
            ("usage.user_platform.deny_list", "your-secret-platform"),
        ],
    );
    assert!(!policy(text).in_force(&UserPlatform::DECLARATION));
}

#[test]
fn the_specifications_block_for_user_lang() {
    let text = "
        [vendor_analytics]
        usage.user_lang.enabled = false # Default: true
        # How many locales to keep at most (default: max).
        usage.user_lang.max_locales = 1 # ≥1
    ";
    check(text, &[("usage.user_lang.enabled", "false"), ("usage.user_lang.max_locales", "1")]);
    mistakes(
        "[vendor_analytics]\nusage.user_lang.max_locales = 0",
        &[
            "vendor_analytics.usage.user_lang.max_locales: must be a whole number from 1 to 4294967295, not `0`",
        ],
    );
}

#[test]
fn the_specifications_block_for_pod_domain() {
    check(
        "[vendor_analytics]\nacquisition.pod_domain.enabled = true # Default: false",
        &[("acquisition.pod_domain.enabled", "true")],
    );
}

#[test]
fn the_specifications_block_for_turning_everything_off() {
    let policy = policy("[vendor_analytics]\nenabled = false");
    assert_eq!(policy.permits(Some(1_000)), Err(Withheld::Disabled));
    assert!(REGISTRY.iter().all(|point| !policy.in_force(point)));
}

const GDPR: [(&str, &str); 2] = [("min_cohort_size", "20"), ("usage.user_lang.max_locales", "2")];

#[test]
fn the_specifications_block_for_gdpr() {
    check("[vendor_analytics]\npreset = \"gdpr\"", &GDPR);
}

#[test]
fn the_specifications_block_for_an_override_of_gdpr() {
    let overridden = "[vendor_analytics.presets.gdpr]\nusage.user_lang.max_locales = 1";
    let expected = [("min_cohort_size", "20"), ("usage.user_lang.max_locales", "1")];
    check(&format!("[vendor_analytics]\npreset = \"gdpr\"\n\n{overridden}"), &expected);
    // Without the preset chosen, its override has no effect; with one that inherits it, it has.
    check(overridden, &[]);
    check(&format!("[vendor_analytics]\npreset = \"lgpd\"\n{overridden}"), &expected);
}

/// The specification shows this block in a comment, as a data point that it decided against.
#[test]
fn the_specifications_abandoned_user_country_is_unknown() {
    let text = "[vendor_analytics]\nusage.user_country.enabled = false # Default: true";
    assert!(Policy::resolve(&parse_toml(text).unwrap()).is_err());
}

#[test]
fn lgpd_decides_as_gdpr_does() {
    check("vendor_analytics.preset = 'lgpd'", &GDPR);
}

#[test]
fn all_shares_also_what_identifies() {
    assert!(policy("vendor_analytics.preset = 'all'").in_force(&PodDomain::DECLARATION));
}

#[test]
fn the_operators_own_keys_are_stronger_than_any_preset() {
    let policy = policy(
        "[vendor_analytics]\npreset = 'gdpr'\nmin_cohort_size = 5\nacquisition.pod_domain.enabled = true\n\
         [vendor_analytics.presets.gdpr]\nmin_cohort_size = 50",
    );
    assert_eq!(policy.min_cohort_size(), Some(5));
    assert!(policy.in_force(&PodDomain::DECLARATION));
}

#[test]
fn a_custom_preset_inherits_through_others_down_to_a_named_one() {
    let policy = policy(
        "[vendor_analytics]\npreset = 'acme-eu'\n\
         [vendor_analytics.presets.acme]\ninherits = 'gdpr'\nusage.user_lang.enabled = false\nmin_cohort_size = 30\n\
         [vendor_analytics.presets.acme-eu]\ninherits = 'acme'\nmin_cohort_size = 40",
    );
    let decided = |key: &str| {
        let setting = policy.settings().iter().find(|setting| setting.key == key).unwrap();
        (setting.value.to_string(), setting.decided_by.to_string())
    };
    let by = |value: &str, layer: &str| (value.to_owned(), layer.to_owned());
    assert_eq!(decided("min_cohort_size"), by("40", "[vendor_analytics.presets.acme-eu]"));
    assert_eq!(decided("usage.user_lang.enabled"), by("false", "[vendor_analytics.presets.acme]"));
    assert_eq!(decided("usage.user_lang.max_locales"), by("2", "preset gdpr"));
    assert_eq!(decided("acquisition.pod_domain.enabled"), by("false", "preset gdpr"));
    assert_eq!(decided("usage.user_platform.allow_list"), by("–", "not set"));
    assert_eq!(decided("usage.pod_version.enabled"), by("true", "preset gdpr"));
}

#[test]
fn a_custom_preset_without_inherits_inherits_default() {
    let own = "[vendor_analytics]\npreset = 'own'\n[vendor_analytics.presets.own]\nmin_cohort_size = 3";
    check(own, &[("min_cohort_size", "3")]);
}

#[test]
fn what_an_operator_turned_off_in_a_weaker_preset_is_not_turned_on_by_a_stronger_one() {
    let text = "[vendor_analytics]\npreset = 'gdpr'\n[vendor_analytics.presets.default]\nusage.user_lang.enabled = false";
    assert!(!policy(text).in_force(&UserLang::DECLARATION));
}

#[test]
fn a_minimum_cohort_may_be_larger_than_a_byte_and_zero_means_none() {
    let large = policy("vendor_analytics.min_cohort_size = 300");
    assert_eq!(large.permits(Some(299)), Err(Withheld::SmallCohort));
    assert!(policy("vendor_analytics.min_cohort_size = 0").permits(None).is_ok());
}

#[test]
fn every_mistake_is_reported_at_once() {
    mistakes(
        r#"
        [vendor_analytics]
        preset = "gpdr"
        presett = "gdpr"
        enable = true
        min_cohort_size = "11"
        usage.user_lang.max_locales = -1
        usage.user_platform.allow_list = "web"
        acquisition = false
        usage.user_country.enabled = false
        [vendor_analytics.presets.gdpr]
        inherits = "all"
        [vendor_analytics.presets.a]
        inherits = "b"
        inherit = "gdpr"
        [vendor_analytics.presets.b]
        inherits = "a"
        [vendor_analytics.presets.c]
        inherits = "nobody"
        "#,
        &[
            "vendor_analytics.acquisition: must be a section, such as `acquisition.enabled = false`, not `false`",
            "vendor_analytics.enable: unknown key; did you mean `enabled`?",
            "vendor_analytics.min_cohort_size: must be a whole number from 0 to 4294967295, not `\"11\"`",
            "vendor_analytics.preset: must be the name of a preset (all, default, gdpr, lgpd, a, b, c), not `\"gpdr\"`",
            "vendor_analytics.presets.a.inherit: unknown key; did you mean `inherits`?",
            "vendor_analytics.presets.a.inherits: the presets inherit each other in a circle; one of them must inherit another one",
            "vendor_analytics.presets.b.inherits: the presets inherit each other in a circle; one of them must inherit another one",
            "vendor_analytics.presets.c.inherits: must be the name of a preset (all, default, gdpr, lgpd, a, b, c), not `\"nobody\"`",
            "vendor_analytics.presets.gdpr.inherits: `gdpr` is a preset of Prose, and what it inherits cannot be changed",
            "vendor_analytics.presett: unknown key; did you mean `preset`?",
            "vendor_analytics.usage.user_country: unknown key; known here: enabled, min_cohort_size, usage.enabled, usage.pod_version.enabled, usage.meta_user_count.enabled, usage.user_app_version.enabled, usage.user_platform.enabled, usage.user_platform.allow_list, usage.user_platform.deny_list, usage.user_lang.enabled, usage.user_lang.max_locales, acquisition.enabled, acquisition.pod_domain.enabled, preset, presets",
            "vendor_analytics.usage.user_lang.max_locales: must be a whole number from 1 to 4294967295, not `-1`",
            "vendor_analytics.usage.user_platform.allow_list: must be a list of platform names, such as [\"web\", \"macos\"], not `\"web\"`",
        ],
    );
}

/// The registry as it might be tomorrow: one more data point, about which nobody has decided anything.
fn tomorrow() -> Vec<Registered> {
    let declaration = Declaration { key: "usage.user_font", on_in: &[], ..UserAppVersion::DECLARATION };
    let new = Registered { unit: Unit::Installation, declaration };
    // Beside the others of its category.
    [new].into_iter().chain(REGISTRY.iter().copied()).collect()
}

#[track_caller]
fn check_tomorrow(text: &str, expected: bool) {
    let registry = tomorrow();
    let policy = Policy::resolve_for(&registry, &parse_toml(text).unwrap()).unwrap();
    assert_eq!(policy.in_force(&registry[0]), expected, "{text}");
}

#[test]
fn a_data_point_added_tomorrow_is_off_in_every_preset_but_all_and_default() {
    check_tomorrow("", true);
    check_tomorrow("vendor_analytics.preset = 'default'", true);
    check_tomorrow("vendor_analytics.preset = 'all'", true);
    check_tomorrow("vendor_analytics.preset = 'gdpr'", false);
    check_tomorrow("vendor_analytics.preset = 'lgpd'", false);
    check_tomorrow("vendor_analytics.preset = 'own'\nvendor_analytics.presets.own.inherits = 'gdpr'", false);
}

#[test]
fn a_data_point_added_tomorrow_is_off_below_a_switch_that_is_off() {
    check_tomorrow("vendor_analytics.enabled = false", false);
    check_tomorrow("vendor_analytics.usage.enabled = false", false);
    check_tomorrow("vendor_analytics.preset = 'all'\nvendor_analytics.usage.enabled = false", false);
    check_tomorrow("vendor_analytics.acquisition.enabled = false", true);
}

#[test]
fn the_serialised_policy_mirrors_the_configuration() {
    let json = serde_json::to_value(policy("vendor_analytics.preset = 'gdpr'")).unwrap();
    assert_eq!(json["enabled"], true);
    assert_eq!(json["preset"], "gdpr");
    assert_eq!(json["min_cohort_size"], 20);
    assert_eq!(json["usage"]["user_lang"], serde_json::json!({ "enabled": true, "max_locales": 2 }));
    assert_eq!(json["usage"]["user_platform"]["allow_list"], serde_json::Value::Null);
    assert_eq!(json["acquisition"]["pod_domain"]["enabled"], false);
    for point in REGISTRY {
        let (category, name) = point.key.split_once('.').unwrap();
        assert!(json[category][name]["enabled"].is_boolean(), "{}", point.key);
    }
}

#[test]
fn what_is_shared_is_in_normal_form_and_within_the_options() {
    use crate::event::{App, Event};
    let event = br#"{"origin":{"app":{"name":"prose-app-web","version":"1.0.1+x","platform":"macos-toaster",
        "user_preferred_locales":["de-CH","en","fr"]}}}"#;
    let from = Event::from_json(event).unwrap().origin.app.unwrap();
    let shared = |text: &str| {
        let mut to = App::default();
        policy(text).permits(None).unwrap().share(&from, &mut to);
        serde_json::to_value(to).unwrap()
    };
    let everything = serde_json::json!({
        "name": "prose-app-web", "version": "1.0.1", "platform": "macos", "user_preferred_locales": ["de-CH", "en", "fr"],
    });
    assert_eq!(shared(""), everything);
    assert_eq!(shared("vendor_analytics.usage.enabled = false"), serde_json::json!({}));
    let some =
        shared("[vendor_analytics.usage]\nuser_lang.max_locales = 1\nuser_platform.deny_list = ['macos']");
    let expected = serde_json::json!({ "name": "prose-app-web", "version": "1.0.1", "user_preferred_locales": ["de-CH"] });
    assert_eq!(some, expected);
}

#[test]
fn nobody_is_asked_for_the_account_count_unless_it_decides_something() {
    assert!(policy("").needs_account_count());
    assert!(!policy("vendor_analytics.enabled = false").needs_account_count());
    assert!(!policy("vendor_analytics.usage.meta_user_count.enabled = false").needs_account_count());
    assert!(policy("[vendor_analytics]\nmin_cohort_size = 3\nusage.enabled = false").needs_account_count());
}
