//! The pages of a browser, their style and headers, and errors as pages.

use shared::data_point::PodVersion;
use std::collections::BTreeSet;

use ingest_api::insight::Insight;

use crate::support::*;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

async fn browse(service: &Service, path: &str, token: Option<&str>) -> Response {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![BROWSER];
    headers.extend(bearer.iter().map(|value| ("authorization", value.as_str())));
    service.send("GET", path, &headers, b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_a_page_for_a_browser_and_a_problem_for_a_program() {
    let service = Service::start().await;
    let token = service.token().await;
    for (path, status, title) in [
        ("/nowhere", 404, "There is no such page"),
        ("/insights/countries", 404, "There is no such page"),
        ("/insights/%ff", 404, "There is no such page"),
        ("/insights/domains", 403, "This is not for your token"),
        ("/insights/pods?window=year", 400, "is not understood"),
        ("/insights/pods?colour=red", 400, "is not understood"),
        ("/insights/languages?guide=0", 400, "is not understood"),
        ("/insights/pod_versions?below=latest", 400, "is not understood"),
        ("/insights/pods?from=2026-12-01&to=2026-11-01", 400, "is not understood"),
        ("/v1/insights/countries", 404, "There is no such page"),
    ] {
        let page = browse(&service, path, Some(&token)).await;
        assert_eq!(page.status, status, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(
            page.body.contains(title) && page.body.contains("<link rel=\"stylesheet\""),
            "{path}: {}",
            page.body
        );
        let problem = service.get(path, Some(&token)).await;
        assert_eq!(problem.status, status, "{path}");
        problem.problem();
    }
    // An error page does not repeat the request.
    let page = browse(&service, "/insights/%3Cscript%3Ealert(1)%3C/script%3E", Some(&token)).await;
    assert!(page.status == 404 && !page.body.contains("alert"), "{}", page.body);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_style_sheet_is_kept_for_good_under_a_name_that_changes_with_it() {
    let service = Service::start().await;
    let page = browse(&service, "/methodology", None).await;
    assert_eq!(page.status, 200);
    let path = page.body.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = service.get(path, None).await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let etag = style.header("etag").unwrap().to_owned();
    assert!(path.contains(etag.trim_matches('"')) && !etag.starts_with("w/"), "{path} {etag}");
    for known in [etag.clone(), format!("W/{etag}"), format!("\"a\", W/{etag}"), "*".to_owned()] {
        let again = service.send("GET", path, &[("if-none-match", &known)], b"").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
    }
    assert_eq!(service.send("GET", path, &[("if-none-match", "\"a\"")], b"").await.status, 200);
    assert_eq!(service.get("/assets/pages-0000000000000000.css", None).await.status, 404);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_lets_no_script_run_and_is_kept_by_nobody_else() {
    let service = Service::start().await;
    let token = service.token().await;
    for path in ["/", "/insights/languages", "/methodology", "/login", "/nowhere"] {
        let page = browse(&service, path, Some(&token)).await;
        let policy = page.header("content-security-policy").unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert!(!page.body.contains("<script") && !page.body.contains(" style="), "{path}");
        let kept = page.header("cache-control").unwrap();
        assert!(kept == "private, no-cache" || kept == "no-store", "{path}: {kept}");
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_insight_has_a_page_for_everybody_and_the_menu_has_no_other() {
    let service =
        Service::start_with(|config| config.public_insights = BTreeSet::from([Insight::of::<PodVersion>()]))
            .await;
    let page = browse(&service, "/insights/pod_versions", None).await;
    assert_eq!(page.status, 200);
    for (path, is_there) in [
        ("/", true),
        ("/insights/pod_versions", true),
        ("/insights/platforms", false),
        ("/insights/domains", false),
    ] {
        assert_eq!(page.body.contains(&format!("href=\"{path}\"")), is_there, "{path}");
    }
    assert!(page.body.contains("No week has been released yet"), "{}", page.body);
    assert_eq!(browse(&service, "/", None).await.status, 200);
    let closed = browse(&service, "/insights/platforms", None).await;
    assert_eq!(
        (closed.status, closed.header("location")),
        (303, Some("/login?next=%2finsights%2fplatforms"))
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_too_little_to_publish_is_said_to_be() {
    let service = Service::start().await;
    service.report(&[pod(1, "0.4.0"), direct(1, 1, "1.0.0", "web", "de")]).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    for insight in Insight::ALL.iter().filter(|insight| insight.family().is_some()) {
        let path = format!("/insights/{}?window=day", insight.as_str());
        let page = browse(&service, &path, Some(&token)).await;
        assert!(page.status == 200 && page.body.contains("Too few to publish"), "{path}: {}", page.body);
    }
    let page = browse(&service, "/?window=day", Some(&token)).await;
    assert!(page.status == 200 && page.body.contains("too few"), "{}", page.body);
    let page = browse(&service, "/?window=month", Some(&token)).await;
    assert!(
        page.body.contains("No month has been released yet") && page.body.contains(r#"href="/?window=day""#),
        "{}",
        page.body
    );
    service.app.shutdown().await;
}

/// Rendered pages are cached.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_of_who_asks_and_of_the_releases_that_are_there() {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    const PAGES: [&str; 2] = ["/insights/platforms?window=day&period=1y", "/?window=day&period=1y"];
    let show = async |token: &str| {
        let mut shown = Vec::new();
        for path in PAGES {
            let page = browse(&service, path, Some(token)).await;
            assert_eq!(page.status, 200, "{path}");
            shown.push(page.body);
            let closed = browse(&service, path, None).await;
            assert_eq!(closed.status, 303, "a reader without the right is not shown what others saw");
        }
        shown
    };
    let days = |page: &str| ["2026-11-22", "2026-11-23"].map(|day| page.contains(day));
    let first = show(&token).await;
    assert_eq!(days(&first[0]), [true, false], "{}", first[0]);
    assert_eq!(show(&token).await, first);

    service.report(&ten_pods(7)).await;
    service.set_clock("2026-11-24T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    let second = show(&token).await;
    assert_eq!(days(&second[0]), [true, true], "{}", second[0]);

    let purged = service.database().purge_releases("2026-11-23".parse().unwrap()).await.unwrap();
    assert_eq!(purged, 2, "the first day and its week");
    let third = show(&token).await;
    assert_eq!(days(&third[0]), [false, true], "{}", third[0]);

    // Nobody has reported on the day after, and nobody closes it.
    service.set_clock("2026-11-26T08:00:00Z");
    let fourth = show(&service.token().await).await;
    assert!(fourth.iter().all(|page| page.contains("overdue")), "{fourth:?}");
    let shown: BTreeSet<_> = [first, second, third, fourth].into_iter().flatten().collect();
    assert_eq!(shown.len(), 4 * PAGES.len(), "each time, both pages are others");
    service.app.shutdown().await;
}
