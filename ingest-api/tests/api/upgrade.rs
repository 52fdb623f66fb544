//! Upgrades. A service continues with the data of a database of the first schema. It also starts on the
//! schema of a newer version that only added something; it refuses one that the newer version broke.

use shared::data_point::UserAppVersion;
use shared::data_point::UserLang;
use shared::data_point::UserPlatform;
use std::path::Path;
use std::sync::Arc;

use ingest_api::app::{App, OpenDatabase, Schedule};
use ingest_api::config::{Config, DatabaseConfig};
use ingest_api::jobs::merge::{merge_window, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::release::Family;
use ingest_api::store::StoreError;
use ingest_api::window::{Window, WindowKind};
use serde_json::{Value, json};
use shared::clock::FixedClock;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Service, create_database, post_to, send_to, ten_pods};

/// A database to which a newer version has applied another migration, the file `9999_NAME.sql`.
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
    // A container of the older version runs `migrate` first; it does nothing and removes nothing.
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
        assert!(refused.to_string().contains("install the newer version"), "{refused}");
    }
    assert!(App::start(service.config.clone(), service.clock.clone(), Schedule::OnCall).await.is_err());
}

#[tokio::test]
async fn a_migration_that_is_missing_is_missed_however_many_others_there_are() {
    let service = Service::start().await;
    apply_a_later_migration(&service, "something_else").await;
    service.query("DELETE FROM _sqlx_migrations WHERE version = 1 RETURNING version::text").await.unwrap();
    let missed = service.database().prepare().await.unwrap_err().to_string();
    assert!(missed.contains("run `ingest-api migrate`"), "{missed}");
}

/// A database of the first version; the file says more. The tests of the compose files upgrade from it, too.
const SCHEMA_1: &str = include_str!("schema-0001.sql");

/// What a Pod forwards of an installation, which is in [`SCHEMA_1`] if its number is below 30.
fn event(number: usize) -> Value {
    json!({
        "name": "app:daily", "proxied": true,
        "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64" },
            "pod": { "domain_hash": format!("{:016x}", 0x100 + number % 6), "user_hash": format!("{number:016x}") },
        },
    })
}

/// One window is open, with reports that were not merged. The other is over and merged, and waits for its
/// release.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_the_first_schema_go_on_with_those_who_were_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::in_directory(directory.path());
    config.limits = None;
    (config.listen, config.metrics_listen) = (([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
    let url = create_database().await;
    config.database = DatabaseConfig::Url(url.clone());

    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrations = Migrator::new(migrations.as_path()).await.unwrap();
    let first = migrations.iter().next().unwrap();
    let checksum: String = first.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    let filled =
        SCHEMA_1.replace(":'checksum'", &format!("'{checksum}'")).replace(":'month'", "'2026-11-01'");
    let mut owner = PgConnection::connect(&url).await.unwrap();
    for sql in [first.sql.as_str(), &filled] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
    let keys = KeyDirectory::open(&config.key_dir).unwrap();
    for (window, byte) in [("day-2026-01-05", 1), ("month-2026-11-01", 2)] {
        std::fs::write(config.key_dir.join(format!("{window}.key")), [byte; 32]).unwrap();
    }

    let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
    let open = OpenDatabase::open(&config, false).await.unwrap();
    open.database.migrate().await.unwrap();
    open.close().await;
    let app = App::start(config, clock, Schedule::OnCall).await.unwrap();
    let database = &app.database().database;
    let month = Window::of_day(WindowKind::Month, "2026-11-22".parse().unwrap());
    let counted = async || {
        let stored = database.open_window(month).await.unwrap().unwrap();
        merge_window(database, &stored, keys.read(month).unwrap().as_ref()).await.unwrap();
        merged_reporters(database, &stored).await.unwrap()
    };
    assert_eq!(counted().await, (30, 6));
    // The same again, and ten new ones.
    let events: Vec<_> = (0..40).map(event).collect();
    assert_eq!(post_to(app.address(), "/events", &events.into()).await.status, 200);
    assert_eq!(counted().await, (40, 6));

    let day = |day: &str| Window::of_day(WindowKind::Day, day.parse().unwrap());
    assert_eq!(app.run_jobs().await.unwrap(), [day("2026-01-05")]);
    assert!(keys.read(day("2026-01-05")).unwrap().is_none(), "its key is destroyed");
    let families = [Family::of::<UserPlatform>(), Family::of::<UserLang>(), Family::of::<UserAppVersion>()];
    let released = database.releases(&[day("2026-01-02"), day("2026-01-05")], &families).await.unwrap();
    let blocks = released.iter().flat_map(|release| release.blocks());
    let mut blocks: Vec<_> = blocks.map(|block| (block.label.as_str(), block.published)).collect();
    blocks.sort_unstable();
    let expected =
        [("de-CH", 30), ("macos", 125), ("macos-aarch64", 30), ("prose-app-web 1.0.1", 30), ("windows", 75)];
    assert_eq!(blocks, expected);

    let bearer = [("authorization", "Bearer prose-reader-of-old")];
    let path = "/v1/insights/platforms?window=day&from=2026-01-02&to=2026-01-02";
    assert_eq!(send_to(app.address(), "GET", path, &bearer, b"").await.status, 200);
    app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_tells_what_each_table_and_column_is_for() {
    let service = Service::start().await;
    let untold = "SELECT c.oid::regclass || '.' || a.attname
                  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                  WHERE c.relnamespace::regnamespace::text IN ('intake', 'release', 'access', 'optin')
                    AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '_merged$'
                    AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)";
    assert_eq!(service.query(untold).await.unwrap(), [""; 0]);
    service.app.shutdown().await;
}
