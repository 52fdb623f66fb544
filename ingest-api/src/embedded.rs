//! The private Postgres for a service without a configured database, from the PostgreSQL that is installed.
//!
//! It listens on a socket in the data directory and on no network. Postgres refuses to run as root, so root
//! runs it as another user. If it dies, it is started again.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a start may take, including the recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The port in the name of the socket; nothing listens on a network.
const PORT: u16 = 5432;
/// The longest portable path of a Unix socket, minus the name of Postgres' socket.
const MAX_SOCKET_DIR: usize = 85;

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is not installed here (looked for `initdb` and `postgres` beside pg_config, in /usr/lib/postgresql and in PATH); install it (Debian, Ubuntu: `apt-get install postgresql`), or point DATABASE_URL at a server"
    )]
    NotInstalled,
    /// Running as root, and there is no other user to run Postgres as.
    #[error(
        "Postgres does not run as root, and there is no user `postgres` or `nobody` to run it as; create one"
    )]
    NoUser,
    /// The socket's path would be too long.
    #[error(
        "the path of the data directory is too long for a Unix socket ({0} bytes); choose one of at most {MAX_SOCKET_DIR}"
    )]
    PathTooLong(usize),
    /// Another process uses the data directory.
    #[error(
        "another ingest-api runs on this data directory; stop it, or choose another directory with --data-dir"
    )]
    InUse,
    /// The version that created the data directory is not installed.
    #[error(
        "PostgreSQL {0} created the data directory and is not installed here; install it, or move the data with pg_upgrade"
    )]
    OtherVersion(String),
    /// A file or process could not be created.
    #[error("the private Postgres in {0}: {1}")]
    Io(PathBuf, io::Error),
    /// `initdb` failed.
    #[error("initdb failed in {0}: {1}")]
    Initdb(PathBuf, String),
    /// It did not start.
    #[error("the private Postgres did not start within {seconds} seconds; see {log}", seconds = START_TIMEOUT.as_secs())]
    NotReady {
        /// Its log.
        log: PathBuf,
    },
}

/// A private Postgres that runs. [`Self::stop`] stops it if this process supervises it.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    supervisor: Option<(watch::Sender<bool>, JoinHandle<()>)>,
}

/// Everything needed to start the server.
#[derive(Debug)]
struct PostgresInstallation {
    bin: PathBuf,
    directory: PathBuf,
    /// User and group to run as; `None` for our own.
    user: Option<(u32, u32)>,
    /// Held as long as this process supervises the server.
    _lock: fs::File,
}

impl Embedded {
    /// Whether a data directory holds a private Postgres.
    pub fn is_in(data_dir: &Path) -> bool {
        data_dir.join("postgres/PG_VERSION").exists()
    }

    /// Starts the Postgres in `data_dir`, and creates it if there is none. Several processes may share one:
    /// the first supervises it, and stops it in the end. With `own`, this process must be the one.
    ///
    /// # Errors
    /// If it cannot be created or started, or if another process supervises it despite `own`.
    pub async fn start(data_dir: &Path, own: bool) -> Result<Self, EmbeddedError> {
        let io = |error| EmbeddedError::Io(data_dir.to_owned(), error);
        fs::create_dir_all(data_dir).map_err(io)?;
        let data_dir = data_dir.canonicalize().map_err(io)?;
        let directory = data_dir.join("postgres");
        let length = directory.as_os_str().len();
        if length > MAX_SOCKET_DIR {
            return Err(EmbeddedError::PathTooLong(length));
        }
        let lock = match lock(&data_dir).map_err(io)? {
            None if own => wait_for_lock(&data_dir).await.map_err(io)?.ok_or(EmbeddedError::InUse)?.into(),
            lock => lock,
        };
        let supervisor = match lock {
            Some(lock) => {
                let installation = PostgresInstallation::prepare(&data_dir, directory.clone(), lock)?;
                let (stop, stopped) = watch::channel(false);
                Some((stop, tokio::spawn(installation.supervise(stopped))))
            }
            None => None,
        };
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
            .port(PORT)
            .ssl_mode(PgSslMode::Disable)
            .username("prose")
            .database("postgres")
            .log_statements(tracing::log::LevelFilter::Off)
    }

    /// A URL for other tools on this machine, such as `psql` and `pg_dump`.
    pub fn url(&self) -> String {
        const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        let socket = percent_encode(self.directory.as_os_str().as_bytes(), &ENCODED);
        format!("postgres://prose@{socket}:{PORT}/postgres?sslmode=disable")
    }

    /// Stops the server if this process supervises it, and waits until it is gone.
    pub async fn stop(self) {
        if let Some((stop, task)) = self.supervisor {
            stop.send_replace(true);
            // A panic of the task has been printed.
            let _ = task.await;
        }
    }

