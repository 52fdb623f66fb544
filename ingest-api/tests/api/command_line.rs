//! `ingest-api insight`, next to the database and over HTTP; and the errors of commands that cannot do their
//! work.

use std::process::{Command, Output};

use ingest_api::access::Token;
use ingest_api::store::tokens::StoredToken;

use crate::support::*;

fn insight(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
    command.env_clear().env("HOME", "/nonexistent").arg("insight").args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insight_is_the_same_from_the_database_and_from_a_url() {
    let service = Service::start().await;
    let mut events = ten_pods(6);
    events.extend((10..16).map(|number| pod(number, "0.3.2")));
    events
        .extend((0..6).flat_map(|server| (0..5).map(move |n| direct(100 + server, n, "1.0.0", "web", "en"))));
    events[0]["origin"]["pod"]["identifiable"] = serde_json::json!({ "domain": domain(0) });
    service.report(&events).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    service.report(&[pod(1, "0.4.0")]).await;
    service.set_clock("2026-11-24T08:00:00Z");
    service.app.run_jobs().await.unwrap();

    let token = Token::generate();
    let stored = StoredToken { name: "cli".to_owned(), may_read_domains: true, expires_at: None };
    service.database().insert_token(&stored, &token.digest()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", token.reveal())).unwrap();
    let url = format!("http://{}/", service.app.address());
    let database = service.app.database().url().to_owned();

    let query = "/v1/insights/app_versions?window=day&to=2026-11-22&below=1.0.1&app=prose-app-web";
    let below_over_http = service.get(query, Some(token.reveal())).await;
    assert_eq!(below_over_http.status, 200);

    let (near, far) = tokio::task::spawn_blocking(move || {
        let file = file.to_str().unwrap();
        let mut printed = (Vec::new(), Vec::new());
        for (name, more) in [
            ("pods", [].as_slice()),
            ("pod_versions", &["--below", "0.4.0"]),
            ("pod_sizes", &[]),
            ("app_versions", &["--to", "2026-11-22", "--below", "1.0.1", "--app", "prose-app-web"]),
            ("app_versions", &["--below", "2.0.0"]),
            ("platforms", &["--from", "2026-11-01"]),
            ("languages", &["--to", "2026-11-23"]),
            ("reach", &[]),
            ("domains", &[]),
        ] {
            for format in ["table", "json", "csv"] {
                let window = if name == "domains" { [].as_slice() } else { &["--window", "day"] };
                let asked = [&[name, "--format", format], window, more].concat();
                let near = insight(&[&["--database-url", &database], asked.as_slice()].concat());
                let far = insight(&[&["--url", &url, "--token-file", file], asked.as_slice()].concat());
                assert!(near.status.success(), "{}", String::from_utf8_lossy(&near.stderr));
                assert!(far.status.success(), "{}", String::from_utf8_lossy(&far.stderr));
                printed.0.push((name, format, String::from_utf8(near.stdout).unwrap()));
                printed.1.push((name, format, String::from_utf8(far.stdout).unwrap()));
            }
        }
        printed
    })
    .await
    .unwrap();
    assert_eq!(near, far);
    let of = |name: &str, format: &str| {
        let found = far.iter().find(|(of, as_format, _)| *of == name && *as_format == format);
        found.unwrap().2.clone()
    };
    assert!(of("platforms", "csv").contains("day,2026-11-22,2026-11-23,pod,macos-aarch64,60,1"));
    assert!(of("domains", "table").contains(&domain(0)));
    let below: serde_json::Value = serde_json::from_str(&of("app_versions", "json")).unwrap();
    let over_http = serde_json::from_str::<serde_json::Value>(&below_over_http.body).unwrap();
    assert_eq!(below, over_http);
    assert_eq!(below["windows"][1]["below"]["app"], "prose-app-web");
    assert!(of("languages", "json").contains("\"de-CH\""));
    service.app.shutdown().await;
}

#[test]
fn options_that_do_not_go_together_are_mistakes_and_all_are_told_before_anybody_is_asked() {
    let below = "--below: is for pod_versions and app_versions";
    let app = "--app: is for app_versions";
    let reversed = "--from: `from` is after `to`";
    // A token must not be sent where others can read it in transit.
    let insecure = "--url: must begin with https://, because others could read the token on its way";
    for (options, expected) in [
        (["platforms", "--below", "1.0.0"].as_slice(), [below].as_slice()),
        (&["pod_versions", "--below", "1.0.0", "--app", "prose-app-web"], &[app]),
        (&["pods", "--from", "2026-11-22", "--to", "2026-11-01"], &[reversed]),
        (&["pods", "--url", "http://insights.example"], &[insecure]),
        (
            &["domains", "--window", "day", "--to", "2026-11-01"],
            &[
                "--window: is for insights about windows, and domains have none",
                "--to: is for insights about windows, and domains have none",
            ],
        ),
        (
            &["pods", "--to", "1999-12-31"],
            &["--to: a period has at most 400 days, and starts in 2000 or later"],
        ),
        (
            &[
                "pods",
                "--below",
                "1.0.0",
                "--app",
                "prose-app-web",
                "--from",
                "2026-11-22",
                "--to",
                "2026-11-01",
                "--url",
                "http://insights.example",
            ],
            &[below, app, reversed, insecure],
        ),
    ] {
        let (code, said) = run(&[&["insight"], options].concat());
        let said: Vec<_> = said.lines().map(|line| line.trim_start_matches("ingest-api: ")).collect();
        assert_eq!((code, said.as_slice()), (2, expected), "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_does_not_answer_is_said() {
    let service = Service::start().await;
    let url = format!("http://{}", service.app.address());
    let output = tokio::task::spawn_blocking(move || insight(&["pods", "--url", &url])).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("A valid token is needed."), "{said}");
    service.app.shutdown().await;
}

fn run(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
    let output = command.env_clear().env("HOME", "/nonexistent").args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_database_url_that_is_none_is_one_of_the_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ingest.toml");
    std::fs::write(&file, "[api]\nlisten = 'here'\n").unwrap();
    let arguments =
        ["check", "--config", file.to_str().unwrap(), "--database-url", "ingest:secret@localhost"];
    let (code, said) = run(&arguments);
    assert_eq!((code, said.lines().count()), (2, 2), "{said}");
    assert!(said.contains("api.listen: ") && said.contains("--database-url: must be a URL"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_database_that_cannot_be_reached_is_said_with_the_reason_and_without_its_url() {
    let (code, said) = run(&["status", "--database-url", "postgres://nobody:secret@127.0.0.1:9/nothing"]);
    assert_eq!(code, 1);
    assert!(said.contains("the database: it could not be reached: Connection refused"), "{said}");
    assert!(!said.contains("secret") && !said.contains("127.0.0.1") && !said.contains("nobody"), "{said}");
}
