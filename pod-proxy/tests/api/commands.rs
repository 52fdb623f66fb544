//! The commands as an operator calls them: the binary, its streams and its exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::stand_in::{SAMPLE, Vendor, post, proxy, toml};

fn pod_proxy(config: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pod-proxy"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_shows_every_mistake_on_a_line_of_its_own_and_exits_with_2() {
    let config = file(
        "[vendor_analytics]\nenabld = true\nusage.user_lang.max_locales = 0\n[pod_proxy]\nflush_interval = '1h'\n",
    );
    let output = pod_proxy(config.path(), &["check"], "");
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for key in [
        "vendor_analytics.enabld: ",
        "vendor_analytics.usage.user_lang.max_locales: ",
        "pod_proxy.flush_interval: ",
    ] {
        assert!(stderr.lines().any(|line| line.starts_with(key)), "{stderr}");
    }
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_command_line_with_a_mistake_exits_with_2_as_the_help_says() {
    let config = file("");
    for wrong in [&["sent", "--limit", "0"][..], &["policy", "--fromat", "json"], &["polcy"]] {
        let output = pod_proxy(config.path(), wrong, "");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{wrong:?}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_pod-proxy")).arg("--help").output().unwrap();
    assert!(text(&help.stdout).contains("or on the command line"));
}

#[test]
fn a_file_without_a_domain_is_good_for_everything_but_run() {
    let config = file("[vendor_analytics]\npreset = 'gdpr'\n");
    let output = pod_proxy(config.path(), &["check"], "");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("`run` needs a domain"));

    let output = pod_proxy(config.path(), &["policy", "--format", "json"], "");
    let policy: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&policy["preset"], &policy["min_cohort_size"]), (&json!("gdpr"), &json!(20)));
    assert_eq!(policy["usage"]["user_platform"]["allow_list"], Value::Null);

    let output = pod_proxy(config.path(), &["preview", "--user-count", "20"], &SAMPLE.replace('\n', " "));
    assert!(text(&output.stderr).contains("this is for `pod.example`"));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["outcome"], "sent");

    let output = pod_proxy(config.path(), &["run"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("pod_proxy.domain: must be set"));
}

#[test]
fn the_table_shows_which_layer_decided_each_key() {
    let config = file(
        "[vendor_analytics]\npreset = 'gdpr'\nusage.user_lang.enabled = false\nacquisition.enabled = false\n",
    );
    let output = pod_proxy(config.path(), &["policy"], "");
    let table = text(&output.stdout);
    let row = |key: &str| {
        let row = table.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("min_cohort_size"), "min_cohort_size 20 preset gdpr");
    assert_eq!(row("usage.user_lang.enabled"), "usage.user_lang.enabled false [vendor_analytics] not shared");
    assert_eq!(row("usage.pod_version.enabled"), "usage.pod_version.enabled true preset gdpr shared");
}

#[test]
fn preview_answers_each_line() {
    let config = file("[vendor_analytics]\nmin_cohort_size = 11\n");
    let events = format!("{}\n\n[]\n{{\"origin\":{{}}}}\n", SAMPLE.replace('\n', " "));
    let output = pod_proxy(config.path(), &["preview", "--user-count", "10"], &events);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], json!({ "outcome": "dropped", "reason": "small_cohort" }));
    assert_eq!((&lines[1]["outcome"], &lines[1]["problem"]["status"]), (&json!("rejected"), &json!(422)));
    assert_eq!(lines[2], json!({ "outcome": "dropped", "reason": "no_user_hash" }));
}

#[test]
fn preview_refuses_a_salt_file_that_is_none() {
    let config = file("");
    let salt = file("too short");
    let output = pod_proxy(config.path(), &["preview", "--salt-file", salt.path().to_str().unwrap()], SAMPLE);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has 9 bytes and not 256"));
}

#[tokio::test]
async fn preview_prints_byte_for_byte_what_a_socket_in_place_of_the_vendor_gets() {
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = toml(
        &vendor.url,
        folder.path(),
        "usage.user_lang.max_locales = 1\nacquisition.pod_domain.enabled = true",
        "accounts.fixed = 33",
    );
    let app = proxy(&text).await;
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    app.proxy.flush().await;
    vendor.takes_one_by_one();
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    app.proxy.flush().await;

    let config = file(&text);
    let output = tokio::task::spawn_blocking(move || {
        pod_proxy(config.path(), &["preview"], &SAMPLE.replace('\n', " "))
    });
    let output = String::from_utf8(output.await.unwrap().stdout).unwrap();
    let event = output.trim_end().strip_prefix(r#"{"outcome":"sent","event":"#).unwrap();
    let event = event.strip_suffix('}').unwrap();
    let requests = vendor.requests();
    assert_eq!(requests[0].path(), "/_api/cloud/v1/analytics/events");
    assert_eq!(requests[0].body, format!("[{event}]"));
    assert_eq!(requests[2].path(), "/_api/cloud/v1/analytics/event");
    assert_eq!(requests[2].body, event);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_proxy_that_listens_and_fails_when_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let app = proxy(&toml("http://127.0.0.1:9", folder.path(), "", "")).await;
    let config = |listen: std::net::SocketAddr| {
        // As in a container: it listens on all addresses, and is asked on loopback.
        file(&format!("[pod_proxy]\nlisten = '0.0.0.0:{}'\n", listen.port()))
    };
    let config = config(app.local_addr());
    let path = config.path().to_owned();
    let ask = move || pod_proxy(&path, &["health"], "");
    let well = tokio::task::spawn_blocking(ask.clone()).await.unwrap();
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    assert!(text(&well.stdout).contains(r#""status":"ok""#), "{}", text(&well.stdout));
    app.shutdown().await;
    let gone = tokio::task::spawn_blocking(ask).await.unwrap();
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone.stdout));
}
