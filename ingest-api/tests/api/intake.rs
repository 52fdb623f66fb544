//! What is accepted, what is rejected, and how senders are answered.

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_counted_once_in_each_of_the_three_windows() {
    let service = Service::start().await;
    let event = proxied(1, 1, "1.0.0", "web", "en");
    for _ in 0..3 {
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    let windows = service.database().open_windows().await.unwrap();
    assert_eq!(windows.len(), 3);
    for window in windows {
        assert_eq!(service.counted(&window).await, (1, 1), "{}", window.window);
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_of_todays_apps_is_taken_as_it_is() {
    let service = Service::start().await;
    let event = json!({
        "name": "account:signin", "data": { "credential_type": "password" },
        "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64",
                     "user_preferred_locales": ["de-CH", "en"] },
            "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": "19a124bd2f89edfe" }
        }
    });
    assert_eq!(service.post("/event", &event).await.status, 204);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_which_events_are_rejected_and_counts_the_others() {
    let service = Service::start().await;
    let batch = json!([
        proxied(1, 1, "1.0.0", "web", "en"),
        "canary",
        { "origin": { "pod": { "domain_hash": "CANARY" } } },
        proxied(1, 2, "1.0.0", "web", "en"),
    ]);
    let answer = service.post("/events", &batch).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.body.to_lowercase().contains("canary"), "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["accepted"], 2);
    let rejected: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|item| item["index"].clone()).collect();
    assert_eq!(rejected, [1, 2]);
    assert_eq!(answer["rejected"][1]["problem"]["status"], 422);
    let window = service.database().open_windows().await.unwrap()[0];
    assert_eq!(service.counted(&window).await, (2, 1));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_may_be_one_event_a_line() {
    let service = Service::start().await;
    let lines =
        format!("{}\n\n{}\r\n", proxied(1, 1, "1.0.0", "web", "en"), direct(2, 1, "1.0.0", "web", "en"));
    let headers = [("content-type", "application/x-ndjson; charset=utf-8")];
    let answer = service.send("POST", "/_api/cloud/v1/analytics/events", &headers, lines.as_bytes()).await;
    assert_eq!(answer.json(), json!({ "accepted": 2, "rejected": [] }));
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_answered_with_a_problem_that_says_why() {
    let service = Service::start().await;
    let base = "/_api/cloud/v1/analytics";
    let json = [("content-type", "application/json")];
    let brotli = [("content-type", "application/json"), ("content-encoding", "br")];
    type Case<'c> = (&'c str, String, &'c [(&'c str, &'c str)], Vec<u8>, u16, &'c str);
    let cases: Vec<Case<'_>> = vec![
        ("POST", format!("{base}/event"), &json, b"{\"origin\":".to_vec(), 400, "malformed-json"),
        ("POST", format!("{base}/event"), &json, b"[]".to_vec(), 422, "invalid-event"),
        ("POST", format!("{base}/event"), &[], b"{}".to_vec(), 415, "unsupported-media-type"),
        ("POST", format!("{base}/event"), &json, vec![b' '; 20_000], 413, "body-too-large"),
        ("POST", format!("{base}/events"), &json, vec![b' '; 5_000_000], 413, "body-too-large"),
        ("POST", format!("{base}/events"), &json, b"{}".to_vec(), 400, "malformed-json"),
        ("GET", format!("{base}/event"), &[], Vec::new(), 405, "method-not-allowed"),
        ("POST", format!("{base}/event/"), &json, b"{}".to_vec(), 404, "not-found"),
        ("POST", format!("{base}/event"), &brotli, b"{}".to_vec(), 415, "unsupported-media-type"),
        ("POST", "/v1/insights/pods".to_owned(), &[], Vec::new(), 405, "method-not-allowed"),
        ("GET", "/v1/insights/pods".to_owned(), &[], Vec::new(), 401, "unauthenticated"),
        ("GET", "/nothing".to_owned(), &[], Vec::new(), 404, "not-found"),
    ];
    for (method, path, headers, body, status, problem) in cases {
        let answer = service.send(method, &path, headers, &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{method} {path}");
    }
    let too_many = vec![proxied(1, 1, "1.0.0", "web", "en"); 1_001];
    assert_eq!(service.post("/events", &too_many.into()).await.problem(), "body-too-large");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_inflates_beyond_the_bound_is_refused() {
    use std::io::Write;

    let service = Service::start().await;
    let gzip = |bytes: &[u8]| {
        let mut child = std::process::Command::new("gzip")
            .arg("-c")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let small = gzip(json!([proxied(1, 1, "1.0.0", "web", "en")]).to_string().as_bytes());
    let answer = service.send("POST", "/_api/cloud/v1/analytics/events", &headers, &small).await;
    assert_eq!(answer.json()["accepted"], 1);
    // The service stops reading at the limit, so the pipe of 60 KiB to gzip does not block.
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 60_000);
    let answer = service.send("POST", "/_api/cloud/v1/analytics/events", &headers, &bomb).await;
    assert_eq!(answer.problem(), "body-too-large");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_app_of_another_origin_may_report() {
    let service = Service::start().await;
    let headers = [
        ("origin", "https://chat.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = service.send("OPTIONS", "/_api/cloud/v1/analytics/event", &headers, b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("access-control-allow-origin: *"), "{}", answer.headers);
    let answer = service.send("OPTIONS", "/v1/insights", &headers, b"").await;
    assert!(!answer.headers.contains("access-control-allow-origin"), "insights are for no other origin");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_reasons_and_nothing_that_a_sender_wrote() {
    let service = Service::start().await;
    service.post("/event", &json!({ "origin": { "app": { "platform": 1 }, "pod": {} } })).await;
    service.post("/event", &proxied(7, 7, "1.0.0", "web", "en")).await;
    let text = metrics(&service).await;
    for written in [domain(7), "bfabc37432958b06".to_owned(), "platform".to_owned(), "prose-app".to_owned()] {
        assert!(!text.contains(&written), "{written} in {text}");
    }
    assert!(text.contains("ingest_reports_accepted_total 1\n"), "{text}");
    assert!(text.contains("ingest_reports_rejected_total{reason=\"invalid_event\"} 1\n"), "{text}");

    // Requests that are rejected as a whole, too.
    let json = [("content-type", "application/json")];
    let url = |route: &str| format!("/_api/cloud/v1/analytics/{route}");
    let long = [b' '; 17 * 1024];
    let many = json!(vec![pod(1, "0.4.0"); 1_001]).to_string();
    for (route, headers, body, status) in [
        ("event", &json[..], long.as_slice(), 413),
        ("events", &json[..], many.as_bytes(), 413),
        ("events", &json[..], b"[{]".as_slice(), 400),
        ("event", &[][..], b"{}".as_slice(), 415),
    ] {
        assert_eq!(service.send("POST", &url(route), headers, body).await.status, status, "{route}");
    }
    let text = metrics(&service).await;
    for (reason, n) in [("too_large", 2), ("malformed_json", 1), ("unsupported_media_type", 1)] {
        let counted = format!("ingest_reports_rejected_total{{reason=\"{reason}\"}} {n}\n");
        assert!(text.contains(&counted), "{counted} in {text}");
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_stalls_a_sender_is_told_to_come_back() {
    use sqlx::{Connection, PgConnection};

    let service = Service::start().await;
    let mut connection = PgConnection::connect(service.app.database().url()).await.unwrap();
    let mut stall = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE intake.arrival IN ACCESS EXCLUSIVE MODE").execute(&mut *stall).await.unwrap();
    let event = pod(1, "0.4.0");
    let answer = service.post("/event", &event).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "unavailable"));
    assert!(answer.headers.contains("retry-after: "), "{}", answer.headers);
    assert!(!answer.json().as_object().unwrap().contains_key("detail"), "the cause is ours");
    stall.rollback().await.unwrap();
    assert_eq!(service.post("/event", &event).await.status, 204, "and recovers at once");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_reports_than_may_wait_are_refused_and_not_kept() {
    use ingest_api::intake::writer::MAX_WAITING;
    use sqlx::{Connection, PgConnection};

    let service = std::sync::Arc::new(Service::start().await);
    let mut connection = PgConnection::connect(service.app.database().url()).await.unwrap();
    let mut stall = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE intake.arrival IN ACCESS EXCLUSIVE MODE").execute(&mut *stall).await.unwrap();
    let batch = serde_json::Value::from(vec![pod(1, "0.4.0"); 1_000]);
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..MAX_WAITING / 1_000 + 5 {
        let (service, batch) = (service.clone(), batch.clone());
        sent.spawn(async move { service.post("/events", &batch).await.status });
    }
    // Requests beyond the queue get their answer while the others wait.
    assert_eq!(sent.join_next().await.unwrap().unwrap(), 503);
    stall.rollback().await.unwrap();
    let statuses = sent.join_all().await;
    assert!(statuses.iter().filter(|status| **status == 200).count() >= MAX_WAITING / 1_000, "{statuses:?}");
    assert_eq!(service.post("/events", &batch).await.status, 200, "there is room again");
    std::sync::Arc::into_inner(service).unwrap().app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_send_nothing_do_not_keep_others_out_for_long() {
    let service = Service::start().await;
    let mut idle = Vec::new();
    for _ in 0..900 {
        idle.push(tokio::net::TcpStream::connect(service.app.address()).await.unwrap());
    }
    // More connections than allowed, all silent: the service closes them when their heads are overdue.
    let answered =
        tokio::time::timeout(std::time::Duration::from_secs(45), service.get("/healthz", None)).await;
    assert_eq!(answered.expect("in time").status, 204);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_never_end_bind_no_more_memory_than_is_set_aside_for_them() {
    use tokio::io::AsyncWriteExt;

    let service = Service::start().await;
    let head = "POST /_api/cloud/v1/analytics/events HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n\
                content-length: 2000000\r\n\r\n[";
    let mut endless = Vec::new();
    for _ in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(service.app.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        endless.push(stream);
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let answer = service.post("/events", &json!([pod(1, "0.4.0")])).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "unavailable"));
    // A sender of a long request also gets the answer, not a broken connection.
    let long = json!([" ".repeat(1_900_000)]);
    for _ in 0..5 {
        let answer = service.post("/events", &long).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "unavailable"));
        assert!(answer.header("retry-after").is_some());
    }
    let counted = "ingest_reports_refused_total{reason=\"overloaded\"} 14\n";
    assert!(metrics(&service).await.contains(counted), "these six, and eight of the endless ones");
    assert_eq!(
        service.post("/event", &pod(1, "0.4.0")).await.status,
        204,
        "single events have their own room"
    );
    drop(endless);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(service.post("/events", &json!([pod(1, "0.4.0")])).await.status, 200);
    service.app.shutdown().await;
}
