//! What the specification says about the configuration, block by block, and the laws of presets.

use super::*;
use crate::config::parse_toml;
use crate::data_point::Unit;
use crate::policy::{Shares, UserLang, UserPlatform, Withheld};

fn resolve(text: &str) -> Settings {
    Settings::resolve(&parse_toml(text).unwrap()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn policy(text: &str) -> Policy {
    resolve(text).policy()
}

#[track_caller]
fn mistakes(text: &str, expected: &[&str]) {
    let Mistakes(mut found) = Settings::resolve(&parse_toml(text).unwrap()).unwrap_err();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{text}");
}

/// Everything that the default shares, with the given changes.
#[track_caller]
fn check(text: &str, change: impl FnOnce(&mut Policy)) {
    let mut expected = Policy::default();
    change(&mut expected);
    assert_eq!(policy(text), expected, "{text}");
}

#[test]
fn the_default_shares_everything_that_does_not_identify() {
    let policy = Policy::default();
    assert_eq!(policy.preset, "default");
    let Shares { pod_version, user_app_version, meta_user_count, user_platform, user_lang, pod_domain } =
        policy.shares(None).unwrap();
    assert!(pod_version && user_app_version && meta_user_count && !pod_domain);
    assert_eq!(user_platform.map(|p| (&p.allow_list, &p.deny_list)), Some((&None, &None)));
    assert_eq!(user_lang.map(|l| l.max_locales), Some(None));
}

#[test]
fn the_specifications_block_for_pod_version() {
    check("[vendor_analytics]\nusage.pod_version.enabled = false # Default: true", |policy| {
        policy.usage.pod_version.enabled = false;
    });
}

#[test]
fn the_specifications_block_for_user_app_version() {
    check("[vendor_analytics]\nusage.user_app_version.enabled = false # Default: true", |policy| {
        policy.usage.user_app_version.enabled = false;
    });
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
    check(text, |policy| {
        policy.usage.meta_user_count.enabled = false;
        policy.min_cohort_size = Some(11);
    });
    let policy = policy(text);
    assert_eq!(policy.shares(Some(10)).unwrap_err(), Withheld::SmallCohort);
    assert_eq!(policy.shares(None).unwrap_err(), Withheld::UnknownCohort);
    assert!(policy.shares(Some(11)).is_ok());
}

#[test]
fn the_specifications_block_for_user_platform() {
    let text = r#"
        [vendor_analytics]
        usage.user_platform.enabled = false # Default: true
        usage.user_platform.allow_list = ["web", "macos", "windows", "ios", "android"]
        usage.user_platform.deny_list = ["your-secret-platform"]
    "#;
    check(text, |policy| {
        policy.usage.user_platform = UserPlatform {
            enabled: false,
            allow_list: Some(["web", "macos", "windows", "ios", "android"].map(str::to_owned).to_vec()),
            deny_list: Some(vec!["your-secret-platform".to_owned()]),
        };
    });
    assert!(policy(text).shares(None).unwrap().user_platform.is_none());
}

#[test]
fn the_specifications_block_for_user_lang() {
    let text = "
        [vendor_analytics]
        usage.user_lang.enabled = false # Default: true
        # How many locales to keep at most (default: max).
        usage.user_lang.max_locales = 1 # ≥1
    ";
    check(text, |policy| policy.usage.user_lang = UserLang { enabled: false, max_locales: Some(1) });
    mistakes(
        "[vendor_analytics]\nusage.user_lang.max_locales = 0",
        &[
            "vendor_analytics.usage.user_lang.max_locales: must be a whole number from 1 to 4294967295, not `0`",
        ],
    );
}

#[test]
fn the_specifications_block_for_pod_domain() {
    check("[vendor_analytics]\nacquisition.pod_domain.enabled = true # Default: false", |policy| {
        policy.acquisition.pod_domain.enabled = true;
    });
}

#[test]
fn the_specifications_block_for_turning_everything_off() {
    let policy = policy("[vendor_analytics]\nenabled = false");
    assert_eq!(policy.shares(Some(1_000)).unwrap_err(), Withheld::Disabled);
}

#[test]
fn the_specifications_block_for_gdpr() {
    check("[vendor_analytics]\npreset = \"gdpr\"", |policy| {
        policy.preset = "gdpr".to_owned();
        policy.min_cohort_size = Some(20);
        policy.usage.user_lang.max_locales = Some(2);
    });
}

#[test]
fn the_specifications_block_for_an_override_of_gdpr() {
    let overridden = "[vendor_analytics.presets.gdpr]\nusage.user_lang.max_locales = 1";
    check(&format!("[vendor_analytics]\npreset = \"gdpr\"\n\n{overridden}"), |policy| {
        policy.preset = "gdpr".to_owned();
        policy.min_cohort_size = Some(20);
        policy.usage.user_lang.max_locales = Some(1);
    });
    // Without the preset chosen, its override has no effect; with one that inherits it, it has.
    check(overridden, |_| {});
    assert_eq!(
        policy(&format!("[vendor_analytics]\npreset = \"lgpd\"\n{overridden}")).usage.user_lang.max_locales,
        Some(1)
    );
}

/// The specification shows this block in a comment, as a data point that it decided against.
#[test]
fn the_specifications_abandoned_user_country_is_unknown() {
    let text = "[vendor_analytics]\nusage.user_country.enabled = false # Default: true";
    assert!(Settings::resolve(&parse_toml(text).unwrap()).is_err());
}

#[test]
fn lgpd_decides_as_gdpr_does() {
    let gdpr = policy("vendor_analytics.preset = 'gdpr'");
    let lgpd = policy("vendor_analytics.preset = 'lgpd'");
    assert_eq!(Policy { preset: "gdpr".to_owned(), ..lgpd }, gdpr);
}

#[test]
fn all_shares_also_what_identifies() {
    assert!(policy("vendor_analytics.preset = 'all'").shares(None).unwrap().pod_domain);
}

#[test]
fn the_operators_own_keys_are_stronger_than_any_preset() {
    let policy = policy(
        "[vendor_analytics]\npreset = 'gdpr'\nmin_cohort_size = 5\nacquisition.pod_domain.enabled = true\n\
         [vendor_analytics.presets.gdpr]\nmin_cohort_size = 50",
    );
    assert_eq!(policy.min_cohort_size, Some(5));
    assert!(policy.acquisition.pod_domain.enabled);
}

#[test]
fn a_custom_preset_inherits_through_others_down_to_a_named_one() {
    let settings = resolve(
        "[vendor_analytics]\npreset = 'acme-eu'\n\
         [vendor_analytics.presets.acme]\ninherits = 'gdpr'\nusage.user_lang.enabled = false\nmin_cohort_size = 30\n\
         [vendor_analytics.presets.acme-eu]\ninherits = 'acme'\nmin_cohort_size = 40",
    );
    let decided = |key: &str| {
        let setting = settings.settings.iter().find(|setting| setting.key == key).unwrap();
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
    let policy =
        policy("[vendor_analytics]\npreset = 'own'\n[vendor_analytics.presets.own]\nmin_cohort_size = 3");
    assert_eq!(Policy { preset: "default".to_owned(), min_cohort_size: None, ..policy }, Policy::default());
}

#[test]
fn what_an_operator_turned_off_in_a_weaker_preset_is_not_turned_on_by_a_stronger_one() {
    let text = "[vendor_analytics]\npreset = 'gdpr'\n[vendor_analytics.presets.default]\nusage.user_lang.enabled = false";
    assert!(!policy(text).usage.user_lang.enabled);
}

#[test]
fn a_minimum_cohort_may_be_larger_than_a_byte_and_zero_means_none() {
    assert_eq!(
        policy("vendor_analytics.min_cohort_size = 300").shares(Some(299)).unwrap_err(),
        Withheld::SmallCohort
    );
    assert!(policy("vendor_analytics.min_cohort_size = 0").shares(None).is_ok());
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
            "vendor_analytics.usage.user_country: unknown key; known here: enabled, min_cohort_size, usage.enabled, usage.pod_version.enabled, usage.user_app_version.enabled, usage.meta_user_count.enabled, usage.user_platform.enabled, usage.user_platform.allow_list, usage.user_platform.deny_list, usage.user_lang.enabled, usage.user_lang.max_locales, acquisition.enabled, acquisition.pod_domain.enabled, preset, presets",
            "vendor_analytics.usage.user_lang.max_locales: must be a whole number from 1 to 4294967295, not `-1`",
            "vendor_analytics.usage.user_platform.allow_list: must be a list of platform names, such as [\"web\", \"macos\"], not `\"web\"`",
        ],
    );
}

/// The registry as it might be tomorrow: one more data point, about which nobody has decided anything.
fn tomorrow() -> Vec<DataPoint> {
    let new = DataPoint {
        key: "usage.user_theme",
        unit: Unit::Installation,
        identifies: false,
        fields: &["origin.app.theme"],
        normal_form: "light or dark",
        question: "Does anybody use the dark theme?",
        since: "9.9.9",
        options: &[],
        decided_on_in: &[],
    };
    REGISTRY.iter().copied().chain([new]).collect()
}

#[track_caller]
fn check_tomorrow(text: &str, expected: bool) {
    let registry = tomorrow();
    let settings = Settings::resolve_for(&registry, &parse_toml(text).unwrap()).unwrap();
    assert_eq!(settings.in_force(registry.last().unwrap()), expected, "{text}");
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
fn the_policy_has_the_keys_of_the_registry_and_both_agree_on_what_is_in_force() {
    for text in [
        "",
        "vendor_analytics.preset = 'all'",
        "vendor_analytics.preset = 'gdpr'",
        "vendor_analytics.usage.enabled = false",
        "vendor_analytics.acquisition.enabled = false\nvendor_analytics.preset = 'all'",
        "vendor_analytics.usage.user_lang.enabled = false",
    ] {
        let settings = resolve(text);
        let policy = settings.policy();
        let Shares { pod_version, user_app_version, meta_user_count, user_platform, user_lang, pod_domain } =
            policy.shares(Some(1_000)).unwrap();
        let typed = [
            pod_version,
            user_app_version,
            meta_user_count,
            user_platform.is_some(),
            user_lang.is_some(),
            pod_domain,
        ];
        let registered: Vec<_> = REGISTRY.iter().map(|point| settings.in_force(point)).collect();
        assert_eq!(registered, typed, "{text}");
    }
}

#[test]
fn nobody_is_asked_for_the_account_count_unless_it_decides_something() {
    assert!(policy("").needs_account_count());
    assert!(!policy("vendor_analytics.enabled = false").needs_account_count());
    assert!(!policy("vendor_analytics.usage.meta_user_count.enabled = false").needs_account_count());
    assert!(policy("[vendor_analytics]\nmin_cohort_size = 3\nusage.enabled = false").needs_account_count());
}
