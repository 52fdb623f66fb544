//! The attack: whoever can make the pages or the insights API run a statement of theirs reads an open window, where the
//! numbers are exact and one for each reporter.
//!
//! It is held off if the role that both connect with is refused each table of each open window, the windows
//! themselves, the tokens and the opt-in domains. `roles::` tries the other roles, and that it is this one that both
//! connect with. Without the defence, somebody has granted it what the owner may read.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::*;
use crate::support::ten_pods;

/// Which tables could be read.
async fn attack(defence: Defence) -> Vec<String> {
    let service = Service::start().await;
    service.report(&ten_pods(2)).await;
    let tables = service
        .query("SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema IN ('intake', 'access', 'optin') ORDER BY 1")
        .await
        .unwrap();
    assert!(tables.len() >= 3 * 2 + 3, "{tables:?}");
    let mut connection = PgConnection::connect(service.app.database().url()).await.unwrap();
    if defence == Defence::Off {
        for grant in ["USAGE ON SCHEMA", "SELECT ON ALL TABLES IN SCHEMA"] {
            let grant = AssertSqlSafe(format!("GRANT {grant} intake, access, optin TO prose_reader"));
            sqlx::query(grant).execute(&mut connection).await.unwrap();
        }
    }
    sqlx::query("SET ROLE prose_reader").execute(&mut connection).await.unwrap();
    let mut read = Vec::new();
    for table in tables {
        let sql = AssertSqlSafe(format!("SELECT * FROM {table}"));
        match sqlx::query(sql).fetch_all(&mut connection).await {
            Ok(_) => read.push(table),
            Err(error) => assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501")),
        }
    }
    connection.close().await.unwrap();
    service.app.shutdown().await;
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_is_refused_everything_that_is_not_released() {
    assert_eq!(attack(Defence::On).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rights_that_it_does_not_have_everything_can_be_read() {
    let read = attack(Defence::Off).await;
    assert!(
        read.iter().any(|table| table.ends_with("_installation") && table.starts_with("intake.w")),
        "{read:?}"
    );
    assert!(
        read.contains(&"access.token".to_owned()) && read.contains(&"optin.domain".to_owned()),
        "{read:?}"
    );
}
