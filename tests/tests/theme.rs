//! A test-only data point goes from the events of apps to a page, a CSV and a gauge. It consists of one file
//! in `shared/src/data_point/`, its line in the registry, and its field of the event.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use e2e::fleet::{Fleet, FleetSize};
use e2e::stack::{Stack, client, folder};
use e2e::truth::{Truth, differences};
use ingest_api::release::{Family, Population, Threshold};
use ingest_api::window::{Window, WindowKind};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use scraper::{Html, Selector};
use shared::data_point::UserTheme;

const FIRST_DAY: Date = date(2026, 8, 24);

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_of_an_app_reaches_its_page_its_csv_and_its_gauge() {
    let fleet = Fleet::new(7, FleetSize::SMALL, FIRST_DAY);
    let folder = folder().unwrap();
    let mut stack = Stack::start(&fleet, folder.path()).await.unwrap();
    let mut truth = Truth::default();
    for day in fleet.days() {
        truth.observe(&fleet, &day);
        stack.play(&fleet, &day, 1).await.unwrap();
    }
    let today = FIRST_DAY.saturating_add(jiff::Span::new().days(fleet.size().days));
    let expected = truth.releases(|window| (window.end() <= today).then(Threshold::default));
    let reader = stack.reader().await.unwrap();
    let served = reader.everything(FIRST_DAY.first_of_month(), today).await.unwrap();
    assert_eq!(differences(&expected, &served.releases), Vec::<String>::new());

    let week = Window::of_day(WindowKind::Week, FIRST_DAY);
    let numbers = &expected[&(week, Population::Pod, Family::of::<UserTheme>())];
    let numbers: BTreeMap<_, _> = numbers.iter().map(|(label, n)| (label.as_str(), *n)).collect();
    assert!(["light", "dark", "system", "not_reported"].iter().all(|label| numbers.contains_key(label)));

    let query = format!("window=week&from={FIRST_DAY}&to={FIRST_DAY}");
    let csv = reader.get(&format!("/v1/insights/themes?{query}&format=csv")).await.unwrap();
    for (label, n) in &numbers {
        assert!(csv.contains(&format!(",pod,{label},{n},")), "{label} {n}: {csv}");
    }

    let page = Html::parse_document(&reader.get(&format!("/insights/themes?{query}")).await.unwrap());
    let selected = |css: &str| Selector::parse(css).unwrap();
    let text = |css: &str| -> Vec<String> {
        page.select(&selected(css)).map(|found| found.text().collect::<String>().trim().to_owned()).collect()
    };
    assert_eq!(text("h1"), ["Themes"]);
    assert!(text("nav a").contains(&"Themes".to_owned()), "{:?}", text("nav a"));
    // A name for readers, and the value as it is published.
    let rows = text("table.bars tbody th");
    assert!(rows.contains(&"Dark dark".to_owned()), "{rows:?}");

    let metrics = format!("http://{}/metrics", stack.vendor().metrics_address());
    let metrics = client().unwrap().get(metrics).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.lines().any(|line| line.contains("insight=\"themes\"") && line.contains("value=\"dark\""))
    );
    stack.shutdown().await;
}

/// Only the presets `all` and `default` let it leave the Pod.
#[test]
fn no_preset_except_all_and_default_lets_the_theme_out() {
    use shared::data_point::DataPoint;
    use shared::policy::Policy;
    for (preset, expected) in [("all", true), ("default", true), ("gdpr", false), ("lgpd", false)] {
        let document = format!("vendor_analytics.preset = '{preset}'").parse().unwrap();
        let policy = Policy::resolve(&document).unwrap();
        assert_eq!(policy.in_force(&UserTheme::DECLARATION), expected, "{preset}");
    }
}
