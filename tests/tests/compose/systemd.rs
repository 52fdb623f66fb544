//! The units of `deploy/systemd` under a real systemd, in a container, installed by the commands of the guide: an event goes
//! through both services in spite of all that is forbidden to them, and they stop in time.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::docker::{POSTGRES, docker, repository, run, until};
use crate::guide::Block;
use crate::images;

/// Debian with systemd, and the Postgres that the image has anyhow.
const IMAGE: &str = "prose-analytics-systemd:test";
const PACKAGES: &str =
    "apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv dbus curl procps";
/// What systemd needs to be the first process of a container, and to fence in the processes that it starts.
const RIGHTS: [&str; 5] = ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN", "SYS_NICE"];

/// What keeps systemd from being run in a container of this engine, if anything does.
pub(crate) fn missing() -> Option<&'static str> {
    let options = docker(&["info", "--format", "{{.SecurityOptions}}"]).unwrap_or_default();
    ["rootless", "userns"]
        .iter()
        .any(|option| options.contains(option))
        .then_some("this Docker Engine gives no container the rights that systemd needs")
}

/// Makes the image, which takes as long as packages are fetched.
pub(crate) fn make_image() -> anyhow::Result<()> {
    let dockerfile = format!("FROM {POSTGRES}\nRUN {PACKAGES}\n");
    let script = format!("printf '%s' \"$0\" | DOCKER_BUILDKIT=0 docker build --quiet --tag {IMAGE} -");
    run(Command::new("sh").args(["-c", &script, &dockerfile])).map(drop)
}

/// A machine on which systemd is the first process. Removed at the end.
struct Machine(String);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.0]);
    }
}

impl Machine {
    fn start() -> anyhow::Result<Self> {
        let name = format!("prose-test-{}-systemd", std::process::id());
        let rights = RIGHTS.map(|right| format!("--cap-add={right}"));
        let rights: Vec<_> = rights.iter().map(String::as_str).collect();
        let open = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
        let places = ["--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/tmp", "--workdir", "/repository"];
        // It has control groups of its own, and may write to them.
        let start =
            ["--entrypoint", "sh", IMAGE, "-c", "mount -o remount,rw /sys/fs/cgroup; exec /sbin/init"];
        // By the label it is found if the test is killed.
        let label = format!("com.docker.compose.project={name}");
        let named = ["run", "--detach", "--name", &name, "--label", &label, "--network", "none"];
        docker(&[&named[..], &rights, &open, &places, &start].concat())?;
        let machine = Self(name);
        until("systemd has started", || {
            let state = machine.run("systemctl is-system-running || true")?;
            Ok(["running", "degraded"].contains(&state.trim()).then_some(()))
        })?;
        Ok(machine)
    }

    /// Runs a script there as root; returns what it said.
    fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = format!("export PATH=$PATH:/usr/sbin:/sbin\n{script}");
        docker(&["exec", &self.0, "bash", "-euo", "pipefail", "-c", &script])
    }

    /// What the guide has the operator build, out of the image.
    fn install(&self, program: &str, image: &str) -> anyhow::Result<()> {
        let built = docker(&["create", image])?;
        let copied = run(Command::new("sh").args([
            "-c",
            "docker cp \"$0:/usr/local/bin/$1\" - | docker cp - \"$2:/repository/target/release/\"",
            built.trim(),
            program,
            &self.0,
        ]));
        docker(&["rm", built.trim()])?;
        copied.map(drop)
    }

    /// Stops a service, and fails unless it was gone, and well, within ten seconds.
    fn stop(&self, unit: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        self.run(&format!("systemctl stop {unit}"))?;
        let elapsed = start.elapsed();
        ensure!(elapsed < Duration::from_secs(10), "{unit} took {elapsed:?} to stop");
        let result =
            self.run(&format!("systemctl show -p Result -p ExecMainStatus -p ActiveState {unit}"))?;
        for expected in ["Result=success", "ExecMainStatus=0", "ActiveState=inactive"] {
            ensure!(result.contains(expected), "{unit}: {result}");
        }
        Ok(())
    }

    /// Fails unless a service is as confined as its unit says: the filters are in force, and not only understood.
    fn confined(&self, unit: &str) -> anyhow::Result<()> {
        let script = format!(
            "p=$(systemctl show -p MainPID --value {unit}); grep -E '^(Uid|CapBnd|NoNewPrivs|Seccomp):' /proc/$p/status | tr -s '\\t ' ' '
             awk '$5 == \"/\" {{ print \"root \" substr($6, 1, 2) }} $5 ~ /^.var.lib.prose-/ {{ print $5 \" \" substr($6, 1, 2) }}' /proc/$p/mountinfo"
        );
        let found = self.run(&script)?;
        let data = format!("/var/lib/prose-{unit} rw");
        for expected in ["CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2", "root ro", &data] {
            ensure!(found.lines().any(|line| line == expected), "{unit} lacks {expected}: {found}");
        }
        ensure!(!found.contains("Uid: 0 "), "{unit} is root: {found}");
        Ok(())
    }

    /// Hands the proxy an event, waits until it has left; `windows` lists the windows that the vendor then has open.
    fn hand_on_an_event(&self, number: u8, windows: &str) -> anyhow::Result<()> {
        let event = format!(
            r#"{{"origin":{{"app":{{"name":"prose-app-web"}},"pod":{{"user_hash":"19a124bd2f89ed{number:02x}"}}}}}}"#
        );
        let post =
            format!("curl -sS -f --json '{event}' http://127.0.0.1:8290/cloud-api-proxy/v1/analytics/event");
        self.run(&post)?;
        until("the event has left", || {
            let sent = self.run("pod-proxy sent --format json")?;
            let taken = |line: &&str| line.contains("user_hash") && line.contains("taken");
            Ok((sent.lines().filter(taken).count() == usize::from(number)).then_some(()))
        })?;
        let listed = self.run(windows)?;
        for kind in ["day", "week", "month"] {
            ensure!(listed.lines().any(|line| line.contains(kind) && line.contains("open")), "{listed}");
        }
        Ok(())
    }
}

