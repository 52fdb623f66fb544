//! The systemd units and the guide: valid, hardened, with the warning. The proxy runs without any right
//! except for its data folder.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::trial::{has, trial};
use anyhow::{Context, ensure};
use e2e::process::{Process, binaries};
use e2e::stack::{client, folder};
use libtest_mimic::Trial;
use pod_proxy::config::Config;
use shared::data_point::REGISTRY;

/// The units, and the program that each starts.
const UNITS: [(&str, &str); 2] = [("pod-proxy.service", "pod-proxy"), ("ingest-api.service", "ingest-api")];

/// The most exposure of a unit, in tenths. systemd calls up to 40 "OK"; a unit without any hardening has 96.
const MAX_EXPOSURE: &str = "15";

pub(crate) fn trials() -> Vec<Trial> {
    let no_systemd =
        (systemd_version() < Some(250)).then_some("systemd-analyze 250 or newer is not installed");
    let not_root = if !rustix::process::geteuid().is_root() {
        Some("only root can make a file system read-only")
    } else if !(has("unshare") && has("setpriv")) {
        Some("unshare and setpriv are not installed")
    } else if !can_unshare() {
        Some("this machine does not let root mount anything")
    } else {
        None
    };
    vec![
        trial("systemd_understands_each_line_of_the_units", no_systemd, understood),
        trial("systemd_finds_little_exposed_by_the_units", no_systemd, hardened),
        trial("the_units_warn_before_anything_starts", None, warned),
        trial("the_trial_tells_a_wrong_option_before_it_builds", None, told_first),
        trial("the_images_are_labelled_with_the_version_of_the_workspace", None, labelled),
        trial("the_guide_begins_with_the_warning_and_its_configurations_have_no_mistake", None, guided),
        trial("an_unprivileged_proxy_on_a_read_only_file_system_takes_events", not_root, unprivileged),
    ]
}

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// `systemd 252 (252.38-1~deb12u1)`; `None` without systemd.
fn systemd_version() -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}

