//! The computing steps of an event's way, without I/O, each by itself: `cargo bench --package e2e`.
//!
//! `deploy/bench` and `proxy-costs` measure the whole services beside a server that does nothing. `page-times`
//! measures how fast a page is read from the database and sent.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use ingest_api::window::codes::unpack;
use shared::data_point::UserAppVersion;
use shared::data_point::UserPlatform;
use shared::event::App;
use std::hint::black_box;
use std::num::NonZeroU64;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use e2e::load::Crowd;
use e2e::year;
use ingest_api::insight::{Insight, answer};
use ingest_api::intake::ValidReport;
use ingest_api::intake::rekey;
use ingest_api::keys::KeyDirectory;
use ingest_api::release::{Tally, Threshold};
use ingest_api::rendered_page;
use ingest_api::window::{Window, WindowKind};
use pod_proxy::config::Config;
use pod_proxy::filter::outgoing;
use shared::event::Event;
use shared::pseudonym::Salt;

/// Events, each from another installation, in Pods of 25 on average.
fn events(number: u64) -> Vec<Vec<u8>> {
    let (installations, pods) =
        (NonZeroU64::new(number).unwrap(), NonZeroU64::new(number.div_ceil(25)).unwrap());
    let crowd = Crowd::new(1, installations, pods);
    let event = |n| {
        let mut body = Vec::new();
        crowd.write_event(n, &mut body);
        body
    };
    (0..number).map(event).collect()
}

fn reports(number: u64) -> Vec<ValidReport> {
    events(number).iter().map(|event| ValidReport::from_json(event).unwrap()).collect()
}

/// At the vendor: bytes → a report.
fn parse(criterion: &mut Criterion) {
    let event = events(1).remove(0);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Bytes(event.len() as u64));
    group.bench_function("an event", |bencher| {
        bencher.iter(|| ValidReport::from_json(black_box(&event)).unwrap())
    });
    group.finish();
}

/// On the Pod: an app's event → what leaves.
fn filter(criterion: &mut Criterion) {
    let text =
        "[server]\ndomain = \"pod.example\"\n[vendor_analytics]\npreset = \"gdpr\"\nmin_cohort_size = 0\n";
    let config = Config::from_toml(text).unwrap();
    let (policy, facts) = (config.policy.clone(), config.facts().unwrap());
    let salt = Salt::from_bytes(&[7; Salt::LEN]).unwrap();
    let event = Event::from_json(&events(1)[0]).unwrap();
    assert!(outgoing(&policy, &facts, &salt, event.clone()).is_ok());
    criterion.bench_function("filter an event", |bencher| {
        let filter = |event| outgoing(&policy, &facts, &salt, event);
        bencher.iter_batched(|| event.clone(), filter, BatchSize::SmallInput);
    });
}

/// At the vendor: a batch of reports → the rows of one window.
fn rekey(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let window = Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap());
    let key = KeyDirectory::open(folder.path()).unwrap().read_or_create(window).unwrap();
    let reports = reports(500);
    let mut group = criterion.benchmark_group("re-key");
    group.throughput(Throughput::Elements(reports.len() as u64));
    group.bench_function("500 reports", |bencher| bencher.iter(|| rekey::rekey(&key, black_box(&reports))));
    group.finish();
}

/// At the vendor: all reporters of a window → what is published, folded and audited.
fn fold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("count, fold and audit");
    for number in [1_000, 100_000] {
        let mut tally = Tally::of::<App>();
        for report in reports(number) {
            let said = tally.said(unpack::<App>(&report.installation().unwrap().codes));
            tally.add(i64::from_be_bytes(*report.pod().as_bytes()), said);
        }
        let threshold = Threshold::default();
        assert!(tally.publish(&threshold).iter().all(|(_, blocks)| !blocks.is_empty()));
        group.sample_size(20).throughput(Throughput::Elements(number));
        group.bench_function(format!("{number} installations"), |bencher| {
            bencher.iter(|| tally.publish(black_box(&threshold)));
        });
    }
    group.finish();
}

/// For a reader: a year of releases → an answer → a page.
fn render(criterion: &mut Criterion) {
    let releases = year::weeks(52);
    let mut group = criterion.benchmark_group("answer and render a page of a year");
    for insight in [Insight::of::<UserPlatform>(), Insight::of::<UserAppVersion>()] {
        let render = || rendered_page(insight, &answer(insight, WindowKind::Week, &releases, None)).unwrap();
        assert!(render().contains("<svg"));
        group.bench_function(insight.as_str(), |bencher| bencher.iter(render));
    }
    group.finish();
}

criterion_group!(steps, parse, filter, rekey, fold, render);
criterion_main!(steps);
