//! The attack: whoever can make the pages or the insights API run a statement of theirs reads an open window, where the
//! numbers are exact and one for each reporter.
//!
//! It is held off if, connected as the pages and the API are, nobody can read a table of an open window, the windows
//! themselves, the tokens or the opt-in domains, whatever statement they run first to become another role; nor read or write
//! a file, run a program or make anything in the database. `roles::` tries the other roles, and that the service is
//! connected as them and not as its owner.
//!
//! There are two defences: the rights of the reader, and that it has logged in as itself. Without the first, somebody has
//! granted it what the owner may read. Without the second, the service is its owner and has taken the reader's role.

use ingest_api::store::login::Role;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;
use crate::roles::{reached, unreleased_tables};
use crate::support::ten_pods;

/// What can be read or done.
async fn attack(rights: Defence, login: Defence) -> Vec<String> {
    let service = Service::start().await;
    service.report(&ten_pods(2)).await;
    service.merge().await;
    let tables = unreleased_tables(&service).await;
    if rights == Defence::Off {
        let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
        for grant in ["USAGE ON SCHEMA", "SELECT ON ALL TABLES IN SCHEMA"] {
            let grant = AssertSqlSafe(format!("GRANT {grant} intake, access, optin TO prose_reader"));
            sqlx::query(grant).execute(&mut owner).await.unwrap();
        }
        owner.close().await.unwrap();
    }
    let options = match login {
        Defence::On => service.database().options_of(Role::Reader).clone(),
        Defence::Off => {
            let owner: sqlx::postgres::PgConnectOptions = service.app.database().url().parse().unwrap();
            owner.options([("role", Role::Reader.group())])
        }
    };
    let reached = reached(&options, &tables).await;
    service.app.shutdown().await;
    reached
}

/// Whether there are an open window, the tokens and the domains in it.
fn has_everything(reached: &[String]) -> bool {
    let window = |table: &String| table.starts_with("intake.w") && table.ends_with("_merged");
    let has = |name: &str| reached.iter().any(|found| found == name);
    let part = |table: &String| table.starts_with("intake.part_");
    reached.iter().any(window) && reached.iter().any(part) && has("access.token") && has("optin.domain")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_is_refused_everything_that_is_not_released() {
    assert_eq!(attack(Defence::On, Defence::On).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rights_that_it_does_not_have_everything_can_be_read() {
    let reached = attack(Defence::Off, Defence::On).await;
    assert!(has_everything(&reached), "{reached:?}");
    assert!(reached.iter().all(|what| what.contains('.') && !what.contains(' ')), "only read: {reached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_takes_the_role_leaves_it_and_reaches_everything() {
    let reached = attack(Defence::On, Defence::Off).await;
    assert!(has_everything(&reached), "{reached:?}");
    assert!(reached.iter().any(|what| what.starts_with("SELECT pg_read_file")), "{reached:?}");
}
