//! The pages for operators and authors of apps say what the code does.

use std::fs;
use std::path::Path;

use serde_json::Value;
use shared::config::parse_toml;
use shared::data_point::{self, REGISTRY, Unit, Value as Setting};
use shared::event::Event;
use shared::policy::Policy;
use shared::problem::ProblemType;
use shared::pseudonym::{PodId, UserHash};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the page is there")
}

/// The blocks of the page for app authors that are fenced as `json`.
fn examples() -> Vec<String> {
    let page = page("APPS.md");
    page.split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_schema_is_the_one_of_the_types() {
    let written: Value = serde_json::from_str(&page("event.schema.json")).unwrap();
    assert_eq!(written, Event::json_schema(), "run `cargo run -p shared --example docs`");
}

#[test]
fn the_table_of_data_points_is_the_one_of_the_registry() {
    let page = page("DATA-POINTS.md");
    let at = page.find(data_point::GENERATED).unwrap();
    assert_eq!(&page[at..], data_point::markdown(), "run `cargo run -p shared --example docs`");
}

#[test]
fn the_example_events_are_read_and_in_normal_form() {
    let mut events = 0;
    for text in examples().iter().filter(|text| text.contains("\"origin\"")) {
        let event = Event::from_json(text.as_bytes()).unwrap();
        let written: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), written);
        events += 1;
    }
    assert_eq!(events, 2);
}

#[test]
fn the_example_of_what_is_in_force_is_that_of_its_preset() {
    let examples = examples();
    let text = examples.iter().find(|text| text.contains("\"data_points\"")).unwrap();
    let document = parse_toml("[vendor_analytics]\npreset = \"gdpr\"").unwrap();
    let policy = Policy::resolve(&document).unwrap();
    let of_installations = REGISTRY.iter().filter(|point| point.unit == Unit::Installation);
    let in_force: Vec<_> =
        of_installations.filter(|point| policy.in_force(point)).map(|point| point.key).collect();
    let max_locales = policy.settings().iter().find(|setting| setting.key == "usage.user_lang.max_locales");
    let max_locales: Value = max_locales.map_or(Setting::Unset, |setting| setting.value.clone()).into();
    let expected = serde_json::json!({
        "enabled": policy.is_enabled(),
        "data_points": in_force,
        "max_locales": max_locales,
    });
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
}

#[test]
fn the_worked_example_gives_the_digits_on_the_page() {
    let digits = |pseudonym: Value| pseudonym.as_str().map(str::to_owned).unwrap();
    let domain = digits(serde_json::to_value(PodId::of_domain("prose.org")).unwrap());
    let device = digits(serde_json::to_value(UserHash::of_device("valerian", "prose.org", "c8f3")).unwrap());
    let page = page("APPS.md");
    assert!(page.contains(&format!("| `prose.org` | `{domain}` |")));
    assert!(page.contains(&format!("| `valerian@prose.org/c8f3` | `{device}` |")));
    for text in examples().iter().filter(|text| text.contains("\"origin\"")) {
        assert!(text.contains(&domain) && text.contains(&device));
    }
}

#[test]
fn each_problem_on_the_page_has_its_status() {
    let page = page("APPS.md");
    let (_, answers) = page.split_once("## What each answer means").unwrap();
    let mut named = 0;
    for row in answers.lines().filter(|line| line.starts_with("| ") && line.contains("| `")) {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (statuses, slugs) = (cells.next().unwrap(), cells.next().unwrap());
        for slug in slugs.split(", ").map(|slug| slug.trim_matches('`')) {
            let problem = ProblemType::ALL.iter().find(|problem| problem.slug == slug);
            let status = problem.unwrap_or_else(|| panic!("there is no problem {slug}")).status.to_string();
            assert!(statuses.split(", ").any(|written| written == status), "{row}");
            named += 1;
        }
    }
    assert_eq!(named, 10);
}

#[test]
fn the_schema_requires_no_more_than_the_reader() {
    let schema = Event::json_schema();
    assert_eq!(schema["required"], serde_json::json!(["origin"]));
    assert!(Event::from_json(br#"{"origin":{}}"#).is_ok());
}
