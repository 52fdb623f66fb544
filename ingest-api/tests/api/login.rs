//! How a browser logs in, how long its session lasts, and how it ends.

use shared::data_point::PodVersion;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use ingest_api::access::Token;
use ingest_api::config::PublicUrl;
use ingest_api::insight::Insight;
use ingest_api::rates::Rate;
use ingest_api::store::tokens::StoredToken;

use crate::support::*;

/// A token of that name, valid for that many hours.
async fn token(service: &Service, name: &str, hours: i64, may_read_domains: bool) -> String {
    let token = Token::generate();
    let now = jiff::Timestamp::from_second(1_795_348_800).unwrap();
    let expires_at = Some(now + jiff::SignedDuration::from_hours(hours));
    let stored = StoredToken { name: name.to_owned(), may_read_domains, expires_at };
    assert!(service.database().insert_token(&stored, &token.digest()).await.unwrap());
    token.reveal().to_owned()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

async fn post_login(service: &Service, token: &str, more: &[(&str, &str)]) -> Response {
    let headers = [&[FORM, BROWSER], more].concat();
    service.send("POST", "/login", &headers, format!("token={token}&next=/v1/insights").as_bytes()).await
}

/// The cookie that a browser sends back.
fn cookie(answer: &Response) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

async fn status_with(service: &Service, cookie: &str) -> u16 {
    service.send("GET", "/v1/insights", &[("cookie", cookie)], b"").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_that_is_printed_at_start_logs_a_browser_in_and_does_not_stay_in_its_history() {
    let service = Service::start().await;
    let token = service.app.issue_start_token().await.unwrap();
    let answer = service.get(&ingest_api::login_path(&token), None).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert!(!format!("{}{}", answer.headers, answer.body).contains(token.reveal()), "{}", answer.headers);
    let cookie = cookie(&answer);
    let page = service.send("GET", "/", &[("cookie", &cookie)], b"").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("action=\"/logout\""), "{}", page.body);
    let behind_a_password = [("authorization", "Basic dXNlcjpwYXNz"), ("cookie", cookie.as_str())];
    assert_eq!(service.send("GET", "/", &behind_a_password, b"").await.status, 200);

    // An expired link leads to the form, without the token in its address.
    let answer = service.send("GET", "/login?token=prose-reader-0", &[BROWSER], b"").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/login?failed=token")));
    assert_eq!(service.get("/login?token=prose-reader-0", None).await.problem(), "unauthenticated");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_makes_a_session_and_goes_on_to_where_the_reader_wanted_to() {
    let service = Service::start().await;
    let page = service.send("GET", "/v1/insights?a=b", &[BROWSER], b"").await;
    assert_eq!((page.status, page.header("location")), (303, Some("/login?next=%2fv1%2finsights%3fa%3db")));
    let page = service.get("/login?next=%2Fv1%2Finsights", None).await;
    assert_eq!(page.status, 200);
    for part in ["<html lang=\"en\">", "<label for=\"token\">", "name=\"next\" value=\"/v1/insights\""] {
        assert!(page.body.contains(part), "{part} in {}", page.body);
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("form-action 'self'"), "{policy}");

    let token = token(&service, "team", 48, false).await;
    let answer = post_login(&service, &format!("+{token}+"), &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/v1/insights")));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("prose-session=prose-session-"), "{set}");
    assert!(set.ends_with("; httponly; samesite=lax; path=/; max-age=86400"), "{set}");
    assert!(!set.contains(&token), "the token is not in the cookie");
    assert_eq!(status_with(&service, &cookie(&answer)).await, 200);
    assert_eq!(status_with(&service, &format!("prose-session={token}")).await, 401, "a token is no session");
    let session = cookie(&answer).replace("prose-session=", "");
    assert_eq!(service.get("/v1/insights", Some(&session)).await.status, 401, "nor is a session a token");

    let wrong = post_login(&service, "prose-reader-0", &[]).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("role=\"alert\""), "{}", wrong.body);
    assert!(wrong.header("set-cookie").is_none());
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_logout_with_its_token_and_with_time() {
    let service = Service::start_with(|config| {
        config.session_lifetime = std::time::Duration::from_secs(8 * 3_600);
    })
    .await;
    let team = token(&service, "team", 48, false).await;
    let first = cookie(&post_login(&service, &team, &[]).await);
    let second = cookie(&post_login(&service, &team, &[]).await);
    let out = service.send("POST", "/logout", &[("cookie", &first)], b"").await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(out.header("set-cookie").unwrap().contains("max-age=0"), "{}", out.headers);
    assert_eq!(status_with(&service, &first).await, 401, "logged out");
    assert_eq!(status_with(&service, &second).await, 200, "the other browser is not");
    assert!(service.database().delete_token("team").await.unwrap());
    assert_eq!(status_with(&service, &second).await, 401, "revoked");

    let short = token(&service, "short", 2, false).await;
    let answer = post_login(&service, &short, &[]).await;
    assert!(answer.header("set-cookie").unwrap().contains("max-age=7200"), "not longer than the token");
    service.set_clock("2026-11-22T13:59:59Z");
    assert_eq!(status_with(&service, &cookie(&answer)).await, 200);
    service.set_clock("2026-11-22T14:00:00Z");
    assert_eq!(status_with(&service, &cookie(&answer)).await, 401, "its token has expired");

    let long = token(&service, "long", 480, false).await;
    let answer = post_login(&service, &long, &[]).await;
    service.set_clock("2026-11-22T22:00:00Z");
    assert_eq!(status_with(&service, &cookie(&answer)).await, 401, "eight hours are over");
    // The next login deletes expired sessions.
    post_login(&service, &long, &[]).await;
    let held = service.query("SELECT count(*)::text FROM access.session").await.unwrap();
    assert_eq!(held, ["1"]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_again_leaves_no_session_behind() {
    let service = Service::start().await;
    let token = token(&service, "team", 48, false).await;
    let first = cookie(&post_login(&service, &token, &[]).await);
    let second = cookie(&post_login(&service, &token, &[("cookie", &first)]).await);
    assert_eq!(status_with(&service, &first).await, 401);
    assert_eq!(status_with(&service, &second).await, 200);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_the_cookie_is_for_this_host_and_for_tls_only() {
    let service = Service::start_with(|config| {
        config.public_url = PublicUrl::parse("https://insights.example");
    })
    .await;
    let token = token(&service, "team", 48, false).await;
    let answer = post_login(&service, &token, &[]).await;
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("__host-prose-session="), "{set}");
    assert!(set.ends_with("; httponly; samesite=lax; path=/; max-age=86400; secure"), "{set}");
    let session = cookie(&answer).replace("__host-", "__Host-");
    assert_eq!(status_with(&service, &session).await, 200);
    let unmarked = session.replace("__Host-", "");
    assert_eq!(status_with(&service, &unmarked).await, 401, "a cookie that another host may have set");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_logs_nobody_in_or_out() {
    let service = Service::start_with(|config| {
        config.public_url = PublicUrl::parse("https://insights.example");
    })
    .await;
    let token = token(&service, "team", 48, false).await;
    for (headers, status) in [
        (vec![("sec-fetch-site", "same-origin")], 303),
        (vec![("sec-fetch-site", "none")], 303),
        (vec![("origin", "https://insights.example")], 303),
        (vec![("origin", "http://test")], 303),
        (vec![("sec-fetch-site", "cross-site"), ("origin", "https://insights.example")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
    ] {
        let answer = post_login(&service, &token, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        let out = service.send("POST", "/logout", &headers, b"").await;
        assert_eq!(out.status, status, "{headers:?}");
    }
    // A link on another site does not log in either; one in a terminal or a mail program does.
    service.clock.advance(jiff::SignedDuration::from_hours(1));
    let link = format!("/login?token={token}");
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("none", 303), ("same-origin", 303)] {
        let answer = service.send("GET", &link, &[BROWSER, ("sec-fetch-site", site)], b"").await;
        assert_eq!((answer.status, answer.header("set-cookie").is_some()), (status, status == 303), "{site}");
        assert_eq!(answer.body.contains("A page of another site led here"), status == 403);
        assert!(!answer.body.contains(&token), "{site}");
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_tries_for_ever() {
    let service = Service::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let token = token(&service, "team", 48, false).await;
    let from = [("x-forwarded-for", "192.0.2.1")];
    for _ in 0..20 {
        let cookie = cookie(&post_login(&service, &token, &from).await);
        assert_eq!(status_with(&service, &cookie).await, 200, "who may log in is not held back");
    }
    let unseen = self::token(&service, "unseen", 48, false).await;
    for n in 0..10 {
        assert_eq!(post_login(&service, &format!("prose-reader-{n}"), &from).await.status, 401);
    }
    let token = unseen;
    let answer = post_login(&service, &token, &from).await;
    assert_eq!(answer.status, 429);
    assert!(answer.body.contains("There were too many attempts"), "{}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("30"));
    let link = format!("/login?token={token}");
    assert_eq!(service.send("GET", &link, &from, b"").await.status, 429);
    let neighbour = [("x-forwarded-for", "192.0.2.77")];
    assert_eq!(post_login(&service, &token, &neighbour).await.status, 429, "the same network");
    let elsewhere = [("x-forwarded-for", "198.51.100.1")];
    assert_eq!(post_login(&service, &token, &elsewhere).await.status, 303);
    service.clock.advance(jiff::SignedDuration::from_secs(30));
    assert_eq!(post_login(&service, &token, &from).await.status, 303);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_that_come_all_at_once_are_held_back_too() {
    let service = Service::start().await;
    let guess = async |n: u32| {
        let token = format!("prose-reader-{n}");
        service.get("/v1/insights", Some(&token)).await.status
    };
    let statuses = futures_util::future::join_all((0..200).map(guess)).await;
    let looked_up = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..=11).contains(&looked_up), "{looked_up} of 200 were looked up");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_without_a_token_does_not_read_without_end() {
    let service = Service::start_with(|config| {
        config.public_insights = BTreeSet::from([Insight::of::<PodVersion>()]);
        let rates = ingest_api::intake::IntakeRates { requests: Rate::new(5, 60), ..Default::default() };
        config.limits = Some(rates);
    })
    .await;
    let token = token(&service, "team", 48, false).await;
    for _ in 0..5 {
        assert_eq!(service.get("/v1/insights/pod_versions", None).await.status, 200);
    }
    assert_eq!(service.get("/v1/insights/pod_versions", None).await.status, 429);
    assert_eq!(service.get("/v1/insights/pod_versions", Some(&token)).await.status, 200, "a reader may");
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_the_rights_of_its_token() {
    let service = Service::start().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event]).await;
    service.app.run_jobs().await.unwrap();
    for (name, may_read_domains) in [("sales", true), ("plain", false)] {
        let token = token(&service, name, 48, may_read_domains).await;
        let session = cookie(&post_login(&service, &token, &[]).await);
        let answer = service.send("GET", "/v1/insights/domains", &[("cookie", &session)], b"").await;
        if may_read_domains {
            assert_eq!(answer.json()["domains"][0]["domain"], domain(3));
        } else {
            assert_eq!(answer.problem(), "forbidden");
        }
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn insights_that_are_public_need_no_token_and_the_others_do() {
    let service = Service::start_with(|config| {
        config.public_insights = BTreeSet::from([Insight::of::<PodVersion>()]);
    })
    .await;
    assert_eq!(service.get("/v1/insights/pod_versions", None).await.status, 200);
    let stale = [("cookie", "prose-session=prose-session-0")];
    assert_eq!(service.send("GET", "/v1/insights/pod_versions", &stale, b"").await.status, 200);
    for insight in ["pods", "platforms", "domains"] {
        let answer = service.get(&format!("/v1/insights/{insight}"), None).await;
        assert_eq!(answer.problem(), "unauthenticated", "{insight}");
    }
    let listed = service.get("/v1/insights", None).await.json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|item| item["insight"].clone()).collect();
    assert_eq!(names, ["pod_versions"]);
    let token = token(&service, "team", 48, false).await;
    let listed = service.get("/v1/insights", Some(&token)).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 7, "all but the domains, for which it has no right");
    assert_eq!(service.get("/v1/insights/pod_versions", Some("prose-reader-0")).await.status, 401);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_api_end_too_and_keep_nobody_out_who_was_in() {
    let service = Service::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let known = token(&service, "team", 48, false).await;
    let late = token(&service, "late", 48, false).await;
    let ask = async |header: &str, value: &str, from: &str| {
        let headers = [(header, value), ("x-forwarded-for", from)];
        service.send("GET", "/v1/insights", &headers, b"").await
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let session = cookie(&post_login(&service, &known, &[("x-forwarded-for", "192.0.2.1")]).await);
    for _ in 0..20 {
        assert_eq!(ask("authorization", &bearer(&known), "192.0.2.1").await.status, 200, "costs nothing");
    }
    for n in 0..10 {
        let (header, guess) = if n % 2 == 0 {
            ("authorization", format!("Bearer {n}"))
        } else {
            ("cookie", format!("prose-session={n}"))
        };
        for _ in 0..3 {
            assert_eq!(ask(header, &guess, "192.0.2.1").await.status, 401, "the same one costs one attempt");
        }
    }
    for (header, value) in [("authorization", "Bearer x"), ("cookie", "prose-session=x")] {
        let refused = ask(header, value, "192.0.2.1").await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")), "{header}");
    }
    assert_eq!(ask("authorization", &bearer(&late), "192.0.2.1").await.status, 429, "not looked up at all");
    assert_eq!(ask("authorization", &bearer(&late), "198.51.100.1").await.status, 200, "from elsewhere");
    assert_eq!(ask("authorization", &bearer(&late), "192.0.2.1").await.status, 200, "it was in since");
    assert_eq!(ask("authorization", &bearer(&known), "192.0.2.1").await.status, 200);
    assert_eq!(ask("cookie", &session, "192.0.2.1").await.status, 200);
    assert!(service.database().delete_token("team").await.unwrap());
    assert_eq!(ask("authorization", &bearer(&known), "192.0.2.1").await.status, 401, "revoked");
    // Its session ended with it. The browser still sends the cookie, and its user can log in again.
    for _ in 0..20 {
        assert_eq!(ask("cookie", &session, "198.51.100.1").await.status, 401);
    }
    let again =
        post_login(&service, &late, &[("cookie", &session), ("x-forwarded-for", "198.51.100.1")]).await;
    assert_eq!(again.status, 303);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_it_is_ready_is_found_out_once_a_second() {
    let service = Service::start().await;
    let ready = async || service.get("/readyz", None).await.status;
    assert_eq!(ready().await, 204);
    for file in std::fs::read_dir(&service.config.key_dir).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    service.clock.advance(jiff::SignedDuration::from_millis(999));
    assert_eq!(ready().await, 204, "the answer stands");
    service.clock.advance(jiff::SignedDuration::from_millis(1));
    assert_eq!(ready().await, 503, "the keys are gone");
    service.app.shutdown().await;
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn neither_tokens_nor_sessions_nor_addresses_are_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // This whole test runs on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let service = Service::start().await;
    let token = token(&service, "team", 48, false).await;
    let session = cookie(&service.get(&format!("/login?token={token}"), None).await);
    let posted = cookie(&post_login(&service, &token, &[("x-forwarded-for", "192.0.2.81")]).await);
    service.get("/login?token=prose-reader-WRONG", None).await;
    service.get("/v1/insights", Some(&token)).await;
    service.send("POST", "/logout", &[("cookie", &session)], b"").await;
    service.app.shutdown().await;
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.len() > 100, "something was logged: {logged}");
    let secrets = [&session, &posted].map(|cookie| cookie.split_once('=').unwrap().1);
    for secret in [token.as_str(), secrets[0], secrets[1], "prose-reader-WRONG", "192.0.2."] {
        assert!(!logged.contains(secret), "{secret} in the log");
    }
}