fn can_unshare() -> bool {
    let tried = Command::new("unshare").args(["--mount", "mount", "--bind", "/", "/"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// systemd's verdict on a unit, with the program replaced by an installed one. `text` is the unit.
fn analyze(arguments: &[&str], name: &str, text: &str) -> anyhow::Result<Output> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    let program = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("ExecStart=")?;
    let program = program.split(' ').next().context("a program")?;
    fs::write(&path, text.replace(program, "/bin/true"))?;
    Ok(Command::new("systemd-analyze").args(arguments).arg(path).output()?)
}

fn verify(name: &str, text: &str) -> anyhow::Result<String> {
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no"], name, text)?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success() || !said.is_empty(), "it failed, and did not say why");
    Ok(said)
}

fn understood() -> anyhow::Result<()> {
    for (name, _) in UNITS {
        let text = read(&deploy("systemd").join(name))?;
        let said = verify(name, &text)?;
        ensure!(said.is_empty(), "{name}: {said}");
        // A check that cannot fail proves nothing.
        ensure!(!verify(name, &text.replace("ProtectHome=", "ProtectHouse="))?.is_empty());
    }
    Ok(())
}

fn hardened() -> anyhow::Result<()> {
    for (name, _) in UNITS {
        let text = read(&deploy("systemd").join(name))?;
        let threshold = format!("--threshold={MAX_EXPOSURE}");
        let exposed = |text: &str| analyze(&["security", "--offline=true", &threshold], name, text);
        let output = exposed(&text)?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
        ensure!(!exposed(&text.replace("SystemCallFilter=", "# "))?.status.success());
    }
    Ok(())
}

fn warned() -> anyhow::Result<()> {
    for (name, program) in UNITS {
        let text = read(&deploy("systemd").join(name))?;
        let comment = text.split("[Unit]").next().context("a beginning")?;
        let comment = comment.replace("\n# ", " ").replace("\n#", " ");
        for words in ["before the first start", "pseudonyms", "platforms", "languages", "accounts"] {
            ensure!(comment.contains(words), "{name} does not warn of {words}");
        }
        ensure!(text.contains(&format!("\nExecStart=/usr/local/bin/{program} ")), "{name}");
    }
    // The configuration that the proxy's unit suggests is valid, and does what the unit says.
    let text = read(&deploy("systemd/pod-proxy.service"))?;
    let written = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect::<Vec<_>>().join("\n");
    let config = Config::from_toml(&written)?;
    ensure!(!config.policy.is_enabled() && config.policy.preset() == "gdpr", "{written}");
    let check = text.find("ExecStartPre=/usr/local/bin/pod-proxy check ");
    ensure!(check.is_some_and(|at| Some(at) < text.find("ExecStart=")), "it is not checked first");
    Ok(())
}

fn told_first() -> anyhow::Result<()> {
    let run = |arguments: &[&str]| {
        // This path has no build tools.
        let output =
            Command::new("bash").arg(deploy("run")).args(arguments).env("PATH", "/usr/bin:/bin").output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        anyhow::Ok((output.status.code(), said))
    };
    for wrong in [&["--onec"][..], &["--once", "--days", "0"], &["--seed"], &["--seed=x"], &["--days=401"]] {
        let (code, said) = run(wrong)?;
        ensure!(code == Some(2) && said.contains("Usage: deploy/run"), "{wrong:?}: {said}");
        ensure!(!said.contains("Building") && !said.contains("About analytics"), "{wrong:?}: {said}");
    }
    let (code, said) = run(&["--seed", "2", "--days=7", "--once", "--help"])?;
    ensure!(code == Some(0) && said.starts_with("Usage: deploy/run"), "{said}");
    Ok(())
}

fn labelled() -> anyhow::Result<()> {
    let text = read(&deploy("Dockerfile"))?;
    let version = text.lines().find_map(|line| line.strip_prefix("ARG VERSION="));
    ensure!(version == Some(env!("CARGO_PKG_VERSION")), "the Dockerfile has {version:?}");
    Ok(())
}

fn guided() -> anyhow::Result<()> {
    let guide = read(&deploy("README.md"))?;
    let first = guide.split("\n## ").nth(1).context("a first section")?;
    for point in REGISTRY.iter() {
        ensure!(first.contains(&format!("`{}`", point.key)), "the warning does not name {}", point.key);
    }
    for words in ["`default`", "`gdpr`", "`lgpd`", "`all`", "enabled = false", "before the first start"] {
        ensure!(first.contains(words), "the warning does not name {words}");
    }
    for command in ["pod-proxy policy", "pod-proxy preview", "pod-proxy sent", "pod-proxy check"] {
        ensure!(first.contains(command), "the warning does not name {command}");
    }
    let blocks: Vec<_> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(blocks.len() >= 3);
    for block in blocks {
        Config::from_toml(block).with_context(|| block.to_owned())?;
    }
    let both = format!("{guide}{}", read(&deploy("DAY-TWO.md"))?);
    for link in both.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
        ensure!(link.is_empty() || link.starts_with("https://") || deploy(link).exists(), "no {link}");
    }
    Ok(())
}

/// Makes everything read-only except for `$1`, shows that this holds for root too, and runs the proxy as
/// nobody.
const BECOME_UNPRIVILEGED: &str = r#"
set -eu
data=$1 outside=$2; shift 2
mount --make-rprivate /
mount --bind "$data" "$data"
awk '{ print $5 }' /proc/self/mountinfo | while read -r place; do
    [ "$place" = "$data" ] || mount -o remount,bind,ro "$place" 2>/dev/null || true
done
for place in "$outside" /var/lib /etc; do
    if touch "$place/written" 2>/dev/null; then echo "$place can be written"; exit 1; fi
done
exec setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"#;

const EVENT: &str = r#"{"name":"app:startup","origin":{
    "app":{"name":"prose-app-web","version":"1.0.1","platform":"macos-aarch64","user_preferred_locales":["de-CH"]},
    "pod":{"user_hash":"19a124bd2f89edfe"}}}"#;

fn unprivileged() -> anyhow::Result<()> {
    let folder = folder()?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    ensure!(Command::new("chown").arg("nobody:nogroup").arg(&data).status()?.success());
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    let config = folder.path().join("prose.toml");
    let text = format!(
        "[pod_proxy]\ndomain = 'example.org'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://127.0.0.1:9'\n\
         data_dir = '{}'\naccounts.fixed = 33\n",
        data.display()
    );
    fs::write(&config, text)?;
    // Other users may not have access to the build folder.
    let program = folder.path().join("pod-proxy");
    fs::copy(binaries()?.join("pod-proxy"), &program)?;

    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", BECOME_UNPRIVILEGED, "sh"]).arg(&data).arg(folder.path());
    command.arg(&program).args(["run", "--config"]).arg(&config);
    let mut process = Process::start(&mut command)?;
    let address: SocketAddr = process.wait_for(|line| {
        let (_, rest) = line.split_once("127.0.0.1:")?;
        let port: u16 = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        Some(([127, 0, 0, 1], port).into())
    })?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = format!("http://{address}/cloud-api-proxy/v1/analytics/event");
        e2e::stack::post(&client()?, &url, EVENT.to_owned()).await
    })?;
    // Its only files are in its data folder, which nobody else may read.
    for name in ["salt", "spool.redb"] {
        let file = fs::metadata(data.join(name)).context(name)?;
        ensure!(file.mode() & 0o077 == 0 && file.uid() != 0, "{name} has mode {:o}", file.mode());
    }
    process.stop()?;
    Ok(())
}
