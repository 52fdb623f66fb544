//! Every number on a page equals that of the API, which equals the released one.

mod page;

use std::collections::BTreeMap;

use e2e::fleet::{Fleet, FleetSize};
use e2e::served::Reader;
use e2e::stack::{Stack, folder};
use ingest_api::insight::Insight;
use jiff::civil::{Date, date};
use page::{Page, denominator, every_chart_has_its_table, number, percent, text};
use scraper::Selector;
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

/// A Monday in the last week of a month, so that a window of each kind ends within the play.
const FIRST_DAY: Date = date(2026, 8, 24);
const PERIOD: &str = "from=2026-08-01&to=2026-09-30";

/// Whether a text is the share, with one decimal digit.
#[track_caller]
fn same(written: f64, told: f64, what: &str) {
    assert!((written - told * 100.0).abs() < 0.0501 + 0.005, "{what}: {written} % is not {told}");
}

async fn json(reader: &Reader, path: &str) -> Value {
    serde_json::from_str(&reader.get(path).await.unwrap()).unwrap()
}

/// The blocks of a window, by label.
fn blocks(window: &Value) -> BTreeMap<String, (u64, Option<f64>)> {
    let block = |block: &Value| {
        let label = block["label"].as_str().unwrap().to_owned();
        (label, (block["count"].as_u64().unwrap(), block["share"].as_f64()))
    };
    window["blocks"].as_array().unwrap().iter().map(block).collect()
}

fn windows(answer: &Value, population: Option<&str>) -> Vec<Value> {
    let windows = answer["windows"].as_array().unwrap().iter();
    windows.filter(|window| window["population"].as_str() == population).cloned().collect()
}

