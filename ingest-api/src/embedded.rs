//! The private Postgres of a machine on which none is configured: made from the PostgreSQL that is installed.
//!
//! It listens on a socket in the data directory and on no network. As root, it is run as another user, because
//! Postgres refuses to be root. If it dies, it is started again.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long it may take to start, which includes the recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest path of a Unix socket that works everywhere, less the name of Postgres' socket.
const MAX_SOCKET_DIR: usize = 85;

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is not installed here (looked for `initdb` and `postgres` beside pg_config, in /usr/lib/postgresql and in PATH); install it (Debian, Ubuntu: `apt-get install postgresql`), or point DATABASE_URL at a server"
    )]
    NotInstalled,
    /// Running as root, and there is nobody to become.
    #[error(
        "Postgres does not run as root, and there is no user `postgres` or `nobody` to run it as; create one"
    )]
    NoUser,
    /// The socket's path would be too long.
    #[error(
        "the path of the data directory is too long for a Unix socket ({0} bytes); choose one of at most {MAX_SOCKET_DIR}"
    )]
    PathTooLong(usize),
    /// A file or process could not be made.
    #[error("the private Postgres in {0}: {1}")]
    Io(PathBuf, io::Error),
    /// `initdb` failed.
    #[error("initdb failed in {0}: {1}")]
    Initdb(PathBuf, String),
    /// It did not come up.
    #[error("the private Postgres did not start within {seconds} seconds; see {log}", seconds = START_TIMEOUT.as_secs())]
    NotReady {
        /// What it says itself.
        log: PathBuf,
    },
}

/// A private Postgres that runs. Stopped by [`Self::stop`] if it was started by this process.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    supervisor: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

/// Everything needed to start the server.
#[derive(Clone, Debug)]
struct Installation {
    bin: PathBuf,
    directory: PathBuf,
    /// User and group to become; `None` to stay who we are.
    user: Option<(u32, u32)>,
}

impl Embedded {
    /// Starts the Postgres in `data_dir`, and makes it if there is none. One that runs there already is used; it is
    /// left alone at the end unless `own` says that this process is its owner.
    ///
    /// # Errors
    /// If it cannot be made or started.
    pub async fn start(data_dir: &Path, own: bool) -> Result<Self, EmbeddedError> {
        let installation = Installation::prepare(data_dir)?;
        let directory = installation.directory.clone();
        let running = is_running(&directory);
        let mut supervisor = None;
        if !running || own {
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(installation.supervise(stopped));
            supervisor = Some((stop, task));
        }
        let embedded = Self { directory, supervisor };
        if let Err(error) = embedded.wait_until_ready().await {
            embedded.stop().await;
            return Err(error);
        }
        Ok(embedded)
    }

