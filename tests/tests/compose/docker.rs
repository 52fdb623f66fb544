//! The commands of Docker and Compose → containers of this test: started, asked, and removed whatever becomes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// How long something may take until it is as it should be; machines that build at the same time are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The image whose shell and tools look into the containers that have none.
pub(crate) const POSTGRES: &str = "postgres:15-bookworm";

/// What the images that are built here are labelled with, in place of a revision of Git.
pub(crate) const REVISION: &str = "revision-of-a-test";

/// The folder of this repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Runs a command to its end, and returns what it said on standard output.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{out}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(out)
}

/// `docker ARGUMENTS`.
pub(crate) fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("docker").args(arguments))
}

/// What keeps the tests from being run here, if anything does: no Docker Engine that answers, or no Compose.
pub(crate) fn missing() -> Option<&'static str> {
    let quiet = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !quiet("docker", &["info"]) {
        return Some("no Docker Engine answers");
    }
    let compose = quiet("docker", &["compose", "version"]) || quiet("docker-compose", &["version"]);
    (!compose).then_some("Docker Compose is not installed")
}

/// Compose, as a plugin of Docker or as a program of its own.
fn compose() -> Command {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    if !plugin.is_ok_and(|plugin| plugin.status.success()) {
        return Command::new("docker-compose");
    }
    let mut command = Command::new("docker");
    command.arg("compose");
    command
}

/// Copies what Git keeps of this repository, as it is just now, and nothing else: what a clone of it would hold.
pub(crate) fn clone_into(folder: &Path) -> anyhow::Result<()> {
    // Git may be asked by another user than the one whose files these are.
    let script = "set -o pipefail; git -c safe.directory='*' -C \"$0\" ls-files -z |
        tar -C \"$0\" --null --files-from=- -c | tar -C \"$1\" -x";
    run(Command::new("bash").args(["-c", script]).arg(repository()).arg(folder)).map(drop)
}

/// Removes what is left of tests that were killed before they could.
pub(crate) fn remove_leftovers() -> anyhow::Result<()> {
    let listed = docker(&["ps", "--all", "--format", "{{.Label \"com.docker.compose.project\"}}"])?;
    let mut projects: Vec<_> = listed.lines().collect();
    projects.sort_unstable();
    projects.dedup();
    for project in projects {
        let Some((pid, _)) = project.strip_prefix("prose-test-").and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if Path::new("/proc").join(pid).exists() {
            continue;
        }
        let filter = format!("label=com.docker.compose.project={project}");
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm"]),
        ] {
            let ids = docker(&[list, &["--filter", &filter]].concat())?;
            let ids: Vec<_> = ids.lines().collect();
            if !ids.is_empty() {
                docker(&[remove, &ids].concat())?;
            }
        }
    }
    Ok(())
}

