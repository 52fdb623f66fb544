//! A schema that a newer version of the program has changed: what it added is no reason not to start, what it broke is.

use std::path::Path;
use std::sync::Arc;

use ingest_api::app::{App, Schedule};
use ingest_api::config::{Config, DatabaseConfig};
use ingest_api::intake::ValidReport;
use ingest_api::intake::rekey::rekey;
use ingest_api::jobs::merge::{merge_window, merged_reporters};
use ingest_api::keys::KeyDirectory;
use ingest_api::release::Family;
use ingest_api::store::StoreError;
use ingest_api::window::record::Reporter;
use ingest_api::window::seal::seal;
use ingest_api::window::{Subject, Window, WindowKey, WindowKind};
use shared::clock::FixedClock;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Service, create_database, post_to, ten_pods};

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

/// Windows of the schemas before: one that is open, with rows of which some are put aside to be merged, and one that is being
/// closed. All go on, and who was counted is known again.
#[tokio::test(flavor = "multi_thread")]
async fn windows_of_the_schemas_before_go_on_with_those_who_were_counted() {
    for schema in [Before::Partitions, Before::Sealing, Before::Packing, Before::Kinds, Before::Parts] {
        let directory = tempfile::tempdir().unwrap();
        let before = directory.path().join("migrations");
        std::fs::create_dir(&before).unwrap();
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let names = [
            "0001_schema.sql",
            "0002_sessions.sql",
            "0003_merging.sql",
            "0004_breaking_partitions.sql",
            "0005_breaking_sealed.sql",
            "0006_breaking_row_counts.sql",
            "0007_breaking_packs.sql",
            "0008_breaking_kinds.sql",
        ];
        let applied = match schema {
            Before::Partitions => 3,
            Before::Sealing => 4,
            Before::Packing => 6,
            Before::Kinds => 7,
            Before::Parts => 8,
        };
        for name in &names[..applied] {
            std::fs::copy(migrations.join(name), before.join(name)).unwrap();
        }
        let url = create_database().await;
        let mut owner = PgConnection::connect(&url).await.unwrap();
        Migrator::new(before.as_path()).await.unwrap().run(&mut owner).await.unwrap();

        let mut config = Config::in_directory(directory.path());
        config.limits = None;
        (config.listen, config.metrics_listen) = (([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
        config.database = DatabaseConfig::Url(url);
        let keys = KeyDirectory::open(&config.key_dir).unwrap();
        let reports: Vec<ValidReport> = ten_pods(6)
            .iter()
            .map(|event| ValidReport::from_json(event.to_string().as_bytes()).unwrap())
            .collect();
        let windows = [
            (WindowKind::Day, "2026-11-21"),
            (WindowKind::Day, "2026-11-22"),
            (WindowKind::Month, "2026-11-22"),
        ];
        for (kind, day) in windows {
            let window = Window::of_day(kind, day.parse().unwrap());
            let key = keys.read_or_create(window).unwrap().as_before();
            let (start, check) = (window.start(), key.check());
            let sql = format!("SELECT intake.create_window('{}', '{start}', {check})", kind.as_str());
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
            let id: i32 = sqlx::query_scalar("SELECT max(id) FROM intake.open_window")
                .fetch_one(&mut owner)
                .await
                .unwrap();
            let (put_aside, later) = reports.split_at(reports.len() / 2);
            if schema == Before::Kinds {
                append(&mut owner, id, &key, put_aside).await;
            } else {
                insert(schema, &mut owner, id, &key, put_aside).await;
            }
            let step = match schema {
                _ if day == "2026-11-21" => format!("SELECT intake.begin_closing({id})"),
                Before::Partitions | Before::Sealing => format!("SELECT intake.begin_merging({id})"),
                // As a merge left it.
                Before::Packing => format!("SELECT intake.fill_up('w{id}', 30, 10)"),
                Before::Kinds | Before::Parts => "SELECT".to_owned(),
            };
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut owner).await.unwrap();
            if day != "2026-11-21" && matches!(schema, Before::Packing | Before::Kinds | Before::Parts) {
                append(&mut owner, id, &key, later).await;
            } else if day != "2026-11-21" {
                insert(schema, &mut owner, id, &key, later).await;
            }
        }
        owner.close().await.unwrap();

        let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
        let open = ingest_api::app::OpenDatabase::open(&config, false).await.unwrap();
        open.database.migrate().await.unwrap();
        let mut owner = PgConnection::connect(open.url()).await.unwrap();
        let ids: Vec<i32> =
            sqlx::query_scalar("SELECT id FROM intake.open_window").fetch_all(&mut owner).await.unwrap();
        for id in ids {
            let packs = format!("SELECT count(*) FROM intake.w{id}_merged");
            let packs: i64 = sqlx::query_scalar(AssertSqlSafe(packs)).fetch_one(&mut owner).await.unwrap();
            let expected = if schema == Before::Kinds { 0 } else { 1 };
            assert_eq!(packs, expected, "their number tells nothing from now on");
        }
        // A close of the version before, which may still run, ends with this and releases nothing.
        let close = sqlx::query("SELECT intake.drop_window(1)").execute(&mut owner).await;
        assert!(close.unwrap_err().to_string().contains("does not exist"));
        owner.close().await.unwrap();
        open.close().await;
        let app = App::start(config, clock.clone(), Schedule::OnCall).await.unwrap();
        let database = &app.database().database;
        let month = Window::of_day(WindowKind::Month, "2026-11-22".parse().unwrap());
        let counted = async || {
            let stored = database.open_window(month).await.unwrap().unwrap();
            merge_window(database, &stored, keys.read(month).unwrap().as_ref()).await.unwrap();
            merged_reporters(database, &stored).await.unwrap()
        };
        assert_eq!(counted().await, (60, 10));
        // The same again, and an installation more in each Pod.
        assert_eq!(post_to(app.address(), "/events", &ten_pods(7).into()).await.status, 200);
        assert_eq!(counted().await, (70, 10));
        clock.set("2026-12-02T08:00:00Z".parse().unwrap());
        assert_eq!(app.run_jobs().await.unwrap().len(), 4, "two days, a week and the month");
        let total = async |day: &str| {
            let day = Window::of_day(WindowKind::Day, day.parse().unwrap());
            let releases = database.releases(&[day], &[Family::Installations]).await.unwrap();
            releases[0].blocks().iter().map(|block| block.published).sum::<u64>()
        };
        // Of the day that was being closed, half was there.
        assert_eq!((total("2026-11-21").await, total("2026-11-22").await), (30, 70));
        app.shutdown().await;
    }
}

/// What a schema did not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Each window had tables of its own, and subjects of eight bytes that the key gave.
    Partitions,
    /// Rows were written as they are, to the parts of two tables: the first byte of a subject stood for its window.
    Sealing,
    /// What had been merged of each window was in two tables of its own, one row a reporter.
    Packing,
    /// What had come to all windows was in one table; here, nothing has been merged.
    Kinds,
    /// The table of a window had its packs in itself.
    Parts,
}

/// Seals some reports, and writes them as versions did that sealed.
async fn append(owner: &mut PgConnection, id: i32, key: &WindowKey, reports: &[ValidReport]) {
    let pieces = seal(key, &rekey(key, reports));
    let append = sqlx::query("SELECT intake.append($1, $2)").bind(vec![id; pieces.len()]).bind(pieces);
    append.execute(owner).await.unwrap();
}

/// Writes the pack of some reports as a merge did when the table of a window had its packs in itself.
async fn insert_pack(owner: &mut PgConnection, id: i32, key: &WindowKey, reports: &[ValidReport]) {
    let mut pack = Vec::new();
    rekey(key, reports).iter().for_each(|record| record.write(&mut pack));
    pack.resize(8_100, 0);
    let insert = format!("INSERT INTO intake.w{id}_merged VALUES ($1)");
    sqlx::query(AssertSqlSafe(insert)).bind(pack).execute(&mut *owner).await.unwrap();
    let written = sqlx::query("UPDATE intake.open_window SET merged_packs = 1 WHERE id = $1").bind(id);
    written.execute(owner).await.unwrap();
}

/// Writes the rows of some reports as a version of that schema did.
async fn insert(schema: Before, owner: &mut PgConnection, id: i32, key: &WindowKey, reports: &[ValidReport]) {
    if schema == Before::Parts {
        return insert_pack(owner, id, key, reports).await;
    }
    let tables = if schema == Before::Sealing { "intake.".to_owned() } else { format!("intake.w{id}_") };
    let slot: i16 = match schema {
        Before::Sealing => {
            let slot = sqlx::query_scalar("SELECT slot FROM intake.open_window WHERE id = $1").bind(id);
            slot.fetch_one(&mut *owner).await.unwrap()
        }
        _ => 0,
    };
    let subject = |bytes: &[u8; 8]| match schema {
        Before::Partitions => key.tag(bytes),
        _ => i64::from(slot) << 56 | Subject::new(key, bytes).as_i64(),
    };
    for report in reports {
        let pod = subject(report.pod().as_bytes());
        for record in rekey(key, [report]).iter() {
            let (version, other) = (record.version, record.language_or_size);
            let sql = match (record.reporter, report.installation()) {
                (Reporter::Pod, _) => format!("INSERT INTO {tables}pod VALUES ({pod}, {version}, {other})"),
                (reporter, Some(installation)) => format!(
                    "INSERT INTO {tables}installation (subject, pod, app_version, language, platform, proxied)
                     VALUES ({}, {pod}, {version}, {other}, {}, {})",
                    subject(installation.id.as_bytes()),
                    record.platform,
                    reporter == Reporter::ProxiedInstallation
                ),
                (_, None) => unreachable!("an installation has said who it is"),
            };
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *owner).await.unwrap();
        }
    }
}
