//! A schema that a newer version of the program has changed: what it added is no reason not to start, what it broke is.

use ingest_api::app::{App, Schedule};
use ingest_api::store::StoreError;

use crate::support::{Service, ten_pods};

/// As a newer version of the program leaves it that has applied another migration, from the file `9999_NAME.sql`.
async fn apply_a_later_migration(service: &Service, name: &str) {
    let description = name.replace('_', " ");
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, '{description}', true, '\\x00', 0) RETURNING version::text"
    );
    assert_eq!(service.query(&sql).await.unwrap(), ["9999"]);
}

#[tokio::test]
async fn an_instance_goes_on_and_starts_again_on_a_schema_to_which_a_newer_version_has_added_something() {
    let service = Service::start().await;
    apply_a_later_migration(&service, "what_this_version_does_not_know").await;
    service.report(&ten_pods(1)).await;

    let restarted = service.another().await;
    restarted.database().database.prepare().await.unwrap();
    // `migrate`, as a container of the older version runs it before, does nothing and takes nothing away.
    service.database().migrate().await.unwrap();
    let kept =
        service.query("SELECT version::text FROM _sqlx_migrations WHERE version = 9999").await.unwrap();
    assert_eq!(kept, ["9999"]);
    restarted.shutdown().await;
}

#[tokio::test]
async fn no_instance_starts_on_a_schema_that_a_newer_version_broke_and_migrate_leaves_it_alone() {
    let service = Service::start().await;
    apply_a_later_migration(&service, "breaking_what_older_ones_use").await;
    for refused in [service.database().prepare().await, service.database().migrate().await] {
        let Err(refused @ StoreError::TooNew) = refused else { panic!("{refused:?}") };
        assert!(refused.to_string().contains("install that version"), "{refused}");
    }
    assert!(App::start(service.config.clone(), service.clock.clone(), Schedule::OnCall).await.is_err());
}

#[tokio::test]
async fn a_migration_that_is_missing_is_missed_however_many_others_there_are() {
    let service = Service::start().await;
    apply_a_later_migration(&service, "something_else").await;
    service.query("DELETE FROM _sqlx_migrations WHERE version = 2 RETURNING version::text").await.unwrap();
    let missed = service.database().prepare().await.unwrap_err().to_string();
    assert!(missed.contains("run `ingest-api migrate`"), "{missed}");
}
