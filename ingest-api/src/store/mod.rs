//! Postgres. All SQL of the service is in this room, one file for each table.

pub mod arrivals;
pub mod domains;
pub mod login;
mod merged;
pub mod open_windows;
pub mod releases;
pub mod sessions;
pub mod tokens;
mod turn;

use std::fmt;
use std::sync::{LazyLock, Once};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::login::{Login, Role, admit, connect};
pub use self::turn::Turn;
use crate::window::record::NotRecords;

/// Migrations only add, so that an older program keeps running, and can restart, on a newer schema. A
/// migration that removes or changes what an older program uses is named `0002_breaking_ROOM.sql`. Older
/// programs then refuse the schema.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    // Ignores migrations that a newer version has applied.
    migrations.set_ignore_missing(true);
    migrations
});

/// The prefix of a breaking migration's description.
const BREAKING: &str = "breaking ";

/// An error of the database or its schema.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres, or the connection to it. It is not the `source` of this error, because its own text may
    /// quote values.
    #[error("the database: {}", describe(.0))]
    Database(sqlx::Error),
    /// Another instance is merging or closing a window. Nothing is wrong: try later.
    #[error("another instance is merging or closing a window; try again when it is done")]
    Busy,
    /// Somebody reads the tables of an open window, which cannot be replaced meanwhile. Nothing is wrong.
    #[error(
        "somebody reads the reports of an open window, for example for a dump, or a write does not finish; try again later"
    )]
    InUse,
    /// A migration failed.
    #[error("the schema of the database: {0}")]
    Migrate(#[from] MigrateError),
    /// The schema is older than this software.
    #[error(
        "the database has an older schema than this version of ingest-api ({applied} of {known} migrations applied); run `ingest-api migrate`"
    )]
    NotMigrated {
        /// How many migrations have been applied.
        applied: usize,
        /// How many this version knows.
        known: usize,
    },
    /// A newer version has applied a breaking migration.
    #[error(
        "the database has the schema of a newer ingest-api, which this version cannot use; install the newer version"
    )]
    TooNew,
    /// One of the service's roles cannot log in.
    #[error(
        "the role {role} cannot log in: {}. The service connects as the database's owner only to prepare the database, then as roles of its own. Their passwords follow from the owner's, so the database URL needs the owner's password, or the server must let the roles in without one (pg_hba.conf). The owner needs the right to create roles (CREATEROLE). `ingest-api serve` and `ingest-api migrate` create the roles, and adapt them to a new password of the owner",
        describe(.error)
    )]
    NoLogin {
        /// The name of the role.
        role: String,
        /// The answer of Postgres. Not the `source` of this error, as above.
        error: sqlx::Error,
    },
    /// The database is open to the public, and the owner in the URL may not change that.
    #[error(
        "everybody may connect to the database, and the role in the database URL does not own it: as its owner, run `REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC`"
    )]
    OpenToThePublic,
    /// The records of an open window are damaged, or a newer version has written them.
    #[error(transparent)]
    NotRecords(#[from] NotRecords),
    /// The work on a window was aborted: a panic, a stop of the service, or no thread to run it.
    #[error(
        "the work on a window was not done: the task panicked, the service stopped, or no thread could be started"
    )]
    NotDone,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match sqlstate(&error).as_deref() {
            // Raised by `intake.take_turn`.
            Some("PA001") => Self::Busy,
            // Raised by `intake.begin_merging`, `intake.begin_closing` and `intake.begin_releasing`.
            Some("PA002") => Self::InUse,
            _ => Self::Database(error),
        }
    }
}

/// The text of an error, without the detail and context in which Postgres may quote values.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            format!("{} ({})", error.message(), error.code().as_deref().unwrap_or("no code"))
        }
        sqlx::Error::Io(error) => format!("it could not be reached: {error}"),
        sqlx::Error::PoolTimedOut => "all connections are in use, or it could not be reached".to_owned(),
        other => other.to_string(),
    }
}

/// The SQLSTATE of an error that Postgres reported.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Connection pools: one for each role, and one for the owner.
///
/// Each method uses the role of its task. Each role [logs in](login) as itself, so a statement has no other
/// role to return to. The owner connects only to prepare the database and for commands about tokens, then
/// disconnects. A running service has no connection of the owner.
#[derive(Clone)]
pub struct Database {
    owner_options: PgConnectOptions,
    logins: [Login; 3],
    owner: PgPool,
    intake: PgPool,
    release: PgPool,
    reader: PgPool,
}