/// Waits until `done` finds what it looks for.
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        // Something that is being started may refuse to answer.
        let tried = done();
        if let Ok(Some(found)) = tried {
            return Ok(found);
        }
        if Instant::now() > end {
            return match tried {
                Err(error) => Err(error.context(format!("{what}: not in time"))),
                Ok(_) => bail!("{what}: not in time"),
            };
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The containers, networks and volumes of one compose file, under a name that nothing else has. Removed at the end.
#[derive(Debug)]
pub(crate) struct Project {
    name: String,
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Project {
    /// What `file` describes, which lies below `deploy/`; nothing is started. Ports are any that are free.
    pub(crate) fn new(name: &str, file: &str, tag: &str) -> Self {
        Self::of(&repository(), name, file, tag)
    }

    /// The same, of a copy of this repository.
    pub(crate) fn of(repository: &Path, name: &str, file: &str, tag: &str) -> Self {
        let any = ["INGEST_API_PORT", "POD_PROXY_PORT", "PROMETHEUS_PORT"].map(|port| (port, "0"));
        let environment = any.into_iter().chain([("PROSE_TAG", tag), ("PROSE_REVISION", REVISION)]);
        Self {
            name: format!("prose-test-{}-{name}", std::process::id()),
            files: vec![repository.join("deploy").join(file)],
            environment: environment.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    /// With another file over the first.
    pub(crate) fn add_file(&mut self, file: &Path) {
        self.files.push(file.to_owned());
    }

    /// With a variable in place of an operator's `.env`.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.environment.retain(|(old, _)| old != key);
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// A compose command of this project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = compose();
        // Answers in the environment of the person who runs the tests do not count.
        command.env_remove("PROSE_VENDOR_ANALYTICS__ENABLED").env_remove("PROSE_VENDOR_ANALYTICS__PRESET");
        for file in &self.files {
            command.arg("--file").arg(file);
        }
        command.args(["--project-name", &self.name]).args(arguments);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// `docker compose -f FILE ARGUMENTS` as somebody types it in `folder`.
    pub(crate) fn typed(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = compose();
        command.args(arguments).current_dir(folder).env("COMPOSE_PROJECT_NAME", &self.name);
        for (key, value) in self.command(&[]).get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        run(&mut command)
    }

    /// Runs a compose command to its end.
    pub(crate) fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&mut self.command(arguments))
    }

    /// Runs a command in the container of a service.
    pub(crate) fn exec(&self, service: &str, command: &[&str]) -> anyhow::Result<String> {
        self.compose(&[&["exec", "-T", service], command].concat())
    }

    /// Brings services up, all if none is named, and waits until those that have a health check are healthy.
    pub(crate) fn up(&self, services: &[&str]) -> anyhow::Result<()> {
        self.compose(&[&["up", "--detach", "--no-build"], services].concat())?;
        if services.is_empty() {
            return self.wait_until_all_healthy();
        }
        services.iter().try_for_each(|service| self.wait_until_healthy(service))
    }

    /// Waits until all services that are to go on running are well.
    pub(crate) fn wait_until_all_healthy(&self) -> anyhow::Result<()> {
        self.long_running()?.iter().try_for_each(|service| self.wait_until_healthy(service))
    }

    /// The services that are to go on running.
    fn long_running(&self) -> anyhow::Result<Vec<String>> {
        let all = self.compose(&["config", "--services"])?;
        Ok(all
            .lines()
            .filter(|service| !matches!(*service, "secrets" | "migrate"))
            .map(str::to_owned)
            .collect())
    }

    /// Waits until the health check of a service says that it is well.
    pub(crate) fn wait_until_healthy(&self, service: &str) -> anyhow::Result<()> {
        let healthy = until(&format!("{service} is healthy"), || {
            let state = self.inspect(service)?["State"].clone();
            // One without a check is as well as it runs.
            let well = state["Health"]["Status"]
                .as_str()
                .map_or(state["Running"] == true, |status| status == "healthy");
            Ok(well.then_some(()))
        });
        healthy.with_context(|| self.log(service).unwrap_or_default())
    }

    /// The container of a service.
    pub(crate) fn container(&self, service: &str) -> anyhow::Result<String> {
        let filter = |label: &str, value: &str| format!("label=com.docker.compose.{label}={value}");
        let (project, service_filter) = (filter("project", &self.name), filter("service", service));
        let ids = docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", &service_filter])?;
        Ok(ids.lines().next().with_context(|| format!("there is no container of {service}"))?.to_owned())
    }

    /// All containers, with the names of their services.
    pub(crate) fn containers(&self) -> anyhow::Result<Vec<(String, String)>> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let format = "{{.ID}} {{.Label \"com.docker.compose.service\"}}";
        let listed = docker(&["ps", "--all", "--filter", &project, "--format", format])?;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(id, service)| (service.to_owned(), id.to_owned())).collect())
    }

    /// Everything that Docker knows of the container of a service.
    pub(crate) fn inspect(&self, service: &str) -> anyhow::Result<Value> {
        let text = docker(&["inspect", &self.container(service)?])?;
        let all: Value = serde_json::from_str(&text)?;
        Ok(all[0].clone())
    }

    /// Fails unless each container is as confined as it can be: nothing may be written but what is mounted, no capability, no
    /// way to get one, no memory in a file, and not root, except for the one that draws the passwords and ends.
    pub(crate) fn confined(&self) -> anyhow::Result<()> {
        for (service, _) in self.containers()? {
            let inspected = self.inspect(&service)?;
            let host = &inspected["HostConfig"];
            ensure!(host["ReadonlyRootfs"] == true && host["Privileged"] == false, "{service}: {host}");
            ensure!(host["CapDrop"] == json!(["ALL"]) && host["CapAdd"].is_null(), "{service}: {host}");
            ensure!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{service}: {host}");
            ensure!(
                host["Ulimits"] == json!([{ "Name": "core", "Hard": 0, "Soft": 0 }]),
                "{service}: {host}"
            );
            let user = inspected["Config"]["User"].as_str().unwrap_or_default();
            let id = user.split(':').next().and_then(|id| id.parse::<u32>().ok());
            ensure!(id.is_some_and(|id| id > 0) || service == "secrets", "{service}: {user}");
        }
        Ok(())
    }

    /// Everything that the container of a service has said.
    pub(crate) fn log(&self, service: &str) -> anyhow::Result<String> {
        let output = Command::new("docker").args(["logs", &self.container(service)?]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// The full name of a network or volume of this project.
    pub(crate) fn full_name(&self, of: &str) -> String {
        format!("{}_{of}", self.name)
    }

    /// Where a port of a service is published on this machine, as `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self, service: &str, port: u16) -> anyhow::Result<String> {
        let published = self.inspect(service)?["NetworkSettings"]["Ports"][format!("{port}/tcp")].clone();
        let port =
            published[0]["HostPort"].as_str().with_context(|| format!("{service} publishes no {port}"))?;
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// The addresses of a service, with the network that each is in.
    pub(crate) fn addresses(&self, service: &str) -> anyhow::Result<Vec<(String, String)>> {
        let inspected = self.inspect(service)?;
        let networks = inspected["NetworkSettings"]["Networks"].as_object().context("networks")?;
        let short = |name: &str| name.trim_start_matches(&format!("{}_", self.name)).to_owned();
        let address = |network: &Value| network["IPAddress"].as_str().unwrap_or_default().to_owned();
        Ok(networks.iter().map(|(name, network)| (short(name), address(network))).collect())
    }

    /// Runs a script in the network namespace of a service, in a container that has a shell.
    pub(crate) fn in_network_of(&self, service: &str, script: &str) -> anyhow::Result<String> {
        let network = format!("container:{}", self.container(service)?);
        let entrypoint = ["--entrypoint", "bash", POSTGRES, "-c", script];
        docker(&[&["run", "--rm", "--network", &network], &entrypoint[..]].concat())
    }

    /// Runs a script in a volume of this project, as root, in a container that has a shell.
    pub(crate) fn in_volume(&self, volume: &str, script: &str) -> anyhow::Result<String> {
        let volume = format!("{}:/volume", self.full_name(volume));
        let run = [
            "run",
            "--rm",
            "--network",
            "none",
            "--user",
            "0:0",
            "--volume",
            &volume,
            "--workdir",
            "/volume",
        ];
        docker(&[&run[..], &["--entrypoint", "bash", POSTGRES, "-euc", script]].concat())
    }

    /// The resident memory of each service, in MiB: of all processes of its container, so that what Postgres shares between
    /// its processes counts in each.
    pub(crate) fn resident_memory(&self) -> anyhow::Result<Vec<(String, f64)>> {
        let mut memory = Vec::new();
        for (service, container) in self.containers()? {
            // One that has ended has none.
            let Ok(top) = docker(&["top", &container, "-eo", "pid,rss"]) else { continue };
            let kib =
                top.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            memory.push((service, kib.sum::<f64>() / 1024.0));
        }
        memory.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(memory)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Even if it was never started, or only half.
        let _ = self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
    }
}