/// The group of a value, on pages that group values.
fn group(label: &str) -> &str {
    label.split(['-', '/']).next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_on_a_page_is_the_apis_and_the_apis_is_what_was_released() {
    let size = FleetSize { pods: 60, days: 16, ..FleetSize::SMALL };
    let fleet = Fleet::new(7, size, FIRST_DAY);
    let folder = folder().unwrap();
    let mut stack = Stack::start(&fleet, folder.path()).await.unwrap();
    for day in fleet.days() {
        stack.play(&fleet, &day, 1).await.unwrap();
    }
    let reader = stack.reader().await.unwrap();
    let mut numbers = the_api_tells_what_was_released(&reader, stack.vendor().database().url()).await;
    assert!(numbers > 500, "{numbers}");
    numbers = 0;
    for window in ["day", "week", "month"] {
        for population in ["pod", "direct"] {
            for insight in ["platforms", "languages"] {
                numbers += grouped(&reader, insight, window, population).await;
            }
            for app in ["prose-app-web", "prose-app-ios", "prose-app-linux"] {
                numbers += versions(&reader, "app_versions", window, population, Some(app)).await;
            }
        }
        numbers += versions(&reader, "pod_versions", window, "pod", None).await;
        numbers += sizes(&reader, window).await;
        numbers += reach_and_pods(&reader, window).await;
        numbers += overview(&reader, window).await;
    }
    // The pages of this fleet have at least this many numbers, so none was empty.
    assert!(numbers > 1_100, "{numbers}");
    stack.shutdown().await;
}

/// The numbers in the database, read without any code of the service.
async fn the_api_tells_what_was_released(reader: &Reader, url: &str) -> usize {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows =
        sqlx::query("SELECT kind, starts_on::text, population, family, label, published FROM release.block")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut released = BTreeMap::new();
    for row in rows {
        let of = |name: &str| row.get::<String, _>(name);
        let mut label = of("label");
        let mut population = of("population");
        if of("family") == "installations" {
            label = if population == "pod" { "proxied" } else { "direct" }.to_owned();
            population = String::new();
        }
        released.insert(
            (of("kind"), of("starts_on"), of("family"), population, label),
            u64::try_from(row.get::<i64, _>("published")).unwrap(),
        );
    }
    let mut told = BTreeMap::new();
    for insight in Insight::ALL {
        let Some(family) = insight.family() else { continue };
        for kind in ["day", "week", "month"] {
            let answer =
                json(reader, &format!("/v1/insights/{}?window={kind}&{PERIOD}", insight.as_str())).await;
            for window in answer["windows"].as_array().unwrap() {
                let population = window["population"].as_str().unwrap_or("").to_owned();
                let start = window["start"].as_str().unwrap().to_owned();
                for (label, (count, _)) in blocks(window) {
                    let key = (
                        kind.to_owned(),
                        start.clone(),
                        family.as_str().to_owned(),
                        population.clone(),
                        label,
                    );
                    told.insert(key, count);
                }
            }
        }
    }
    assert_eq!(told, released);
    released.len()
}

async fn grouped(reader: &Reader, insight: &str, window: &str, population: &str) -> usize {
    let query = format!("window={window}&{PERIOD}");
    let answer = json(reader, &format!("/v1/insights/{insight}?{query}")).await;
    let page = Page::get(reader, &format!("/insights/{insight}?{query}&population={population}")).await;
    let windows = windows(&answer, Some(population));
    let newest = blocks(windows.last().unwrap());
    let total: u64 = newest.values().map(|(count, _)| count).sum();
    // A value alone in its group has a row of its own. Otherwise the group has one, and so has each of its
    // parts.
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for label in newest.keys() {
        groups.entry(group(label)).or_default().push(label);
    }
    let mut expected = BTreeMap::new();
    for (group, labels) in &groups {
        if let [only] = labels[..] {
            expected.insert((false, only.to_owned()), newest[only].0);
            continue;
        }
        expected.insert((false, (*group).to_owned()), labels.iter().map(|label| newest[*label].0).sum());
        expected.extend(labels.iter().map(|label| ((true, (*label).to_owned()), newest[*label].0)));
    }
    assert_eq!(denominator(&page), total, "{insight} {query} {population}");
    let rows = page.rows();
    let counts: BTreeMap<_, _> = rows.iter().map(|(row, (count, _))| (row.clone(), *count)).collect();
    assert_eq!(counts, expected, "{insight} {query} {population}");
    for ((_, label), (count, share)) in &rows {
        same(*share, *count as f64 / total as f64, label);
    }
    for (label, (count, share)) in &newest {
        same(share.unwrap() * 100.0, *count as f64 / total as f64, label);
    }
    if insight == "languages" {
        let over = expected.iter().filter(|((is_part, label), count)| {
            !is_part
                && **count * 5 >= total
                && !["not_reported", "unrecognised", "other"].contains(&label.as_str())
        });
        let told = page.text("section.verdict p");
        assert_eq!(told.matches('(').count(), over.clone().count(), "{told}");
        for ((_, label), _) in over {
            assert!(told.contains(&format!("({:.1}", rows[&(false, label.clone())].1)), "{label}: {told}");
        }
    }
    let every: u64 = page
        .all("table.bars tbody tr:not(.part) [data-is=count]")
        .into_iter()
        .map(|cell| number(&text(cell)))
        .sum();
    assert_eq!(every, total, "{insight} {query} {population}: the rows together are the total");
    every_chart_has_its_table(&page);
    rows.len() * 2 + shares_over_time(&page, &windows, |label| Some(group(label).to_owned()))
}

/// Compares the numbers of a chart of shares; columns without a label hold the rest.
fn shares_over_time(page: &Page, windows: &[Value], key: impl Fn(&str) -> Option<String>) -> usize {
    let history = page.history();
    if windows.len() < 2 {
        return 0;
    }
    if !windows.iter().flat_map(|window| blocks(window).into_keys()).any(|label| key(&label).is_some()) {
        assert!(history.is_empty(), "{history:?}");
        return 0;
    }
    let mut written = 0;
    for window in windows {
        let start = window["start"].as_str().unwrap();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (label, (count, _)) in blocks(window) {
            if let Some(key) = key(&label) {
                *sums.entry(key).or_default() += count;
            }
        }
        let total: u64 = sums.values().sum();
        let cells: Vec<_> = history.iter().filter(|((of, _), _)| of == start).collect();
        assert!(!cells.is_empty(), "{start} is not on the page");
        let mut rest = total;
        for ((_, column), shown) in cells.iter().filter(|((_, column), _)| !column.is_empty()) {
            let count = sums.get(column).copied().unwrap_or(0);
            rest -= count;
            if total > 0 {
                same(percent(shown), count as f64 / total as f64, column);
                written += 1;
            } else {
                assert_eq!(*shown, "–");
            }
        }
        match history.get(&(start.to_owned(), String::new())) {
            Some(shown) if total > 0 => same(percent(shown), rest as f64 / total as f64, "the others"),
            Some(shown) => assert_eq!(shown, "–"),
            None => assert_eq!(rest, 0, "{start}: everything has a column"),
        }
    }
    written
}

async fn versions(
    reader: &Reader,
    insight: &str,
    window: &str,
    population: &str,
    app: Option<&str>,
) -> usize {
    let query = format!("window={window}&{PERIOD}&below=1.0.0");
    let of_app = app.map(|app| format!("&app={app}")).unwrap_or_default();
    let answer = json(reader, &format!("/v1/insights/{insight}?{query}{of_app}")).await;
    let short = of_app.replace("prose-app-", "");
    let path = format!("/insights/{insight}?{query}&population={population}{short}");
    let page = Page::get(reader, &path).await;
    let own = |label: &str| match app {
        None => Some(label.to_owned()),
        Some(app) => label.strip_prefix(app)?.strip_prefix([' ', '/']).map(str::to_owned),
    };
    let windows = windows(&answer, Some(population));
    let newest = windows.last().unwrap();
    let blocks: BTreeMap<_, _> =
        blocks(newest).into_iter().filter(|(label, _)| own(label).is_some()).collect();
    let total: u64 = blocks.values().map(|(count, _)| count).sum();
    if total > 0 {
        assert_eq!(denominator(&page), total, "{path}");
    }
    let bars = page.bars();
    assert!(bars.keys().eq(blocks.keys()), "{:?} {:?}", bars.keys(), blocks.keys());
    for (label, (count, part)) in &bars {
        assert_eq!(*count, blocks[label].0, "{label}");
        same(*part, *count as f64 / total as f64, label);
    }
    every_chart_has_its_table(&page);
    let mut written = bars.len() + shares_over_time(&page, &windows, own);

    let below = &newest["below"];
    let bounds = |text: &str| -> (String, String) {
        let text = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let (least, most) = text.split_once(" to ").unwrap_or((text, text));
        (least.to_owned(), most.to_owned())
    };
    if !below.is_null() {
        let (least, most) = bounds(&page.text("[data-is=below-count]"));
        assert_eq!(number(&least), below["count"]["at_least"], "{below}");
        assert_eq!(number(&most), below["count"]["at_most"], "{below}");
        let (least, most) = bounds(&page.text("[data-is=below-share]"));
        outwards(&least, &most, &below["share"]);
        written += 4;
    }

    let adoption: Vec<_> = answer["adoption"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|of| of["population"] == population && of["app"].as_str() == app)
        .collect();
    let rows = page.all("table.adoption tbody tr");
    assert_eq!(rows.len(), adoption.len());
    for (row, told) in rows.iter().zip(adoption) {
        let cell = |css: &str| text(row.select(&Selector::parse(css).unwrap()).next().unwrap());
        assert_eq!(row.attr("data-label"), told["version"].as_str());
        let (least, most) = bounds(&cell("[data-is=newest]"));
        outwards(&least, &most, &told["newest"]);
        for (css, mark) in [("[data-is=half]", "half"), ("[data-is=nine]", "nine_in_ten")] {
            let (shown, told) = (cell(css), &told[mark]);
            assert_eq!(shown == "not yet", told["not_yet"].as_bool().unwrap(), "{shown}: {told}");
            if let Some(most) = told["days_at_most"].as_u64() {
                let (least, shown) = bounds(&shown.replace('\u{a0}', " "));
                assert_eq!(number(&shown), most);
                assert_eq!(number(&least), told["days_at_least"].as_u64().unwrap_or(most));
                written += 2;
            }
        }
        written += 2;
    }
    written
}

/// Bounds are rounded outwards, by less than a tenth.
fn outwards(least: &str, most: &str, told: &Value) {
    let (least, most) = (percent(least), percent(most));
    let (at_least, at_most) =
        (told["at_least"].as_f64().unwrap() * 100.0, told["at_most"].as_f64().unwrap() * 100.0);
    assert!(least <= at_least + 1e-6 && least > at_least - 0.1001, "{least} of {told}");
    assert!(most >= at_most - 1e-6 && most < at_most + 0.1001, "{most} of {told}");
}

async fn sizes(reader: &Reader, window: &str) -> usize {
    let query = format!("window={window}&{PERIOD}");
    let answer = json(reader, &format!("/v1/insights/pod_sizes?{query}")).await;
    let page = Page::get(reader, &format!("/insights/pod_sizes?{query}")).await;
    let windows = windows(&answer, Some("pod"));
    let newest = windows.last().unwrap();
    assert_eq!(denominator(&page), newest["total"]);
    let bars = page.bars();
    for (label, (count, share)) in blocks(newest) {
        assert_eq!(bars[&label].0, count, "{label}");
        same(bars[&label].1, share.unwrap(), &label);
    }
    let shown: Vec<_> = page
        .all("table.bars tbody tr")
        .iter()
        .map(|row| row.attr("data-label").unwrap().to_owned())
        .collect();
    let told: Vec<_> = newest["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["label"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, told, "sizes are in their order");
    every_chart_has_its_table(&page);
    bars.len() * 2 + shares_over_time(&page, &windows, |label| Some(label.to_owned()))
}

async fn reach_and_pods(reader: &Reader, window: &str) -> usize {
    let query = format!("window={window}&{PERIOD}");
    let mut written = 0;
    for (insight, population) in [("reach", None), ("pods", Some("pod"))] {
        let answer = json(reader, &format!("/v1/insights/{insight}?{query}")).await;
        let page = Page::get(reader, &format!("/insights/{insight}?{query}")).await;
        let windows = windows(&answer, population);
        if windows.len() > 1 {
            let history = page.history();
            for window in &windows {
                let start = window["start"].as_str().unwrap().to_owned();
                for (label, (count, _)) in blocks(window) {
                    assert_eq!(number(&history[&(start.clone(), label)]), count);
                    written += 1;
                }
                if let Some(at_least) = window["at_least"].as_u64() {
                    assert_eq!(number(&history[&(start, "at_least".to_owned())]), at_least);
                }
            }
        }
        every_chart_has_its_table(&page);
        let newest = windows.last().unwrap();
        if insight == "pods" {
            assert_eq!(number(&page.text("[data-is=at-least]")), newest["at_least"]);
            assert_eq!(number(&page.text("[data-is=total]")), newest["total"]);
            written += 2;
        } else {
            for (label, (count, share)) in blocks(newest) {
                assert_eq!(page.bars()[&label].0, count);
                same(page.bars()[&label].1, share.unwrap(), &label);
                written += 2;
            }
        }
    }
    written
}

async fn overview(reader: &Reader, window: &str) -> usize {
    let page = Page::get(reader, &format!("/?window={window}")).await;
    let pods = json(reader, &format!("/v1/insights/pods?window={window}")).await;
    let reach = json(reader, &format!("/v1/insights/reach?window={window}")).await;
    let reach = &reach["windows"][0];
    assert_eq!(number(&page.text(".tiles [data-is=at-least]")), pods["windows"][0]["at_least"]);
    let blocks = blocks(reach);
    assert_eq!(number(&page.text(".tiles [data-is=proxied]")), blocks["proxied"].0);
    assert_eq!(number(&page.text(".tiles [data-is=direct]")), blocks["direct"].0);
    same(percent(&page.text(".tiles [data-is=share-direct]")), blocks["direct"].1.unwrap(), "direct");
    let versions = json(reader, &format!("/v1/insights/pod_versions?window={window}")).await;
    let newest = &versions["adoption"][0];
    let apps = json(reader, &format!("/v1/insights/app_versions?window={window}")).await;
    let mut of_apps: BTreeMap<&str, &Value> = BTreeMap::new();
    for adoption in apps["adoption"].as_array().unwrap().iter().filter(|of| of["population"] == "pod") {
        of_apps.entry(adoption["app"].as_str().unwrap()).or_insert(adoption);
    }
    assert!(!of_apps.is_empty(), "no app has a version");
    let mut written = 4;
    for (label, newest) in std::iter::once(("pod", newest)).chain(of_apps) {
        let row = page.all(&format!("tr[data-label={label}] td"));
        assert_eq!(text(row[0]), newest["version"].as_str().unwrap());
        let shown = text(row[1]);
        let (least, most) = shown.split_once(" to ").unwrap_or((&shown, &shown));
        outwards(least, most, &newest["newest"]);
        written += 2;
    }
    every_chart_has_its_table(&page);
    for insight in ["pod_versions", "pod_sizes", "app_versions", "platforms", "languages"] {
        let answer = json(reader, &format!("/v1/insights/{insight}?window={window}")).await;
        for window in answer["windows"].as_array().unwrap().iter().filter(|window| !window["total"].is_null())
        {
            let population = window["population"].as_str().unwrap();
            let cells =
                page.all(&format!("tr[data-label={insight}][data-population={population}] td.number"));
            let total = window["total"].as_u64().unwrap();
            let sum = |is: fn(&str) -> bool| -> u64 {
                let blocks = window["blocks"].as_array().unwrap().iter();
                let sum = blocks.filter(|block| is(block["label"].as_str().unwrap()));
                sum.map(|block| block["count"].as_u64().unwrap()).sum()
            };
            let folded = sum(|label| label.ends_with("other"));
            let untold = sum(|label| label.ends_with("not_reported") || label.ends_with("unrecognised"));
            assert_eq!(number(&text(cells[0])), total, "{insight}");
            same(percent(&text(cells[1])), folded as f64 / total as f64, insight);
            same(percent(&text(cells[2])), untold as f64 / total as f64, insight);
            written += 3;
        }
    }
    written
}
