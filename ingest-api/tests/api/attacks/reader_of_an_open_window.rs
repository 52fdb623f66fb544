//! The attack: somebody who can run an SQL statement through the pages or the insights API reads an open
//! window, which has one exact record for each reporter.
//!
//! The defence holds if a connection of the pages or the API cannot read a table of an open window, the list
//! of windows, the tokens or the opt-in domains, whatever statement it runs first to become another role. Nor
//! can it read or write a file, run a program, or create anything in the database. `roles::` tries the other
//! roles, and checks that the service connects as them and not as its owner.
//!
//! There are two defences: the rights of the reader, and its own login. In the case without the first, the
//! reader is granted what the owner may read. In the case without the second, the service connects as its
//! owner, and has switched to the reader's role.

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

/// Whether it finds an open window, the tokens and the domains.
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