    /// How to connect to its database.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.directory)
            .username("prose")
            .database("postgres")
            .log_statements(tracing::log::LevelFilter::Off)
    }

    /// A URL for other tools on this machine, such as `psql` and `pg_dump`.
    pub fn url(&self) -> String {
        let socket: String = self
            .directory
            .to_string_lossy()
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        format!("postgres://prose@{socket}/postgres")
    }

    /// Stops the server, if this process started it or owns it, and waits until it is gone.
    pub async fn stop(self) {
        if let Some((stop, task)) = self.supervisor {
            // The supervisor may have ended already.
            let _ = stop.send(true);
            let _ = task.await;
        }
    }

    async fn wait_until_ready(&self) -> Result<(), EmbeddedError> {
        let attempt = async {
            loop {
                if let Ok(connection) = PgConnection::connect_with(&self.options()).await {
                    // It answered; how it takes the goodbye does not matter.
                    let _ = connection.close().await;
                    return;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let log = self.directory.with_file_name("postgres.log");
        tokio::time::timeout(START_TIMEOUT, attempt).await.map_err(|_| EmbeddedError::NotReady { log })
    }
}

impl Installation {
    fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let io = |error| EmbeddedError::Io(data_dir.to_owned(), error);
        fs::create_dir_all(data_dir).map_err(io)?;
        let data_dir = data_dir.canonicalize().map_err(io)?;
        let directory = data_dir.join("postgres");
        let length = directory.as_os_str().len();
        if length > MAX_SOCKET_DIR {
            return Err(EmbeddedError::PathTooLong(length));
        }
        let bin = find_binaries().ok_or(EmbeddedError::NotInstalled)?;
        let user = match rustix::process::geteuid().is_root() {
            true => Some(["postgres", "nobody"].into_iter().find_map(user).ok_or(EmbeddedError::NoUser)?),
            false => None,
        };
        if user.is_some() {
            // The other user must get through to its own directory, and sees nothing else of ours on the way.
            let mode = fs::metadata(&data_dir).map_err(io)?.permissions().mode() & 0o7777;
            fs::set_permissions(&data_dir, fs::Permissions::from_mode(mode | 0o011)).map_err(io)?;
        }
        let installation = Self { bin, directory, user };
        installation.initdb()?;
        Ok(installation)
    }

    fn initdb(&self) -> Result<(), EmbeddedError> {
        let io = |error| EmbeddedError::Io(self.directory.clone(), error);
        if self.directory.join("PG_VERSION").exists() {
            return Ok(());
        }
        // Made aside, so that a directory of that name is always whole.
        let draft = self.directory.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(io)?;
        }
        fs::create_dir(&draft).map_err(io)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).map_err(io)?;
        if let Some((uid, gid)) = self.user {
            chown(&draft, Some(uid), Some(gid)).map_err(io)?;
        }
        let made = self
            .command("initdb")
            .args(["--auth=trust", "--username=prose", "--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&draft)
            .output()
            .map_err(io)?;
        if !made.status.success() {
            let reason = String::from_utf8_lossy(&made.stderr).trim().replace('\n', "; ");
            return Err(EmbeddedError::Initdb(draft, reason));
        }
        fs::rename(&draft, &self.directory).map_err(io)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // The other user may have no right to the current directory.
        command.current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn spawn(&self) -> io::Result<tokio::process::Child> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.with_file_name("postgres.log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.directory);
        let settings = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=40",
            // Nothing of a statement's content gets into the log.
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_error_verbosity=terse",
        ];
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.arg("-c").arg(key_value("unix_socket_directories", &self.directory));
        // In a process group of its own, so that Ctrl-C reaches us and not it: we stop it when we are done.
        command.process_group(0).stdout(log.try_clone()?).stderr(log);
        tokio::process::Command::from(command).spawn()
    }

    /// Keeps the server running until it is told to stop.
    async fn supervise(self, mut stop: watch::Receiver<bool>) {
        loop {
            // One that an earlier process left behind is used until it ends.
            let ended = async {
                match running_pid(&self.directory) {
                    Some(pid) => wait_for_end(pid).await,
                    None => match self.spawn() {
                        Ok(mut server) => drop(server.wait().await),
                        Err(error) => tracing::error!(%error, "the private Postgres cannot be started"),
                    },
                }
            };
            tokio::select! {
                () = ended => {
                    if *stop.borrow() {
                        return;
                    }
                    tracing::warn!("the private Postgres ended; starting it again");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                _ = stop.changed() => {
                    if let Some(pid) = running_pid(&self.directory) {
                        // SIGINT is Postgres' fast shutdown. It may have ended by itself.
                        let _ = kill_process(pid, Signal::INT);
                        wait_for_end(pid).await;
                    }
                    return;
                }
            }
        }
    }
}

fn key_value(key: &str, value: &Path) -> std::ffi::OsString {
    [OsStr::new(key), OsStr::new("="), value.as_os_str()].iter().copied().collect()
}

fn is_running(directory: &Path) -> bool {
    running_pid(directory).is_some()
}

/// The process that `postmaster.pid` names, if it is alive and is a Postgres.
fn running_pid(directory: &Path) -> Option<Pid> {
    let text = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    if name.is_some_and(|name| name.trim() != "postgres") {
        return None;
    }
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    if state
        .is_some_and(|state| state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    {
        return None;
    }
    Pid::from_raw(pid).filter(|pid| test_kill_process(*pid).is_ok())
}

async fn wait_for_end(pid: Pid) {
    let zombie = |pid: Pid| {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    while test_kill_process(pid).is_ok() && !zombie(pid) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The directory that has `initdb` and `postgres`: the newest version that is installed.
pub fn find_binaries() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        Some((version, path.join("bin")))
    });
    let mut versions: Vec<_> = debian.collect();
    versions.sort();
    let pg_config = Command::new("pg_config").arg("--bindir").output().ok();
    let pg_config = pg_config.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let usual = ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
    let candidates = versions.into_iter().rev().map(|(_, bin)| bin).chain(pg_config).chain(usual);
    candidates.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}

/// User and group of that name.
fn user(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.collect()))?;
    Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
}
