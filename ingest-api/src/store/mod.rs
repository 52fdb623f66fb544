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

/// A migration only adds, so that an older program keeps running, and can restart, on a newer schema. A migration that takes
/// away or changes what an older program uses says so in the name of its file, `0002_breaking_ROOM.sql`: older programs
/// then refuse the schema.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    // Those that a newer version has applied.
    migrations.set_ignore_missing(true);
    migrations
});

/// How the description of a breaking migration begins.
const BREAKING: &str = "breaking ";

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres, or the way to it. Not the source of this error: what it says itself may quote values.
    #[error("the database: {}", describe(.0))]
    Database(sqlx::Error),
    /// Another instance is merging or closing a window. Nothing is wrong; later it is our turn, or nothing is left to do.
    #[error("another instance is merging or closing a window; try again when it is done")]
    Busy,
    /// Somebody reads the tables of an open window, which cannot be replaced meanwhile. Nothing is wrong.
    #[error(
        "somebody reads the reports of an open window, for example to dump them, or does not come to an end with writing some; try again when they are done"
    )]
    InUse,
    /// A migration.
    #[error("the schema of the database: {0}")]
    Migrate(#[from] MigrateError),
    /// The schema is older than this software.
    #[error(
        "the database is not of this version of ingest-api ({applied} of {known} migrations applied); run `ingest-api migrate`"
    )]
    NotMigrated {
        /// How many migrations have been applied.
        applied: usize,
        /// How many this version knows.
        known: usize,
    },
    /// A newer version has changed the schema in a way that this software does not work with.
    #[error(
        "the database is of a newer version of ingest-api, with which this one does not work; install that version"
    )]
    TooNew,
    /// A role of ours cannot log in.
    #[error(
        "the role {role} cannot log in: {}. The service connects as its owner only to prepare the database, and then as roles of its own: the database URL needs the owner's password, from which theirs follow, or the server has to let them in without one (pg_hba.conf); and the owner needs the right to create roles (CREATEROLE). The roles are made, and follow a new password of the owner, when `ingest-api serve` starts and by `ingest-api migrate`",
        describe(.error)
    )]
    NoLogin {
        /// The name of the role.
        role: String,
        /// What Postgres said. Not the source of this error, as above.
        error: sqlx::Error,
    },
    /// Everybody may connect to the database, and we must not change that.
    #[error(
        "everybody may connect to the database, and its owner is another role than that of the database URL: let the owner `REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC`"
    )]
    OpenToThePublic,
    /// The records of an open window are damaged, or a newer version has written them.
    #[error(transparent)]
    NotRecords(#[from] NotRecords),
    /// The work on a window ended before it was done: it panicked, the service stopped, or no thread could be made for it.
    #[error(
        "the work on a window was not done: it panicked, the service stopped, or there is no room for a thread"
    )]
    NotDone,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match sqlstate(&error).as_deref() {
            // Raised by intake.take_turn.
            Some("PA001") => Self::Busy,
            // Raised by intake.begin_merging, intake.begin_closing and intake.begin_releasing.
            Some("PA002") => Self::InUse,
            _ => Self::Database(error),
        }
    }
}

/// An error without the values that Postgres may quote in its detail and context.
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

/// The SQLSTATE of an error that Postgres answered with.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Connections to the database: a few for each of its roles, and one for its owner.
///
/// Each method uses the role that its task needs, and each role [logs in](login) as itself: there is nothing that a
/// statement could go back to. The owner connects to prepare the database and for commands about tokens, and goes again;
/// a service that runs has no connection of its owner.
#[derive(Clone)]
pub struct Database {
    owner_options: PgConnectOptions,
    logins: [Login; 3],
    owner: PgPool,
    intake: PgPool,
    release: PgPool,
    reader: PgPool,
}