pub(crate) fn systemd_runs_both_units_as_hardened_as_they_are_and_stops_them_in_time() -> anyhow::Result<()> {
    let tag = images::tag()?;
    make_image()?;
    let machine = Machine::start()?;
    machine.run("mkdir -p /repository/target/release /etc/prose")?;
    machine.install("ingest-api", &format!("prose-ingest-api:{tag}"))?;
    machine.install("pod-proxy", &format!("prose-pod-proxy:{tag}"))?;
    let deploy = repository().join("deploy");
    run(Command::new("docker").arg("cp").arg(deploy).arg(format!("{}:/repository/deploy", machine.0)))?;

    // The vendor, over a Postgres of the same machine.
    machine.run(
        "install -d -o postgres -g postgres /run/postgresql /var/lib/postgresql/it
         bin=$(echo /usr/lib/postgresql/*/bin)
         runuser -u postgres -- \"$bin/initdb\" --auth-local=peer --auth-host=scram-sha-256 -D /var/lib/postgresql/it >/dev/null
         runuser -u postgres -- \"$bin/pg_ctl\" -D /var/lib/postgresql/it -o '-k /run/postgresql' -l /tmp/log -w start >/dev/null",
    )?;
    let build = "cargo build --release --locked --package ingest-api";
    let [install, start] = [0, 1].map(|nth| Block::nth(nth, "## The vendor"));
    let (install, start) = (install?.without(build)?, start?);
    machine.run(install.text())?;
    let said = machine.run(start.text())?;
    ensure!(said.contains("prose-reader-"), "no token was made: {said}");
    machine.confined("ingest-api")?;

    // The Pod.
    let [install, user, look, _, start] = [0, 1, 2, 3, 4].map(|nth| Block::nth(nth, "## A Pod"));
    machine.run(install?.without("cargo build --release --locked --package pod-proxy")?.text())?;
    machine.run(user?.text())?;
    let config = "[vendor_analytics]\npreset = 'gdpr'\n[pod_proxy]\ndomain = 'example.org'\npod_version = '0.5.0'\n\
        accounts.fixed = 33\nflush_interval = 'PT1S'\nvendor_url = 'http://127.0.0.1:8280/_api/cloud'\n";
    machine.run(&format!("printf \"{}\" >/etc/prose/prose.toml", config.replace('\n', "\\n")))?;
    machine.run(look?.text())?;
    let said = machine.run(start?.text())?;
    ensure!(said.contains("Shared with the vendor (preset `gdpr`)"), "{said}");
    machine.confined("pod-proxy")?;
    let as_ingest = start_of(&Block::nth(1, "## The vendor")?)?;
    machine.hand_on_an_event(1, &format!("{as_ingest}\nas_ingest windows list"))?;

    // What the operator turns off is off after a reload.
    machine.run("sed -i 's/^preset.*/enabled = false/' /etc/prose/prose.toml; systemctl reload pod-proxy")?;
    until("analytics are off", || {
        Ok(machine
            .run("curl -sS http://127.0.0.1:8290/healthz")?
            .contains(r#""analytics":"off""#)
            .then_some(()))
    })?;
    machine.run("sed -i 's/^enabled.*/enabled = true/' /etc/prose/prose.toml; systemctl reload pod-proxy")?;
    until("analytics are on", || {
        Ok((!machine.run("curl -sS http://127.0.0.1:8290/healthz")?.contains(r#""analytics":"off""#))
            .then_some(()))
    })?;

    // The vendor, with a Postgres of its own, which it makes and starts behind the same filters.
    machine.stop("ingest-api")?;
    machine
        .run("rm -r /var/lib/prose-ingest-api/*; : >/etc/prose/ingest-api.env; systemctl start ingest-api")?;
    until("it is ready with a Postgres of its own", || {
        machine.run("curl -sS -f http://127.0.0.1:8280/readyz").map(Some)
    })
    .with_context(|| machine.run("journalctl -u ingest-api --no-pager").unwrap_or_default())?;
    let own = machine.run("ls /var/lib/prose-ingest-api")?;
    ensure!(own.contains("postgres") && own.contains("keys"), "{own}");
    machine.confined("ingest-api")?;
    machine.hand_on_an_event(
        2,
        "runuser -u prose-ingest -- ingest-api windows list --data-dir /var/lib/prose-ingest-api",
    )?;
    machine.stop("pod-proxy")?;
    machine.stop("ingest-api")?;
    let left = machine.run("pgrep -u prose-ingest -a || true")?;
    ensure!(left.is_empty(), "it has left behind {left}");
    Ok(())
}

/// The function by which the guide runs whatever needs the database.
fn start_of(block: &Block) -> anyhow::Result<String> {
    let line = block.text().lines().find(|line| line.starts_with("as_ingest() {"));
    Ok(line.context("the guide has no as_ingest")?.to_owned())
}
