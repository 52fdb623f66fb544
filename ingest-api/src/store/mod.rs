//! Postgres. All SQL of the service is in this room, one file for each table.

pub mod domains;
pub mod open_windows;
pub mod releases;
pub mod reports;
pub mod sessions;
pub mod tokens;

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};

/// Migrations only add: a program goes on, and starts again, on a schema to which a newer version has added something. One
/// that takes away or changes what an older program uses is called so in the name of its file, `0009_breaking_ROOM.sql`, by
/// which older programs know it.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    // That is, what a newer version has added.
    migrations.set_ignore_missing(true);
    migrations
});

/// How the description of a migration begins that older programs do not work with.
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
    /// The work on a release ended before there was one: it panicked, or the service stopped.
    #[error("a release was not made: {0}")]
    NotMade(#[from] tokio::task::JoinError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // Raised by intake.take_turn.
        if sqlstate(&error).as_deref() == Some("PA001") { Self::Busy } else { Self::Database(error) }
    }
}

/// An error without the values that Postgres may quote in its detail and context.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            format!("{} ({})", error.message(), error.code().as_deref().unwrap_or("no code"))
        }
        other => other.to_string(),
    }
}

/// The SQLSTATE of an error that Postgres answered with.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Connections to the database: a few for each of its roles, and one for its owner.
///
/// Each method uses the role that its task needs. The roles are what a mistake in a query comes up against. They do not
/// hold back whoever can make us run any statement, or holds the owner's password: a role that was taken can be left.
#[derive(Clone, Debug)]
pub struct Database {
    owner: PgPool,
    intake: PgPool,
    release: PgPool,
    reader: PgPool,
}

impl Database {
    /// Prepares the connections; they are made when they are first used.
    pub fn new(options: PgConnectOptions) -> Self {
        let options = options.application_name("ingest-api");
        let pool = |size, settings: &[(&str, &str)]| {
            PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(Duration::from_secs(3))
                .connect_lazy_with(options.clone().options(settings.iter().copied()))
        };
        // Senders and readers wait for seconds; a merge or a close may take its time, but not for a lock on a table.
        let quick = [("statement_timeout", "8s"), ("idle_in_transaction_session_timeout", "15s")];
        let with_role =
            |role, settings: &[(&'static str, &'static str)]| [&[("role", role)], settings].concat();
        Self {
            owner: pool(1, &[]),
            intake: pool(2, &with_role("prose_intake", &quick)),
            release: pool(2, &with_role("prose_release", &[("lock_timeout", "60s")])),
            reader: pool(6, &with_role("prose_reader", &quick)),
        }
    }

    /// Brings the schema up to this version of the software. Instances that do so at once wait for each other. What a newer
    /// version has added stays.
    ///
    /// # Errors
    /// If the database cannot be reached, or a newer version has broken with this one.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self.check_schema().await {
            Ok(()) | Err(StoreError::NotMigrated { .. }) => Ok(MIGRATIONS.run(&self.owner).await?),
            Err(error) => Err(error),
        }
    }

    /// Checks that the schema has what this version of the software needs; it may have more.
    ///
    /// # Errors
    /// [`StoreError::NotMigrated`] if something is missing, [`StoreError::TooNew`] if a newer version has broken with this one.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let known = MIGRATIONS.iter().count();
        let mut connection = self.owner.acquire().await?;
        let connection: &mut PgConnection = &mut connection;
        let begun: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
        let rows: Vec<(i64, String)> = match begun {
            true => {
                let sql = "SELECT version, description FROM _sqlx_migrations WHERE success";
                sqlx::query_as(sql).fetch_all(&mut *connection).await?
            }
            false => Vec::new(),
        };
        let (ours, newer): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(version, _)| MIGRATIONS.version_exists(*version));
        if newer.iter().any(|(_, description)| description.starts_with(BREAKING)) {
            return Err(StoreError::TooNew);
        }
        let applied = ours.len();
        if applied < known { Err(StoreError::NotMigrated { applied, known }) } else { Ok(()) }
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
