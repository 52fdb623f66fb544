//! What readers get, and who may read.

use ingest_api::access::Token;
use ingest_api::store::tokens::StoredToken;
use serde_json::json;

use crate::support::*;

async fn with_a_release() -> Service {
    let service = Service::start().await;
    let mut events = ten_pods(6);
    events.extend((10..16).map(|number| pod(number, "0.3.2")));
    events
        .extend((0..6).flat_map(|server| (0..5).map(move |n| direct(100 + server, n, "1.0.0", "web", "en"))));
    service.report(&events).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insight_tells_shares_of_what_was_published() {
    let service = with_a_release().await;
    let token = service.token().await;
    let answer = service.get("/v1/insights/reach?window=day", Some(&token)).await.json();
    assert_eq!(
        answer["windows"],
        json!([{ "start": "2026-11-22", "end": "2026-11-23", "total": null,
                 "blocks": [{ "label": "proxied", "count": 60, "share": 0.6667 },
                            { "label": "direct", "count": 30, "share": 0.3333 }] }])
    );
    let answer = service.get("/v1/insights/pods?window=week", Some(&token)).await.json();
    assert_eq!(answer["windows"][0]["total"], 15);
    let answer = service.get("/v1/insights/pod_versions?window=day&below=0.4.0", Some(&token)).await.json();
    assert_eq!(
        answer["windows"][0]["below"],
        json!({ "version": "0.4.0", "count": { "at_least": 3, "at_most": 7 },
                "share": { "at_least": 0.2, "at_most": 0.4667 } })
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insight_is_also_to_be_had_as_csv() {
    let service = with_a_release().await;
    let token = service.token().await;
    let answer = service.get("/v1/insights/pod_versions?window=day&format=csv", Some(&token)).await;
    assert!(answer.headers.contains("content-type: text/csv; charset=utf-8"), "{}", answer.headers);
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"pod_versions.csv\""));
    assert_eq!(
        answer.body,
        "\u{feff}window,start,end,population,label,count,share\n\
         day,2026-11-22,2026-11-23,pod,0.4.0,10,0.6667\n\
         day,2026-11-22,2026-11-23,pod,0.3.2,5,0.3333\n"
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_a_csv_do_not_depend_on_what_was_published() {
    let service = Service::start().await;
    let token = service.token().await;
    let answer =
        service.get("/v1/insights/pod_versions?window=day&below=0.4.0&format=csv", Some(&token)).await;
    let columns = "\u{feff}window,start,end,population,below,count_at_least,count_at_most,share_at_least,share_at_most\n";
    assert_eq!(answer.body, columns);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_needs_a_token_that_is_valid() {
    let service = with_a_release().await;
    let database = service.database();
    let token = Token::generate();
    let expires_at = Some("2026-11-24T00:00:00Z".parse().unwrap());
    let stored = StoredToken { name: "grafana".to_owned(), may_read_domains: false, expires_at };
    assert!(database.insert_token(&stored, &token.digest()).await.unwrap());
    assert!(!database.insert_token(&stored, &[1; 32]).await.unwrap(), "a name is taken once");

    let status = async |token: Option<&str>| service.get("/v1/insights", token).await.status;
    assert_eq!(status(None).await, 401);
    assert_eq!(status(Some("prose-reader-0000")).await, 401);
    assert_eq!(status(Some(token.reveal())).await, 200);
    let domains = service.get("/v1/insights/domains", Some(token.reveal())).await;
    assert_eq!(domains.problem(), "forbidden");

    service.set_clock("2026-11-24T00:00:00Z");
    assert_eq!(status(Some(token.reveal())).await, 401, "expired");
    service.set_clock("2026-11-23T12:00:00Z");
    assert_eq!(status(Some(token.reveal())).await, 200);
    assert!(database.delete_token("grafana").await.unwrap());
    assert_eq!(status(Some(token.reveal())).await, 401, "revoked");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_not_right_is_answered_with_what_would_be() {
    let service = with_a_release().await;
    let token = service.token().await;
    for (path, status) in [
        ("pods?window=year", 400),
        ("pods?from=yesterday", 400),
        ("pods?from=2026-12-01", 400),
        ("pods?from=2020-01-01", 400),
        ("pods?from=-009999-01-01&to=-009999-01-01", 400),
        ("%ff", 404),
        ("pods?window=day&window=week", 400),
        ("pods?colour=red", 400),
        ("pods?format=xml", 400),
        ("platforms?below=1.0.0", 400),
        ("pod_versions?below=latest", 400),
        ("countries", 404),
    ] {
        let answer = service.get(&format!("/v1/insights/{path}"), Some(&token)).await;
        assert_eq!(answer.status, status, "{path}");
        answer.problem();
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_of_a_question_are_told_at_once() {
    let service = Service::start().await;
    let token = service.token().await;
    let answer =
        service.get("/v1/insights/pods?window=CANARY&from=CANARY&format=xml&CANARY=1", Some(&token)).await;
    assert_eq!(answer.problem(), "invalid-query");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for part in ["`pods` takes window, from, to, format", "`window` is", "`from` is", "`format` is"] {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    assert!(!answer.body.contains("CANARY"), "{}", answer.body);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_known_is_not_sent_again_until_there_is_another() {
    let service = with_a_release().await;
    let token = service.token().await;
    let bearer = format!("Bearer {token}");
    let ask = async |path: &str, known: &str| {
        let headers = [("authorization", bearer.as_str()), ("if-none-match", known)];
        service.send("GET", path, &headers, b"").await
    };
    for path in [
        "/v1/insights",
        "/v1/insights/pods?window=day",
        "/v1/insights/pods?window=day&format=csv",
        "/openapi.json",
    ] {
        let first = ask(path, "").await;
        let tag = first.header("etag").unwrap().to_owned();
        assert!(first.status == 200 && tag.starts_with('"'), "{path}: {}", first.headers);
        let again = ask(path, &tag).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(ask(path, &format!("\"a\", W/{tag}")).await.status, 304, "{path}");
        assert_eq!(again.header("etag"), Some(tag.as_str()), "{path}");
        assert_eq!(again.header("cache-control"), first.header("cache-control"), "{path}");
    }
    let path = "/v1/insights/pods?window=day";
    let tag = ask(path, "").await.header("etag").unwrap().to_owned();
    assert_ne!(ask(&format!("{path}&format=csv"), "").await.header("etag"), Some(tag.as_str()));
    assert_eq!(ask(path, &tag).await.header("cache-control"), Some("private, no-cache"));
    service.report(&[pod(1, "0.4.0")]).await;
    service.set_clock("2026-11-24T07:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(ask(path, &tag).await.status, 200, "there is a newer release");
    let fixed = "/v1/insights/pods?window=day&from=2026-11-22&to=2026-11-22";
    assert_eq!(ask(fixed, &tag).await.status, 304, "and the older one is what it was");
    assert!(service.database().delete_token("printed at start").await.unwrap());
    assert_eq!(ask(path, &tag).await.status, 401, "who may no longer read is not told that it is the same");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_public_may_be_kept_by_everybody() {
    let service = Service::start_with(|config| {
        config.public_insights = [ingest_api::insight::Insight::Pods].into();
    })
    .await;
    let policy = |answer: &Response| answer.header("cache-control").unwrap().to_owned();
    assert_eq!(policy(&service.get("/v1/insights/pods", None).await), "public, max-age=300");
    let token = Token::generate();
    let stored = StoredToken { name: "sales".to_owned(), may_read_domains: true, expires_at: None };
    service.database().insert_token(&stored, &token.digest()).await.unwrap();
    let token = Some(token.reveal());
    assert_eq!(policy(&service.get("/v1/insights/pods", token).await), "private, no-cache");
    assert_eq!(policy(&service.get("/v1/insights/domains", token).await), "no-store");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_an_open_window_is_answered() {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    let token = service.token().await;
    for insight in ["pods", "pod_versions", "app_versions", "pod_sizes", "platforms", "languages", "reach"] {
        for window in ["day", "week", "month"] {
            let path = format!("/v1/insights/{insight}?window={window}&from=2026-01-01&to=2026-12-31");
            assert_eq!(service.get(&path, Some(&token)).await.json()["windows"], json!([]), "{path}");
        }
    }
    service.app.shutdown().await;
}
