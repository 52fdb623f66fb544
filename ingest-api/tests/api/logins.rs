//! The roles log in with passwords derived from the owner's, on a server that requires passwords.

use ingest_api::app::{App, Schedule};
use ingest_api::config::{Config, DatabaseConfig};
use ingest_api::embedded::Embedded;
use ingest_api::store::login::Role;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::*;

/// A server that trusts its superuser, and requires a password of everybody else.
struct Server {
    embedded: Embedded,
    directory: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("prose-login-").tempdir().unwrap();
        let embedded = Embedded::start(directory.path(), true).await.unwrap();
        let rules = "local all prose trust\nlocal all all scram-sha-256\n";
        std::fs::write(directory.path().join("postgres/pg_hba.conf"), rules).unwrap();
        let server = Self { embedded, directory };
        server.sql("SELECT pg_reload_conf()::text").await;
        server
    }

    async fn sql(&self, sql: &str) -> Vec<String> {
        let mut superuser = PgConnection::connect(&self.embedded.url()).await.unwrap();
        let rows = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut superuser).await.unwrap();
        superuser.close().await.unwrap();
        rows
    }

    /// Creates a database of that name, whose owner may create roles and has no other right.
    async fn create_database(&self, name: &str, password: &str) {
        let role = format!("CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'");
        self.sql(&role).await;
        self.sql(&format!("CREATE DATABASE {name} OWNER {name}")).await;
    }

    /// The URL of that database for a user; the password follows a colon.
    fn url(&self, name: &str, who: &str) -> String {
        self.embedded
            .url()
            .replace("//prose@", &format!("//{who}@"))
            .replace("/postgres?", &format!("/{name}?"))
    }

    /// Starts an instance of the service there.
    async fn instance(&self, name: &str, who: &str) -> anyhow::Result<App> {
        let mut config = Config::in_directory(&self.directory.path().join(name));
        config.listen = ([127, 0, 0, 1], 0).into();
        config.metrics_listen = ([127, 0, 0, 1], 0).into();
        config.database = DatabaseConfig::Url(self.url(name, who));
        let open = ingest_api::app::OpenDatabase::open(&config, false).await?;
        open.database.migrate().await?;
        open.close().await;
        App::start(config, std::sync::Arc::new(shared::clock::SystemClock), Schedule::OnCall).await
    }

    /// The password verifiers of a database's logins, as the server stores them.
    async fn verifiers(&self, name: &str) -> Vec<String> {
        let sql = "SELECT rolname || ' ' || rolpassword FROM pg_authid WHERE rolname LIKE 'prose\\_%' AND rolcanlogin";
        let of = format!("_{name} ");
        let mut found: Vec<_> = self.sql(sql).await.into_iter().filter(|row| row.contains(&of)).collect();
        found.sort();
        found
    }

    async fn stop(self) {
        self.embedded.stop().await;
    }
}

async fn takes_a_report(app: &App) {
    let answer = post_to(app.address(), "/event", &proxied(1, 1, "1.0.0", "web", "en")).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_agree_on_passwords_that_nobody_configured_and_follow_the_owners() {
    let server = Server::start().await;
    server.create_database("vendor", "one").await;
    // Both start at once; one of them creates the logins.
    let (first, second) =
        tokio::join!(server.instance("vendor", "vendor:one"), server.instance("vendor", "vendor:one"));
    let (first, second) = (first.unwrap(), second.unwrap());
    takes_a_report(&first).await;
    takes_a_report(&second).await;
    let made = server.verifiers("vendor").await;
    assert_eq!(made.len(), 3, "{made:?}");
    assert!(made.iter().all(|row| row.contains(" SCRAM-SHA-256$")), "{made:?}");

    // The owner's password changes, and both restart, one after the other.
    server.sql("ALTER ROLE vendor PASSWORD 'two'").await;
    takes_a_report(&first).await;
    first.shutdown().await;
    let first = server.instance("vendor", "vendor:two").await.unwrap();
    let changed = server.verifiers("vendor").await;
    assert!(changed.iter().all(|row| !made.contains(row)), "the passwords are new");
    takes_a_report(&first).await;
    takes_a_report(&second).await;
    second.shutdown().await;
    let second = server.instance("vendor", "vendor:two").await.unwrap();
    assert_eq!(server.verifiers("vendor").await, changed, "nothing is changed that fits");
    takes_a_report(&second).await;
    second.shutdown().await;
    first.shutdown().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_for_one_database() {
    let server = Server::start().await;
    server.create_database("one", "p").await;
    server.create_database("other", "p").await;
    // On PostgreSQL 15, a role that may create roles may grant them, too.
    let one = server.instance("one", "one:p").await.unwrap();
    let other = server.instance("other", "other:p").await.unwrap();
    let options = one.database().database.options_of(Role::Reader).clone();
    assert!(PgConnection::connect_with(&options).await.is_ok());
    let elsewhere = PgConnection::connect_with(&options.database("other")).await.unwrap_err();
    assert_eq!(elsewhere.as_database_error().unwrap().code().as_deref(), Some("42501"));
    // A database that is still open to the public is open to the logins, too. It holds nothing of ours.
    let public = one.database().database.options_of(Role::Reader).clone().database("postgres");
    PgConnection::connect_with(&public).await.unwrap().close().await.unwrap();
    one.shutdown().await;
    other.shutdown().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_cannot_log_in_are_an_error_that_says_what_to_do() {
    let server = Server::start().await;
    server.create_database("vendor", "one").await;
    // The superuser needs no password, so no other password can follow from it.
    let error = server.instance("vendor", "prose").await.unwrap_err().to_string();
    assert!(error.starts_with("the role prose_intake_vendor cannot log in: password"), "{error}");
    assert!(error.contains("the database URL needs the owner's password"), "{error}");
    server.create_database("limited", "one").await;
    server.instance("limited", "limited:one").await.unwrap().shutdown().await;
    server.sql("ALTER ROLE limited NOCREATEROLE PASSWORD 'two'").await;
    let error = server.instance("limited", "limited:two").await.unwrap_err().to_string();
    assert!(error.contains("permission denied") && error.contains("CREATEROLE"), "{error}");
    server.stop().await;
}
