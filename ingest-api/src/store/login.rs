//! The roles of the database → logins, one for each role and database.
//!
//! `prose_intake`, `prose_release` and `prose_reader` hold the rights. They belong to the whole server, and
//! cannot log in. For each database, each of them has one member that can log in. The member may connect to
//! this database, and to no other that is closed to the public, as all our databases are. A login can take no
//! other role and has none to go back to. So a statement, whatever it says, has the rights of its task only.
//!
//! The password of a login is derived from the owner's password. So all instances know it, and nothing has to
//! be configured or stored. If the owner needs no password (peer or trust authentication), neither does a
//! login.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use postgres_protocol::password::scram_sha_256;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{StoreError, sqlstate};

/// The longest name of a role, in bytes. Postgres cuts off longer names.
const MAX_NAME: usize = 63;
/// How long to wait for a server, which may be starting.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A task, and what it may do in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Writes to open windows, and reads none of their rows.
    Intake,
    /// Reads open windows when they are merged or closed, and writes releases.
    Release,
    /// Reads releases.
    Reader,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Intake, Self::Release, Self::Reader];

    /// The role that holds the rights; the same for all databases of a server.
    pub fn group(self) -> &'static str {
        match self {
            Self::Intake => "prose_intake",
            Self::Release => "prose_release",
            Self::Reader => "prose_reader",
        }
    }

    /// The role that logs in to this database.
    pub fn login(self, database: &str) -> String {
        let name = format!("{}_{database}", self.group());
        if name.len() <= MAX_NAME {
            return name;
        }
        // Two long names that begin alike stay distinct.
        let digest: String = Sha256::digest(database).iter().take(8).map(|b| format!("{b:02x}")).collect();
        let mut end = MAX_NAME - digest.len() - 1;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}_{digest}", &name[..end])
    }
}

/// How a role logs in to one database.
#[derive(Clone)]
pub(super) struct Login {
    role: Role,
    name: String,
    /// The options of its connections.
    pub(super) options: PgConnectOptions,
    database: String,
    password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Login {
    /// The login of a role to the database that the owner's options name.
    pub(super) fn new(role: Role, owner: &PgConnectOptions) -> Self {
        // Postgres does the same where no database is named.
        let database = owner.get_database().unwrap_or_else(|| owner.get_username()).to_owned();
        let name = role.login(&database);
        let password = password_of(owner).map(|owners| password(&owners, &name));
        let mut options = owner.clone().username(&name).database(&database);
        if let Some(password) = &password {
            options = options.password(password);
        }
        Self { role, name, options, database, password }
    }

    /// Whether the role can log in and has its rights. The inner error is the server's refusal; the outer
    /// error means that the server gave no answer.
    async fn works(&self) -> Result<Result<(), sqlx::Error>, sqlx::Error> {
        let mut connection = match connect(&self.options).await {
            Ok(connection) => connection,
            Err(error) if is_refusal(&error) => return Ok(Err(error)),
            Err(error) => return Err(error),
        };
        let group = self.role.group();
        let of_group_only =
            "SELECT pg_has_role($1, 'USAGE') AND NOT r.rolsuper AND NOT r.rolcreaterole AND NOT r.rolcreatedb
                 AND (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) = 1
                 AND NOT EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = r.oid)
             FROM pg_roles r WHERE r.rolname = current_user";
        let member: Result<bool, _> =
            sqlx::query_scalar(of_group_only).bind(group).fetch_one(&mut connection).await;
        // The query is done; errors while closing do not matter.
        let _ = connection.close().await;
        Ok(match member? {
            true => Ok(()),
            false => Err(sqlx::Error::Configuration(
                format!("it is not in {group}, is in other roles, or has settings of its own").into(),
            )),
        })
    }

    /// Creates the role if it does not exist, and grants what it needs.
    async fn provide(&self, owner: &mut PgConnection) -> Result<(), sqlx::Error> {
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(&self.name)
            .fetch_one(&mut *owner)
            .await?;
        let (name, database, group) = (quoted(&self.name), quoted(&self.database), self.role.group());
        let mut statements = Vec::new();
        if !there {
            statements.push(format!(
                "CREATE ROLE {name} INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
            ));
        }
        // Sends the verifier instead of the password: a server may log statements.
        let verifier = self.password.as_ref().map(|password| scram_sha_256(password.as_bytes()));
        let password = verifier.map(|verifier| format!(" PASSWORD '{verifier}'")).unwrap_or_default();
        statements.push(format!("ALTER ROLE {name} LOGIN{password}"));
        // The role may have set some itself.
        statements.push(format!("ALTER ROLE {name} RESET ALL"));
        statements.push(format!("ALTER ROLE {name} IN DATABASE {database} RESET ALL"));
        statements.push(format!("GRANT {group} TO {name}"));
        statements.push(format!("GRANT CONNECT ON DATABASE {database} TO {name}"));
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *owner).await?;
        }
        Ok(())
    }
}

