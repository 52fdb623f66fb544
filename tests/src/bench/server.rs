//! A process under load → the memory and processor time of it and its children.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to check whether it listens.
const LOOK: Duration = Duration::from_millis(5);

/// A measured server. When dropped, it is asked to end, then killed if it does not.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts a program with an empty environment except for the path; on one core only if `core` is given.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &Path, core: Option<usize>, arguments: &[OsString]) -> anyhow::Result<Self> {
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| program.display().to_string())?))
    }

    /// Waits until it accepts connections, and returns how long that took, to some milliseconds.
    ///
    /// # Errors
    /// If it does not in time, or has ended.
    pub async fn wait_until_up(&mut self, address: SocketAddr) -> anyhow::Result<Duration> {
        let start = std::time::Instant::now();
        while start.elapsed() < PATIENCE {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(start.elapsed());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the server ended with {status} before it listened");
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the server does not listen")
    }

    /// Its own resident memory now, in megabytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resident_mb(&self) -> anyhow::Result<f64> {
        self.status_mb("VmRSS:")
    }

    /// Its highest resident memory so far, in megabytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_mb(&self) -> anyhow::Result<f64> {
        self.status_mb("VmHWM:")
    }

    fn status_mb(&self, line: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kib = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        Ok(kib.context("no such line in /proc/PID/status")?.parse::<u64>()? as f64 * 1_024.0 / 1e6)
    }

    /// The processor time of all its threads, to the nanosecond.
    ///
    /// # Errors
    /// If it has ended, or the kernel does not count processor time.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let sum = scheduled(self.0.id())?;
        ensure!(!sum.is_zero(), "the kernel does not count processor time in /proc/PID/task/*/schedstat");
        Ok(sum)
    }

    /// The processor time of it and of each running process that it has started.
    ///
    /// # Errors
    /// If processes cannot be listed.
    pub fn processor_times(&self) -> anyhow::Result<BTreeMap<u32, Duration>> {
        let family = family(self.0.id())?;
        // A process that ends meanwhile no longer counts.
        Ok(family.into_iter().filter_map(|pid| Some((pid, scheduled(pid).ok()?))).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..1_000 {
            if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process and its descendants.
fn family(first: u32) -> anyhow::Result<BTreeSet<u32>> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")?
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())?;
            Some((pid, parent))
        })
        .collect();
    let mut family = BTreeSet::from([first]);
    loop {
        let before = family.len();
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| family.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            return Ok(family);
        }
    }
}

fn scheduled(pid: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since it was listed.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// The release build of a binary of this workspace. Builds it unless it is up to date.
///
/// # Errors
/// If it cannot be built.
pub fn release_binary(package: &str) -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target =
        executable.ancestors().nth(2).context("a binary lies two folders below the target folder")?;
    // By name, because the `cargo` that built this may hide behind a toolchain choice that must be made
    // again.
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--locked", "--release", "--package", package, "--target-dir"]);
    let status = cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{package} cannot be built");
    Ok(target.join("release").join(package))
}

/// The machine, in a line: processor, the file system of `folder`, and the load by other work.
///
/// # Errors
/// If `folder` is in memory, where nothing is ever on disk, or the system does not tell.
pub fn surroundings(folder: &Path) -> anyhow::Result<String> {
    let disk = file_system(folder)?;
    ensure!(disk != "tmpfs", "{} is in memory; point TMPDIR at a disk", folder.display());
    let cores = std::thread::available_parallelism()?;
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let processor = processor.unwrap_or("an unknown processor");
    Ok(format!("{cores} cores of {processor}, {disk}; the load of the machine before was {load}."))
}

/// The type of the file system that holds `path`.
fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    let holding = mounts.filter(|(place, _)| path.starts_with(place));
    let (_, name) = holding.max_by_key(|(place, _)| place.components().count()).context("/proc/mounts")?;
    Ok(name.to_owned())
}
