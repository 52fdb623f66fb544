//! The real binaries of this workspace as processes: started, watched, stopped, and killed by their ids.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to print an expected line.
const PATIENCE: Duration = Duration::from_secs(90);

/// The folder with the current binaries of this workspace, built in the profile of this test.
///
/// # Errors
/// If they cannot be built.
pub fn binaries() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || -> anyhow::Result<PathBuf> {
        let executable = std::env::current_exe()?;
        let folder = executable.ancestors().nth(2).context("a test lies two folders below the binaries")?;
        let target = folder.parent().context("a profile lies in the target folder")?;
        let mut cargo = Command::new(env!("CARGO"));
        // As the tests themselves are built: any other selection has other features, and builds all dependencies again.
        let selection: &[&str] = if folder.ends_with("release") {
            &["build", "--bins", "--release"]
        } else {
            &["test", "--no-run"]
        };
        cargo.args(selection).args(["--quiet", "--locked", "--workspace", "--target-dir"]).arg(target);
        // Cargo's variables for a test would look like a change to ring's build script, and rebuild it with
        // everything that depends on it each time.
        for name in ["MANIFEST_DIR", "MANIFEST_LINKS", "PKG_NAME"] {
            cargo.env_remove(format!("CARGO_{name}"));
        }
        for part in ["MAJOR", "MINOR", "PATCH", "PRE"] {
            cargo.env_remove(format!("CARGO_PKG_VERSION_{part}"));
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output()?;
        ensure!(built.status.success(), "cargo build: {}", String::from_utf8_lossy(&built.stderr));
        Ok(folder.to_owned())
    };
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// A command for a binary of this workspace, with an empty environment except for the path.
///
/// # Errors
/// If it cannot be built.
pub fn command(name: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(binaries()?.join(name));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").stdin(Stdio::null());
    Ok(command)
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts it, and collects its output.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (send, lines) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().context("standard output")?;
        let err = child.stderr.take().context("standard error")?;
        listen(out, send.clone(), Arc::clone(&log));
        listen(err, send, Arc::clone(&log));
        Ok(Self { child, lines, log })
    }

    /// The first line in which `find` finds something.
    ///
    /// # Errors
    /// If no such line comes in time; with the whole output.
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        bail!("it did not say what was waited for, but:\n{}", self.log());
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills it, like a power cut.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits for it.
    ///
    /// # Errors
    /// If it ends with an error, or not in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}:\n{}", self.log());
                return Ok(());
            }
            ensure!(Instant::now() < end, "it did not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

fn listen(stream: impl Read + Send + 'static, lines: Sender<String>, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            *log.lock().unwrap_or_else(PoisonError::into_inner) += &format!("{line}\n");
            // Nobody may be waiting any more.
            let _ = lines.send(line);
        }
    });
}

/// The vendor's service as a process, with its private Postgres.
#[derive(Debug)]
pub struct VendorProcess {
    process: Process,
    address: SocketAddr,
    data_dir: PathBuf,
}

impl VendorProcess {
    /// Starts it with everything in `data_dir`, on that address (port 0 for any), and waits until it accepts
    /// reports.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(data_dir: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(data_dir, listen, &[])
    }

    /// Like [`Self::start`], with these environment variables.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_with(
        data_dir: &Path,
        listen: SocketAddr,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = command("ingest-api")?;
        // All requests come from this machine.
        command.env("INGEST_API__LIMITS__ENABLED", "false");
        command.envs(variables.iter().copied());
        command.env("RUST_LOG", "debug").args(["serve", "--metrics-listen", "127.0.0.1:0", "--listen"]);
        command.arg(listen.to_string()).arg("--data-dir").arg(data_dir);
        let mut process = Process::start(&mut command)?;
        let address = process
            .wait_for(|line| line.strip_prefix("Send reports to http://")?.split('/').next()?.parse().ok())?;
        Ok(Self { process, address, data_dir: data_dir.to_owned() })
    }

    /// The address that accepts reports.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills its Postgres, the postmaster and all its children, like a power cut.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_postgres(&self) -> anyhow::Result<()> {
        let postmaster = postmaster(&self.data_dir).context("there is no postmaster")?;
        let children = children(postmaster)?;
        kill_process(postmaster, Signal::KILL)?;
        for child in children {
            // It may have ended with its parent.
            let _ = kill_process(child, Signal::KILL);
        }
        Ok(())
    }
}

impl Drop for VendorProcess {
    fn drop(&mut self) {
        // Either may be gone. Its Postgres would outlive it if it were killed.
        let _ = self.process.kill();
        if let Some(postmaster) = postmaster(&self.data_dir) {
            let _ = kill_process(postmaster, Signal::INT);
        }
    }
}

/// The postmaster of `data_dir`, if a Postgres runs under the recorded id.
fn postmaster(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Pid::from_raw(pid).filter(|_| name.trim() == "postgres")
}

fn children(parent: Pid) -> anyhow::Result<Vec<Pid>> {
    let parent_of = |pid: i32| -> Option<i32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    let pids = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let children = pids.filter(|pid| parent_of(*pid) == Some(parent.as_raw_nonzero().get()));
    Ok(children.filter_map(Pid::from_raw).collect())
}

/// A Pod's proxy as a process.
#[derive(Debug)]
pub struct ProxyProcess {
    process: Process,
    address: SocketAddr,
}

impl ProxyProcess {
    /// Starts it with the configuration in `file`, and waits until it accepts events.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(file: &Path) -> anyhow::Result<Self> {
        let mut process = Process::start(command("pod-proxy")?.args(["run", "--config"]).arg(file))?;
        let address = process.wait_for(|line| {
            // The log may be coloured.
            let (_, rest) = line.split_once("listening")?;
            let from = rest.find(|character: char| character.is_ascii_digit() && character != '0')?;
            rest[from..]
                .split(|c: char| !(c.is_ascii_digit() || ".:".contains(c)))
                .find_map(|text| text.parse().ok())
        })?;
        Ok(Self { process, address })
    }

    /// The address for apps.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The route for events, as a URL.
    pub fn event_url(&self) -> String {
        format!("http://{}/cloud-api-proxy/v1/analytics/event", self.address)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