/// Makes sure that each role can log in. The owner creates or updates the logins, but only if one of them
/// fails: at the first start, after the owner's password has changed, or on another server. Instances that do
/// so at the same time wait for each other.
///
/// # Errors
/// If a role still cannot log in, or the owner lacks the right to change it.
pub(super) async fn admit(owner: &PgConnectOptions, logins: &[Login; 3]) -> Result<(), StoreError> {
    let mut refused = Vec::new();
    for login in logins {
        if login.works().await?.is_err() {
            refused.push(login);
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    // Keeps verifiers out of our own log, too.
    let mut connection = connect(&owner.clone().disable_statement_logging()).await?;
    let mut transaction = connection.begin().await?;
    // Takes turns, by a lock that only the owner can take.
    sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut *transaction).await?;
    sqlx::query("LOCK TABLE intake.open_window IN SHARE UPDATE EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    for login in &refused {
        login.provide(&mut transaction).await.map_err(|error| no_login(login, error))?;
    }
    transaction.commit().await?;
    let _ = connection.close().await;
    for login in refused {
        login.works().await?.map_err(|error| no_login(login, error))?;
    }
    Ok(())
}

/// Checks that each role can log in.
///
/// # Errors
/// If one cannot.
pub(super) async fn check(logins: &[Login; 3]) -> Result<(), StoreError> {
    for login in logins {
        login.works().await?.map_err(|error| no_login(login, error))?;
    }
    Ok(())
}

fn no_login(login: &Login, error: sqlx::Error) -> StoreError {
    StoreError::NoLogin { role: login.name.clone(), error }
}

/// Connects. Retries for a moment while the server is starting. The error is that of the last attempt.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let started = tokio::time::Instant::now();
    loop {
        match tokio::time::timeout_at(started + PATIENCE, PgConnection::connect_with(options)).await {
            Ok(Err(error)) if is_starting(&error) && started.elapsed() + PAUSE < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(connected) => return connected,
            Err(_) => return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Whether the server may be starting, or has no free connection at the moment.
fn is_starting(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound};
    match error {
        sqlx::Error::Io(error) => {
            matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset | NotFound)
        }
        // cannot_connect_now, too_many_connections
        error => matches!(sqlstate(error).as_deref(), Some("57P03" | "53300")),
    }
}

/// Whether the server rejects the user's authentication, or access to this database.
fn is_refusal(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("28000" | "28P01" | "42501"))
}

/// The owner's password, from whatever source.
fn password_of(owner: &PgConnectOptions) -> Option<String> {
    // sqlx has no getter for it. Fixed names of user and host make sure that the URL can be written.
    let url = owner.clone().username("owner").host("localhost").to_url_lossy();
    url.password().map(|encoded| percent_decode_str(encoded).decode_utf8_lossy().into_owned())
}

/// The password of a login. Nobody can compute the owner's password, or that of another login, from it,
/// unless the owner's can be guessed.
fn password(owners: &str, login: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(owners.as_bytes()).expect("HMAC takes a key of any length");
    let mac = mac.chain_update(b"password of the login ").chain_update(login).finalize().into_bytes();
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Quotes a name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_a_name_of_its_own_in_each_database_that_postgres_does_not_cut_off() {
        assert_eq!(Role::Reader.login("ingest"), "prose_reader_ingest");
        let long = |end: &str| Role::Release.login(&format!("{}{end}", "ä".repeat(30)));
        assert!(long("x").len() <= MAX_NAME && long("x").starts_with("prose_release_ää"), "{}", long("x"));
        assert_ne!(long("x"), long("y"));
    }

    #[test]
    fn the_password_of_a_login_follows_from_that_of_the_owner_and_is_another_one() {
        let login = |url: &str, role| Login::new(role, &url.parse().unwrap()).password;
        let url = "postgres://owner:pass%2Fword@[::1]:1/ingest?sslmode=disable";
        let reader = login(url, Role::Reader);
        assert_eq!(reader.as_deref().map(str::len), Some(64));
        assert_eq!(reader, login("postgres://%5B:pass%2Fword@elsewhere/ingest", Role::Reader));
        assert_ne!(reader, login(url, Role::Intake));
        assert_ne!(reader, login("postgres://owner:another@[::1]:1/ingest", Role::Reader));
        assert_ne!(reader, login("postgres://owner:pass%2Fword@[::1]:1/other", Role::Reader));
        assert_eq!(login("postgres://owner@%2Frun%2Fpostgresql/ingest", Role::Reader), None);
    }
}
