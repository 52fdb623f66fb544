//! After a window is closed, nothing is left of its reporters: not in the database, the keys, or the logs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use e2e::fleet::{Fleet, FleetSize};
use e2e::needles::Needles;
use e2e::stack::{Stack, folder};
use ingest_api::keys::KeyDirectory;
use jiff::civil::date;
use shared::pseudonym::PodId;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// Everything that both services and their libraries log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Captured;

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What identifies somebody outside of the service: the pseudonyms as they were made, and as the vendor got
/// them; and the domains of Pods whose operators did not opt in.
fn identifiers(fleet: &Fleet) -> Needles {
    let mut needles = Needles::default();
    for pod in fleet.pods() {
        if !pod.policy.means.domain {
            needles.add("a domain", pod.domain().as_str().as_bytes());
        }
        needles.add_id("a Pod's pseudonym", *PodId::of_domain(pod.domain().as_str()).as_bytes());
        for installation in &pod.installations {
            let user_hash = installation.user_hash();
            needles.add_id("an app's pseudonym", *user_hash.as_bytes());
            needles.add_id("a salted pseudonym", *pod.salt.apply(user_hash).as_bytes());
        }
    }
    for installation in fleet.servers().iter().flat_map(|server| &server.installations) {
        needles.add_id("a direct app's pseudonym", *installation.user_hash().as_bytes());
    }
    needles
}

/// The pseudonyms as the apps made them, which not even the Pod may store.
fn unsalted(fleet: &Fleet) -> Needles {
    let mut needles = Needles::default();
    for installation in fleet.pods().iter().flat_map(|pod| &pod.installations) {
        needles.add_id("an app's pseudonym", *installation.user_hash().as_bytes());
    }
    needles
}

/// Adds the subjects of all open windows. Returns how many.
async fn add_subjects(stack: &Stack, needles: &mut Needles) -> usize {
    // Merges the arrivals first.
    stack.vendor().run_jobs().await.unwrap();
    let open = stack.vendor().database();
    let mut connection = PgConnection::connect(open.url()).await.unwrap();
    let mut subjects = 0;
    for stored in open.database.open_windows().await.unwrap() {
        let id = stored.id;
        let sql = format!(
            "SELECT * FROM (
                 SELECT subject FROM intake.reporters({id}) UNION SELECT pod FROM intake.reporters({id})) AS subjects"
        );
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap() {
            needles.add_id("a subject", row.get::<i64, _>("subject").to_be_bytes());
            subjects += 1;
        }
    }
    connection.close().await.unwrap();
    subjects
}

/// Adds the keys of all open windows. Returns how many.
fn add_keys(key_dir: &Path, needles: &mut Needles) -> usize {
    let files: Vec<_> = std::fs::read_dir(key_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        let key = std::fs::read(file).unwrap();
        assert_eq!(key.len(), 32);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        needles.add("a key", &key);
        needles.add("a key in hexadecimal", hex.as_bytes());
    }
    files.len()
}

/// The program of PostgreSQL that dumps a database.
fn pg_dump() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut programs: Vec<_> = debian.map(|entry| entry.unwrap().path().join("bin/pg_dump")).collect();
    programs.sort();
    programs.into_iter().rfind(|program| program.exists()).unwrap_or_else(|| "pg_dump".into())
}

fn dump(stack: &Stack) -> Vec<u8> {
    let url = stack.vendor().database().url();
    let output = Command::new(pg_dump()).arg("--dbname").arg(url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const NOTHING: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn after_close_nothing_is_left_of_who_reported() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(|| Captured)
        .init();
    let fleet = Fleet::new(5, FleetSize::SMALL, date(2026, 8, 24));
    let folder = folder().unwrap();
    let vendor = folder.path().join("vendor");
    let key_dir = vendor.join("keys");
    let mut stack = Stack::start(&fleet, folder.path()).await.unwrap();

    let mut secrets = Needles::default();
    let mut keys = Needles::default();
    for day in fleet.days() {
        stack.play(&fleet, &day, 1).await.unwrap();
        if day.number == 3 {
            assert!(add_subjects(&stack, &mut secrets).await > 300);
            assert_eq!(add_keys(&key_dir, &mut keys), 2, "of a week and a month");
        }
    }
    assert!(add_subjects(&stack, &mut secrets).await > 300);
    assert_eq!(add_keys(&key_dir, &mut keys), 2, "of a week and a month");

    // The search can find them while windows are open: a check that cannot fail proves nothing.
    assert!(secrets.find(&dump(&stack)).contains(&"a subject in hexadecimal".to_owned()));
    assert!(!keys.find_below(&key_dir).unwrap().is_empty());
    let identifiers = identifiers(&fleet);
    assert!(!identifiers.find(fleet.day(0).direct[0].json.as_bytes()).is_empty());
    assert_eq!(
        keys.find_below(&vendor.join("postgres")).unwrap(),
        NOTHING,
        "keys never were in the database"
    );

    stack.wait_until(date(2026, 10, 6)).await.unwrap();
    let dumped = dump(&stack);
    assert!(String::from_utf8_lossy(&dumped).contains("prose-app-web 1.0.2"), "the releases are in it");
    assert_eq!(identifiers.find(&dumped), NOTHING);
    assert_eq!(secrets.find(&dumped), NOTHING);
    assert_eq!(keys.find(&dumped), NOTHING);
    assert!(KeyDirectory::open(&key_dir).unwrap().windows().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&key_dir).unwrap().count(), 0, "files in the key directory");

    stack.shutdown().await;
    // Nor in what a database keeps of deleted rows: its write-ahead log, its files, and its own log.
    assert_eq!(identifiers.find_below(&vendor).unwrap(), NOTHING);
    assert_eq!(keys.find_below(&vendor).unwrap(), NOTHING);
    assert_eq!(unsalted(&fleet).find_below(folder.path()).unwrap(), NOTHING);

    let log = LOG.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&log).contains("released"), "the services log");
    for needles in [&identifiers, &secrets, &keys] {
        assert_eq!(needles.find(&log), NOTHING);
    }
}
