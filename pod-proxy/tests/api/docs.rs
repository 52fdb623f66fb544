//! The README and the sample configuration agree with the code.

use std::collections::BTreeSet;

use pod_proxy::config::Config;
use pod_proxy::facts::PodFacts;
use pod_proxy::filter::{PodReport, Report, filter, outgoing};
use shared::domain::Domain;
use shared::event::{Event, Observed};
use shared::policy::Policy;
use shared::pseudonym::Salt;
use shared::version::Version;
use toml::{Table, Value};

const README: &str = include_str!("../../README.md");
const SAMPLE: &str = include_str!("../../prose.sample.toml");

/// The sample with all keys uncommented.
fn written_out() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|first: char| first.is_ascii_lowercase()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The dotted keys of `table`.
fn keys(table: &Table, path: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => keys(inner, &path, found),
            _ => {
                found.insert(path);
            }
        }
    }
}

#[test]
fn the_sample_is_a_configuration_that_changes_nothing() {
    let sample = Config::from_toml(SAMPLE).unwrap();
    let empty = Config::from_toml("").unwrap();
    assert_eq!(format!("{sample:?}"), format!("{empty:?}"));
}

#[test]
fn the_sample_written_out_is_a_configuration_with_the_defaults_that_it_shows() {
    let config = Config::from_toml(&written_out()).unwrap();
    let empty = Config::from_toml("").unwrap();
    assert_eq!(
        (config.vendor_url, config.flush_interval, config.connect_timeout, config.request_timeout),
        (empty.vendor_url, empty.flush_interval, empty.connect_timeout, empty.request_timeout)
    );
    assert_eq!(
        (config.listen, config.base_path, config.data_dir, config.salt_file, config.quota),
        (empty.listen, empty.base_path, empty.data_dir, empty.salt_file, empty.quota)
    );
    assert_eq!(
        (config.max_sent_bytes, config.log_level, config.accounts_lifetime),
        (empty.max_sent_bytes, empty.log_level, empty.accounts_lifetime)
    );
}

#[test]
fn the_readme_and_the_sample_have_every_key() {
    let mut sample = BTreeSet::new();
    keys(&written_out().parse().unwrap(), "", &mut sample);
    for key in &sample {
        let (_, key) = key.split_once('.').unwrap();
        assert!(README.contains(&format!("| `{key}` |")), "the README does not have {key}");
    }
    for setting in Config::from_toml("").unwrap().policy.settings() {
        let key = format!("vendor_analytics.{}", setting.key);
        assert!(sample.contains(&key), "the sample does not have {key}");
    }
    // The message about an unknown key lists the known ones.
    for section in ["", "accounts."] {
        let text = format!("[pod_proxy]\n{section}zzzzzzzzzzzzzzzzzzzz = 1");
        let mistake = Config::from_toml(&text).unwrap_err().to_string();
        let (_, known) = mistake.split_once("known here: ").unwrap();
        for key in known.split(", ").filter(|key| *key != "accounts") {
            let row = format!("| `{section}{key}` |");
            assert!(README.contains(&row), "the README does not have {section}{key}");
            assert!(
                SAMPLE.contains(&format!("#{key} = ")) || section == "accounts.",
                "the sample does not have {key}"
            );
        }
    }
}

#[test]
fn the_configurations_in_the_readme_have_no_mistake() {
    let blocks: Vec<_> =
        README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        Config::from_toml(block).unwrap();
    }
}

#[test]
fn the_events_in_the_readme_are_what_leaves() {
    let facts = PodFacts::of(Domain::parse("example.org").unwrap())
        .with_version(Some(Observed::from(Version::parse("0.5.0"))))
        .with_accounts(Some(33));
    let salt = Salt::from_bytes(&[0x61; Salt::LEN]).unwrap();
    let event = README.lines().find_map(|line| line.strip_prefix("echo '")).unwrap();
    let event = Event::from_json(event.split('\'').next().unwrap().as_bytes()).unwrap();
    let policy = Policy::default();
    let app = outgoing(&policy, &facts, &salt, event).unwrap();
    let own = filter(&policy, &facts, Report::Pod(PodReport::Daily)).unwrap();
    for event in [app, own] {
        let json = serde_json::to_string(&event).unwrap();
        assert!(README.contains(&format!("```json\n{json}\n```")), "{json}");
    }
}
