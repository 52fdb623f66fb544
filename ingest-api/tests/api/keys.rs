//! An open window has one key; otherwise the service says what to do.

use ingest_api::app::{App, Schedule};
use ingest_api::jobs::close_windows::WithoutKey;
use ingest_api::window::{Window, WindowKind};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_of_an_open_window_is_an_error_with_the_way_out() {
    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    std::fs::remove_file(service.key_file("day-2026-11-22.key")).unwrap();
    let error = App::start(service.config.clone(), service.clock.clone(), Schedule::OnCall)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`day 2026-11-22` is missing"), "{error}");
    assert!(error.contains("ingest-api windows close day 2026-11-22 --without-key"), "{error}");
    assert!(!service.key_files().contains(&"day-2026-11-22.key".to_owned()), "no second key is made");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_than_the_one_that_a_window_was_opened_with_is_refused() {
    let service = Service::start().await;
    std::fs::write(service.key_file("week-2026-11-16.key"), [7; 32]).unwrap();
    let error = App::start(service.config.clone(), service.clock.clone(), Schedule::OnCall)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("`week 2026-11-16` is not the one that it was opened with"), "{error}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_with_one_key_directory_count_a_reporter_once() {
    let service = Service::start().await;
    let event = proxied(1, 1, "1.0.0", "web", "en");
    assert_eq!(service.post("/event", &event).await.status, 204);
    let second = service.another().await;
    let mut client = service;
    let first = std::mem::replace(&mut client.app, second);
    assert_eq!(client.post("/event", &event).await.status, 204);
    let window = client.database().open_windows().await.unwrap()[0];
    assert_eq!(client.counted(&window).await, (1, 1));
    client.app.shutdown().await;
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_stops_all_reports_at_the_next_look_and_closing_its_window_lets_them_in_again() {
    let service = Service::start().await;
    let event = proxied(1, 1, "1.0.0", "web", "en");
    assert_eq!(service.post("/event", &event).await.status, 204);
    std::fs::remove_file(service.key_file("month-2026-11-01.key")).unwrap();
    assert_eq!(service.get("/readyz", None).await.status, 503);
    assert_eq!(service.post("/event", &event).await.status, 204, "the key is still in memory");

    // The month is the same, but the day has changed: all windows are looked up again.
    service.set_clock("2026-11-23T00:00:10Z");
    let refused = service.post("/event", &event).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some());

    let month = Window::of_day(WindowKind::Month, "2026-11-01".parse().unwrap());
    let close = service.close_job();
    // Arrivals are still sealed, and no other key can open them. An operator must decide.
    let refused = close.close(month, WithoutKey::Refuse).await.unwrap_err().to_string();
    assert!(refused.contains("windows close month 2026-11-01 --without-key"), "{refused}");
    assert!(!service.database().open_window(month).await.unwrap().unwrap().closing, "it stays open");
    let closed = close.close(month, WithoutKey::GiveUp).await.unwrap();
    assert_eq!((closed.released, closed.given_up.len()), (vec![month], 1), "and is said");
    assert_eq!(service.post("/event", &event).await.status, 204);
    assert_eq!(service.get("/readyz", None).await.status, 204);
    service.app.shutdown().await;
}

/// A reader that had the file open, or finds its place on the disk, sees zeros: it is overwritten before it
/// is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_overwritten_before_its_file_is_removed() {
    use std::io::{Read, Seek};
    use std::os::unix::fs::MetadataExt;

    let service = Service::start().await;
    service.report(&ten_pods(5)).await;
    let mut file = std::fs::File::open(service.key_file("day-2026-11-22.key")).unwrap();
    let mut read = || {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (bytes, file.metadata().unwrap().nlink())
    };
    let (key, links) = read();
    assert!(key.len() == 32 && key != [0; 32] && links == 1);
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(read(), (vec![0; 32], 0));
    service.app.shutdown().await;
}