/// For how long after its last use a reader's connection is taken to be there.
const SURELY_THERE: Duration = Duration::from_secs(1);

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Options of connections show the passwords in them.
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// Prepares the connections of an owner and its roles; they are made when they are first used.
    pub fn new(owner: PgConnectOptions) -> Self {
        let owner_options = owner.application_name("ingest-api");
        let pool = |size| PgPoolOptions::new().max_connections(size).acquire_timeout(Duration::from_secs(3));
        // To ask each whether it is still there would double how often a reader waits for Postgres.
        let of_readers = pool(6).test_before_acquire(false).before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= SURELY_THERE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
        // Senders and readers wait for seconds; a merge or a close may take its time, but not for a lock on a table.
        let quick = [
            ("statement_timeout", "8s"),
            ("idle_in_transaction_session_timeout", "15s"),
            // An answer means that it is on disk, whatever else is set.
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
        ];
        // Whatever the server's own settings are, they are not made for a merge of millions.
        let patient = [
            ("lock_timeout", "60s"),
            ("statement_timeout", "0"),
            // Longer than an audit. A host that is gone has its turn taken from it.
            ("idle_in_transaction_session_timeout", "15min"),
            ("tcp_keepalives_idle", "60"),
            ("tcp_keepalives_interval", "10"),
            ("tcp_keepalives_count", "6"),
            ("default_transaction_isolation", "read committed"),
            // Takes longer than the little there is to compile, and comes with large tables.
            ("jit", "off"),
            // What has been merged is read as it lies, from its beginning to its end.
            ("synchronize_seqscans", "off"),
            ("max_parallel_workers_per_gather", "0"),
        ];
        let logins = Role::ALL.map(|role| Login::new(role, &owner_options));
        let of = |role: Role, pool: PgPoolOptions, settings: &[(&str, &str)]| {
            let options = logins[role as usize].options.clone();
            pool.connect_lazy_with(options.options(settings.iter().copied()))
        };
        Self {
            // Nobody stays logged in as the owner.
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

    /// Brings the schema up to this version of the software. Instances that do so at once wait for each other. What a newer
    /// version has added stays.
    ///
    /// # Errors
    /// If the database cannot be reached, or a newer version has broken with this one.
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

    /// Checks that everything is there that the service needs, and changes nothing: whoever looks something up as another owner,
    /// or with another password, does not lock out those who serve.
    ///
    /// # Errors
    /// As of [`Self::prepare`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut owner = connect(&self.owner_options).await?;
        let checked = check_schema(&mut owner).await;
        owner.close().await?;
        checked?;
        login::check(&self.logins).await
    }

    /// Sees that everything is there that the service needs: the schema of this version, and its roles, which log in.
    ///
    /// # Errors
    /// [`StoreError::NotMigrated`] if something of that schema is missing, [`StoreError::TooNew`] if a newer version has broken with this
    /// one, [`StoreError::NoLogin`] if a role cannot log in.
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

    /// How a role connects, with its password. For tests that try what it can do.
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

/// How nice [what is done aside](aside) is to all else.
const PRIORITY: i32 = 10;

static WARNED: Once = Once::new();

/// Runs what keeps a processor busy for seconds on a thread of its own, which requests go before. It ends when nobody waits for it any
/// more.
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
        // Of this thread, on Linux; elsewhere it would be of all.
        if cfg!(target_os = "linux")
            && let Err(error) = rustix::process::setpriority_process(None, PRIORITY)
        {
            WARNED.call_once(|| tracing::warn!(%error, "merges and closes cannot give way to requests"));
        }
        let _ = done.send(runtime.block_on(work()));
    };
    std::thread::Builder::new().name("window".to_owned()).spawn(run).map_err(|_| StoreError::NotDone)?;
    result.await.map_err(|_| StoreError::NotDone)?
}

/// Takes the right to connect and to make temporary objects from everybody but the owner and our logins. Migrations do so, too,
/// but a database that was restored from a dump has it again.
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

/// Checks that the schema has what this version of the software needs; it may have more.
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
