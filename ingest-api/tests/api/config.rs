//! The sample configuration, the README and `check` say what is so. The keys are those that the code asks for, so that
//! none can be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use ingest_api::config::Config;
use toml::{Table, Value};

const SAMPLE: &str = include_str!("../../ingest.sample.toml");
const README: &str = include_str!("../../README.md");

/// What the sample says of a key: the value that it shows, and the line above that tells type and default.
#[derive(Debug)]
struct Shown {
    value: String,
    told: String,
}

/// The keys of the sample, below `[api]`.
fn sample() -> BTreeMap<String, Shown> {
    let mut told = "";
    let mut found = BTreeMap::new();
    for line in SAMPLE.lines() {
        match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|first: char| first.is_ascii_lowercase()) => {
                let (key, value) = setting.split_once(" = ").unwrap();
                let shown = Shown { value: value.to_owned(), told: told.to_owned() };
                assert!(found.insert(key.to_owned(), shown).is_none(), "{key} is there twice");
            }
            Some(comment) => told = comment.trim(),
            None => told = "",
        }
    }
    found
}

/// The keys that the code asks for in this section and those below it: a mistake names them.
fn asked_for(section: &str, keys: &mut BTreeSet<String>) {
    const NOBODYS: &str = "zzzzzzzzzzzzzzzzzzzzzzzz";
    let Err(mistakes) = Config::read(&format!("[api]\n{section}{NOBODYS} = 1"), Vec::new()) else {
        panic!("{section}{NOBODYS} is taken");
    };
    let mistake = mistakes.to_string();
    let Some((_, known)) = mistake.split_once("unknown key; known here: ") else {
        // It is no section: the mistake says that it cannot have something below it.
        keys.insert(section.trim_end_matches('.').to_owned());
        return;
    };
    for key in known.lines().next().unwrap().split(", ") {
        asked_for(&format!("{section}{key}."), keys);
    }
}

/// `a.{b,c}` → `a.b`, `a.c`.
fn spelt_out(row: &str) -> Vec<String> {
    let Some((before, rest)) = row.split_once('{') else { return vec![row.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![row.to_owned()] };
    choices.split(',').flat_map(|choice| spelt_out(&format!("{before}{choice}{after}"))).collect()
}

fn with(key: &str, value: &str) -> Config {
    Config::read(&format!("[api]\n{key} = {value}"), Vec::new())
        .unwrap_or_else(|mistakes| panic!("{key} = {value}: {mistakes}"))
}

#[test]
fn the_sample_is_a_configuration_that_changes_nothing() {
    assert_eq!(Config::read(SAMPLE, Vec::new()), Config::read("", Vec::new()));
}

#[test]
fn the_sample_and_the_readme_have_every_key_and_no_other() {
    let mut keys = BTreeSet::new();
    asked_for("", &mut keys);
    assert!(keys.contains("listen") && keys.contains("thresholds.month.pod_count"), "{keys:?}");
    assert_eq!(sample().into_keys().collect::<BTreeSet<_>>(), keys);
    let told: BTreeSet<_> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .flat_map(|(row, _)| spelt_out(row))
        .collect();
    for key in keys {
        assert!(told.contains(&key), "the README does not have {key}");
    }
}

#[test]
fn the_defaults_that_the_sample_tells_are_the_defaults() {
    let nothing = Config::read("", Vec::new()).unwrap();
    for (key, Shown { value, told }) in sample() {
        let (_, default) =
            told.split_once("; ").unwrap_or_else(|| panic!("{key}: type and default, not {told:?}"));
        if default.starts_with("no default") {
            assert_ne!(with(&key, &value), nothing, "{key}: the example is what is so without it");
        } else if default.starts_with("default ") {
            assert!(default.ends_with(&format!("{value}.")), "{key}: {default:?} is not {value}");
            // Where the default folder is depends on who runs it.
            let expected = match key.as_str() {
                "data_dir" | "key_dir" => Config::in_directory("/var/lib/prose-ingest-api".as_ref()),
                _ => nothing.clone(),
            };
            let config = with(&key, &value);
            match key.as_str() {
                "key_dir" => assert_eq!(config.key_dir, expected.key_dir),
                _ => assert_eq!(config, expected, "{key}"),
            }
        } else {
            panic!("{key}: neither `default VALUE.` nor `no default`, but {default:?}");
        }
    }
}

#[test]
fn every_key_can_be_set_by_the_environment_variable_that_the_sample_describes() {
    for (key, Shown { value, .. }) in sample() {
        let name = format!("INGEST_API__{}", key.to_uppercase().replace('.', "__"));
        let document: Table = format!("value = {value}").parse().unwrap();
        let text = match &document["value"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let by_variable = Config::read("", vec![(name.clone(), text)]).unwrap();
        assert_eq!(by_variable, with(&key, &value), "{name}");
    }
}

/// Runs `ingest-api check` with this configuration and environment.
fn check(text: &str, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ingest.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
    command.env_clear().envs(environment.iter().copied()).args(["check", "--config"]).arg(file);
    command.output().unwrap()
}

#[test]
fn check_ends_with_0_and_says_what_is_in_force() {
    let output =
        check(SAMPLE, &[("INGEST_API__LISTEN", "[::1]:9"), ("DATABASE_URL", "postgres://u:canary@db/x")]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(said.contains("[::1]:9") && said.contains("20 installations from 5 Pods"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn check_ends_with_2_and_every_mistake_of_file_and_environment() {
    let text = "[api]\nlisten = 'here'\nlisen = 1\n[api.thresholds.week]\npods = 2\n";
    let environment = [("INGEST_API__CLOSE_INTERVAL", "PT0S"), ("INGEST_API__LISTEN__PORT", "7")];
    let output = check(text, &environment);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let said = String::from_utf8(output.stderr).unwrap();
    let mistakes = [
        "INGEST_API__LISTEN__PORT: ",
        "api.thresholds.week.pods: ",
        "api.listen: must be an address and port",
        "api.close_interval: must be a duration",
        "api.lisen: unknown key; did you mean `listen`?",
    ];
    assert_eq!(said.lines().count(), mistakes.len(), "{said}");
    for mistake in mistakes {
        assert!(said.contains(mistake), "{mistake}: {said}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_named_with_the_line() {
    let output = check("[api]\nlisten = =\n", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("/ingest.toml, line 2: not valid TOML: "), "{said}");
}

#[test]
fn a_threshold_below_its_floor_is_refused_with_the_reason() {
    for kind in ["day", "week", "month"] {
        for (key, floor) in [("installations", 11), ("pods", 3), ("without_largest", 5), ("pod_count", 3)] {
            let set = |n: u32| format!("[api]\nthresholds.{kind}.{key} = {n}");
            assert!(Config::read(&set(floor), Vec::new()).is_ok());
            let Err(mistakes) = Config::read(&set(floor - 1), Vec::new()) else { panic!("{kind} {key}") };
            let expected = format!(
                "api.thresholds.{kind}.{key}: must be at least {floor}: smaller cohorts could give somebody away, and the \
                 floor is compiled in"
            );
            assert_eq!(mistakes.to_string(), expected);
        }
    }
    let output = check("[api]\nthresholds.day.installations = 10", &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("must be at least 11: smaller cohorts could give somebody away"), "{said}");
}