/// How long after its last use a reader's connection is assumed to be alive.
const SURELY_THERE: Duration = Duration::from_secs(1);

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options contain passwords.
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Sets up the pools of an owner and the roles; they connect on first use.
    pub fn new(owner: PgConnectOptions) -> Self {
        let owner_options = owner.application_name("ingest-api");
        let pool = |size| PgPoolOptions::new().max_connections(size).acquire_timeout(Duration::from_secs(3));
        // Testing every connection would double the time that a reader waits for Postgres.
        let of_readers = pool(6).test_before_acquire(false).before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= SURELY_THERE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
        // Queries of senders and readers take seconds at most. A merge or close may take long, but not wait
        // long for a lock.
        let quick = [
            ("statement_timeout", "8s"),
            ("idle_in_transaction_session_timeout", "15s"),
            // An answer means that the report is on disk, whatever the server's default is.
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
        ];
        // The server's defaults do not suit a merge of millions of records.
        let patient = [
            ("lock_timeout", "60s"),
            ("statement_timeout", "0"),
            // Longer than an audit. A host that disappears loses its turn.
            ("idle_in_transaction_session_timeout", "15min"),
            ("tcp_keepalives_idle", "60"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "6"),
            ("default_transaction_isolation", "read committed"),
            // Compiling would take longer than it saves; large tables would trigger it.
            ("jit", "off"),
            // Packs are read from first to last.
            ("synchronize_seqscans", "off"),
            ("max_parallel_workers_per_gather", "0"),
        ];
        let logins = Role::ALL.map(|role| Login::new(role, &owner_options));
        let of = |role: Role, pool: PgPoolOptions, settings: &[(&str, &str)]| {
            let options = logins[role as usize].options.clone();
            pool.connect_lazy_with(options.options(settings.iter().copied()))
        };
        Self {
            // Owner connections close after each use.
            owner: pool(1)
                .after_release(|_, _| Box::pin(async { Ok(false) }))
                .connect_lazy_with(owner_options.clone()),
            intake: of(Role::Intake, pool(2), &quick),
            release: of(Role::Release, pool(2), &patient),
            reader: of(Role::Reader, of_readers, &quick),
            owner_options,
            logins,
        }
    }

    /// Migrates the schema to this version. Instances that do so at the same time wait for each other.
    /// Additions of a newer version stay.
    ///
    /// # Errors
    /// If the database cannot be reached, or a newer version has applied a breaking migration.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut owner = connect(&self.owner_options).await?;
        let migrated = match check_schema(&mut owner).await {
            Ok(()) | Err(StoreError::NotMigrated { .. }) => {
                MIGRATIONS.run(&mut owner).await.map_err(Into::into)
            }
            Err(error) => Err(error),
        };
        owner.close().await?;
        migrated
    }

    /// Checks that everything the service needs is there, and changes nothing. So a read-only command with
    /// another owner or password does not lock out the running service.
    ///
    /// # Errors
    /// As for [`Self::prepare`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut owner = connect(&self.owner_options).await?;
        let checked = check_schema(&mut owner).await;
        owner.close().await?;
        checked?;
        login::check(&self.logins).await
    }

    /// Makes sure that everything the service needs is there: the schema of this version, and roles that can
    /// log in.
    ///
    /// # Errors
    /// [`StoreError::NotMigrated`] if the schema is older than this version, [`StoreError::TooNew`] if a
    /// newer version has applied a breaking migration, [`StoreError::NoLogin`] if a role cannot log in.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        let mut owner = connect(&self.owner_options).await?;
        let checked = match check_schema(&mut owner).await {
            Ok(()) => shut_the_public_out(&mut owner).await,
            Err(error) => Err(error),
        };
        owner.close().await?;
        checked?;
        admit(&self.owner_options, &self.logins).await
    }

    /// The connection options of a role, with its password. For tests that try out its rights.
    #[doc(hidden)]
    pub fn options_of(&self, role: Role) -> &PgConnectOptions {
        &self.logins[role as usize].options
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        for pool in [&self.intake, &self.release, &self.reader, &self.owner] {
            pool.close().await;
        }
    }
}

/// The nice value of threads that run [`aside`].
const PRIORITY: i32 = 10;

static WARNED: Once = Once::new();

/// Runs seconds of computation on a thread of its own, at lower priority than requests. It stops when the
/// caller is dropped.
async fn aside<T: Send + 'static>(
    work: impl AsyncFnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (_waits, is_given_up) = oneshot::channel::<()>();
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let work = async move || {
        tokio::select! {
            done = work() => done,
            _ = is_given_up => Err(sqlx::Error::WorkerCrashed.into()),
        }
    };
    let run = move || {
        // On Linux, this sets the priority of the current thread; elsewhere, of the whole process.
        if cfg!(target_os = "linux")
            && let Err(error) = rustix::process::setpriority_process(None, PRIORITY)
        {
            WARNED.call_once(|| tracing::warn!(%error, "cannot lower the priority of merges and closes"));
        }
        let _ = done.send(runtime.block_on(work()));
    };
    std::thread::Builder::new().name("window".to_owned()).spawn(run).map_err(|_| StoreError::NotDone)?;
    result.await.map_err(|_| StoreError::NotDone)?
}

/// Revokes the right to connect and to create temporary objects from everybody except the owner and our
/// logins. Migrations do so too, but restoring a dump grants it again.
async fn shut_the_public_out(owner: &mut PgConnection) -> Result<(), StoreError> {
    let is_open = "SELECT has_database_privilege('public', current_database(), 'CONNECT')
                       OR has_database_privilege('public', current_database(), 'TEMPORARY')";
    let open: bool = sqlx::query_scalar(is_open).fetch_one(&mut *owner).await?;
    if !open {
        return Ok(());
    }
    let revoke = "DO $$ BEGIN
        EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$";
    sqlx::query(revoke).execute(&mut *owner).await?;
    let open: bool = sqlx::query_scalar(is_open).fetch_one(owner).await?;
    if open { Err(StoreError::OpenToThePublic) } else { Ok(()) }
}

/// Checks that the schema has everything this version needs; it may have more.
async fn check_schema(owner: &mut PgConnection) -> Result<(), StoreError> {
    let begun: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *owner)
        .await?;
    let rows: Vec<(i64, String)> = match begun {
        true => {
            let sql = "SELECT version, description FROM _sqlx_migrations WHERE success";
            sqlx::query_as(sql).fetch_all(&mut *owner).await?
        }
        false => Vec::new(),
    };
    let (ours, newer): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(version, _)| MIGRATIONS.version_exists(*version));
    if newer.iter().any(|(_, description)| description.starts_with(BREAKING)) {
        return Err(StoreError::TooNew);
    }
    let (applied, known) = (ours.len(), MIGRATIONS.iter().count());
    if applied < known { Err(StoreError::NotMigrated { applied, known }) } else { Ok(()) }
}