    async fn wait_until_ready(&self) -> Result<(), EmbeddedError> {
        let attempt = async {
            loop {
                if let Ok(connection) = PgConnection::connect_with(&self.options()).await {
                    // It answered, so an error now does not matter.
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

/// Takes the lock of a data directory; `None` if another process holds it.
fn lock(data_dir: &Path) -> io::Result<Option<fs::File>> {
    // If others could open it, they could lock us out.
    let file = private_file(&data_dir.join("postgres.lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file and makes it readable for its owner only.
fn private_file(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::options().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Waits for the lock: a command that holds it ends soon.
async fn wait_for_lock(data_dir: &Path) -> io::Result<Option<fs::File>> {
    for _ in 0..50 {
        if let Some(lock) = lock(data_dir)? {
            return Ok(Some(lock));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}

impl PostgresInstallation {
    fn prepare(data_dir: &Path, directory: PathBuf, lock: fs::File) -> Result<Self, EmbeddedError> {
        let io = |error| EmbeddedError::Io(data_dir.to_owned(), error);
        // Only the version that created a directory can open it.
        let bin = match fs::read_to_string(directory.join("PG_VERSION")) {
            Ok(version) => {
                let version = version.trim().to_owned();
                let of_version = PathBuf::from("/usr/lib/postgresql").join(&version).join("bin");
                [Some(of_version), find_binaries()]
                    .into_iter()
                    .flatten()
                    .find(|bin| bin.join("postgres").exists() && is_version(bin, &version))
                    .ok_or(EmbeddedError::OtherVersion(version))?
            }
            Err(_) => find_binaries().ok_or(EmbeddedError::NotInstalled)?,
        };
        let user = match rustix::process::geteuid().is_root() {
            true => Some(["postgres", "nobody"].into_iter().find_map(user).ok_or(EmbeddedError::NoUser)?),
            false => None,
        };
        if user.is_some() {
            // The other user must reach its own directory, and may see nothing else of ours.
            let mode = fs::metadata(data_dir).map_err(io)?.permissions().mode() & 0o7777;
            fs::set_permissions(data_dir, fs::Permissions::from_mode(mode | 0o011)).map_err(io)?;
        }
        let installation = Self { bin, directory, user, _lock: lock };
        installation.initdb()?;
        Ok(installation)
    }

    fn initdb(&self) -> Result<(), EmbeddedError> {
        let io = |error| EmbeddedError::Io(self.directory.clone(), error);
        if self.directory.join("PG_VERSION").exists() {
            return Ok(());
        }
        // Created under another name, so that a directory of this name is always complete.
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
        command.arg("-D").arg(&self.directory).args(["-p", &PORT.to_string()]);
        let settings = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=60",
            // Merges free room that the next ones soon use.
            "autovacuum_naptime=10s",
            // No content of a statement gets into the log.
            "log_statement=none",
            "log_min_error_statement=panic",
            "log_error_verbosity=terse",
        ];
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command.arg("-c").arg(key_value("unix_socket_directories", &self.directory));
        // A process group of its own keeps Ctrl-C from it: we stop it when we are done.
        command.process_group(0).stdout(log.try_clone()?).stderr(log);
        tokio::process::Command::from(command).spawn()
    }

    /// Keeps the server running until `stop`.
    async fn supervise(self, mut stop: watch::Receiver<bool>) {
        loop {
            // A server that an earlier process left behind is used until it ends.
            let mut server = match running(&self.directory) {
                Some(pid) => Some(Server::Found(pid)),
                None => self
                    .spawn()
                    .map(Server::Ours)
                    .map_err(|error| {
                        tracing::error!(%error, "cannot start the private Postgres");
                    })
                    .ok(),
            };
            let ended = async {
                match &mut server {
                    Some(server) => server.ended().await,
                    None => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            };
            let stopped = tokio::select! {
                () = ended => false,
                _ = stop.changed() => true,
            };
            if stopped {
                if let Some(server) = server {
                    server.stop().await;
                }
                return;
            }
            tracing::warn!("the private Postgres ended; starting it again");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// A running server.
enum Server {
    /// Started by this process.
    Ours(tokio::process::Child),
    /// Left behind by an earlier process.
    Found(Pid),
}

impl Server {
    async fn ended(&mut self) {
        match self {
            // An error means that the process is gone.
            Self::Ours(server) => drop(server.wait().await),
            Self::Found(pid) => {
                while test_kill_process(*pid).is_ok() && !is_zombie(*pid) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Postgres' fast shutdown and, if that takes too long, its immediate one. Committed data survives both.
    async fn stop(mut self) {
        let pid = match &self {
            Self::Ours(server) => server.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
            Self::Found(pid) => Some(*pid),
        };
        for (signal, patience) in [(Signal::INT, STOP_TIMEOUT), (Signal::QUIT, STOP_TIMEOUT / 4)] {
            if let Some(pid) = pid {
                // The process may have ended by itself.
                let _ = kill_process(pid, signal);
            }
            if tokio::time::timeout(patience, self.ended()).await.is_ok() {
                return;
            }
        }
        tracing::warn!("the private Postgres did not stop in time");
    }
}

fn key_value(key: &str, value: &Path) -> std::ffi::OsString {
    [OsStr::new(key), OsStr::new("="), value.as_os_str()].iter().copied().collect()
}

/// The server of this data directory, if it runs. The pid in its file may be stale and belong to another
/// process by now, even to another Postgres, so we compare its working directory, which is the data directory
/// of a server. Removes a stale file that names another process.
fn running(directory: &Path) -> Option<Pid> {
    let text = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    let its = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).ok()?;
    if its == directory {
        return (!is_zombie(pid)).then_some(pid);
    }
    // Postgres would not start: it takes any living process of its user for another server.
    let _ = fs::remove_file(directory.join("postmaster.pid"));
    None
}

/// Whether a process has ended, but its parent has not waited for it.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Whether the programs in a directory have this major version.
fn is_version(bin: &Path, major: &str) -> bool {
    let output = Command::new(bin.join("postgres")).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().any(|word| word.split('.').next() == Some(major))
}

/// The directory with `initdb` and `postgres` of the newest installed version.
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

/// User and group of this name.
fn user(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.collect()))?;
    Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
}
