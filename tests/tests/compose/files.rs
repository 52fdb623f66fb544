//! What can be said of the files below `deploy/` without starting what they describe.

use std::fs;

use anyhow::{Context, ensure};

use crate::docker::{Project, docker, repository};
use crate::images::{self, NGINX, PROMETHEUS};

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

pub(crate) fn a_proxy_beside_a_pod_does_not_start_before_the_operator_has_answered() -> anyhow::Result<()> {
    ["pod/compose.yaml", "pod/host.yaml"].into_iter().try_for_each(must_be_answered)
}

fn must_be_answered(file: &str) -> anyhow::Result<()> {
    let mut project = Project::new("pod", file, "none");
    let refused = project.command(&["config"]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("about analytics, decide first"), "{said}");
    // "As the file says" is an answer too, and must not be stronger than the file.
    for answer in ["false", ""] {
        project.set("PROSE_VENDOR_ANALYTICS__ENABLED", answer);
        let config = project.compose(&["config"])?;
        let passed_on =
            config.lines().find_map(|line| line.trim().strip_prefix("PROSE_VENDOR_ANALYTICS__ENABLED:"));
        let passed_on = passed_on.context("the answer is not passed on")?.trim();
        ensure!(passed_on.trim_matches(['\'', '"']) == answer, "{config}");
    }
    Ok(())
}

pub(crate) fn the_web_server_of_a_pod_hands_on_what_the_guide_says() -> anyhow::Result<()> {
    images::make_stand_ins()?;
    let snippet = read("deploy/pod/nginx.conf")?;
    let location = &snippet[snippet.find("location ").context("a location")?..];
    ensure!(
        read("deploy/README.md")?.contains(location),
        "the guide says something else than deploy/pod/nginx.conf"
    );
    // nginx understands it, where an operator puts it.
    let folder = e2e::stack::folder()?;
    let config = format!("pid /tmp/pid;\nevents {{}}\nhttp {{ server {{ listen 8080;\n{snippet}\n}} }}\n");
    let check = |config: &str| -> anyhow::Result<String> {
        fs::write(folder.path().join("nginx.conf"), config)?;
        let volume = format!("{}:/check:ro", folder.path().display());
        docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--volume",
            &volume,
            "--entrypoint",
            "nginx",
            NGINX,
            "-t",
            "-q",
            "-c",
            "/check/nginx.conf",
        ])
    };
    check(&config)?;
    ensure!(check(&config.replace("proxy_pass_request_headers", "proxy_pass_everything")).is_err());
    let vendor = format!("{}:/check.conf:ro", repository().join("deploy/vendor/nginx.conf").display());
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        &vendor,
        "--entrypoint",
        "nginx",
        NGINX,
        "-t",
        "-q",
        "-c",
        "/check.conf",
    ])?;
    Ok(())
}

pub(crate) fn the_rules_of_prometheus_fire_when_they_should() -> anyhow::Result<()> {
    images::make_stand_ins()?;
    let rules = format!("{}:/rules:ro", repository().join("deploy/prometheus").display());
    let vendor = format!(
        "{}:/rules-vendor/prometheus.yml:ro",
        repository().join("deploy/vendor/prometheus.yml").display()
    );
    let alerts = format!(
        "{}:/rules-vendor/alerts.yml:ro",
        repository().join("deploy/prometheus/alerts.yml").display()
    );
    let promtool = |arguments: &[&str]| {
        let run = [
            "run",
            "--rm",
            "--network",
            "none",
            "--volume",
            &rules,
            "--volume",
            &vendor,
            "--volume",
            &alerts,
            "--entrypoint",
            "promtool",
            PROMETHEUS,
        ];
        docker(&[&run[..], arguments].concat())
    };
    promtool(&["check", "config", "/rules/prometheus.yml"])?;
    promtool(&["check", "config", "/rules-vendor/prometheus.yml"])?;
    promtool(&["test", "rules", "/rules/alerts.test.yml"])?;
    // Each alert is tested, and the guide says what to do about it.
    let (tests, guide) = (read("deploy/prometheus/alerts.test.yml")?, read("deploy/DAY-TWO.md")?);
    let rules = read("deploy/prometheus/alerts.yml")?;
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() >= 5, "{alerts:?}");
    for alert in alerts {
        ensure!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is not tested");
        ensure!(guide.contains(&format!("| `{alert}` |")), "the guide does not know {alert}");
    }
    Ok(())
}

pub(crate) fn the_files_begin_with_the_warning() -> anyhow::Result<()> {
    for file in [
        "deploy/compose.yaml",
        "deploy/pod/compose.yaml",
        "deploy/pod/host.yaml",
        "deploy/vendor/compose.yaml",
        "deploy/Dockerfile",
    ] {
        let text = read(file)?;
        let comment: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        let comment = comment.replace("# ", " ");
        for words in [
            "About analytics.",
            "before the first start",
            "pseudonyms",
            "platform",
            "languages",
            "deploy/README.md",
        ] {
            ensure!(comment.contains(words), "{file} does not warn of {words}: {comment}");
        }
    }
    Ok(())
}
