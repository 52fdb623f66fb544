//! The attack: search everything that Postgres stores (data directory, write-ahead log, dump, base backup,
//! log) and the service's own logs. Look for the bytes of a closed window's key in any form, from which
//! subjects could be computed; or for identifiers.
//!
//! The defence holds if nothing is found. The same search does find a key that was stored in a table and
//! deleted there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use ingest_api::app::{App, Schedule};
use ingest_api::config::Config;
use ingest_api::keys::KeyDirectory;
use ingest_api::window::Subject;
use shared::clock::FixedClock;
use shared::pseudonym::{PodId, UserHash};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Service, domain, post_to, postgres_tool, ten_pods};

/// A secret, in the forms in which it might be written.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    // Whole groups of six bits only: the end depends on padding.
    let base64 = bits.as_bytes().chunks_exact(6).map(|six| {
        let index = six.iter().fold(0, |n, bit| n * 2 + usize::from(bit - b'0'));
        BASE64[index]
    });
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    // As Rust's `Debug` shows bytes.
    let shown = format!("{bytes:?}").into_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        reversed,
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        base64.collect(),
        shown,
    ];
    if let Ok(eight) = <[u8; 8]>::try_from(bytes) {
        forms.push(i64::from_be_bytes(eight).to_string().into_bytes());
    }
    forms
}

/// The secrets found in a file below `folder`, as (file, name of the secret).
fn search(folder: &Path, secrets: &[(String, Vec<u8>)]) -> Vec<(PathBuf, String)> {
    let (names, needles): (Vec<&str>, Vec<Vec<u8>>) = secrets
        .iter()
        .flat_map(|(name, bytes)| forms(bytes).into_iter().map(|form| (name.as_str(), form)))
        .unzip();
    let automaton = AhoCorasick::new(needles).unwrap();
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let hits = automaton.find_iter(&bytes);
            found.extend(hits.map(|hit| (path.clone(), names[hit.pattern().as_usize()].to_owned())));
        }
    }
    found
}

/// The secrets to search for, each with a name.
struct Secrets {
    identifiers: Vec<(String, Vec<u8>)>,
    keys: Vec<(String, Vec<u8>)>,
    subjects: Vec<(String, Vec<u8>)>,
}

impl Secrets {
    /// The secrets of [`ten_pods`] with six installations each, in the windows that have a key.
    fn of(directory: &KeyDirectory, folder: &Path) -> Self {
        let mut identifiers = Vec::new();
        for pod in 0..10 {
            identifiers.push((format!("Pod {pod}"), PodId::of_domain(&domain(pod)).as_bytes().to_vec()));
            identifiers.push((format!("domain {pod}"), domain(pod).into_bytes()));
            for n in 0..6 {
                let id = UserHash::of_device("u", &domain(pod), &n.to_string());
                identifiers.push((format!("installation {pod}/{n}"), id.as_bytes().to_vec()));
            }
        }
        let mut keys = Vec::new();
        let mut subjects = Vec::new();
        for window in directory.windows().unwrap() {
            let file = format!("{}-{}.key", window.kind().as_str(), window.start());
            keys.push((format!("key of {window}"), std::fs::read(folder.join(file)).unwrap()));
            let key = directory.read(window).unwrap().unwrap();
            for (name, identifier) in identifiers.iter().filter(|(name, _)| !name.starts_with("domain")) {
                let id = identifier.as_slice().try_into().unwrap();
                let subject = Subject::new(&key, id).as_i64();
                subjects.push((format!("subject of {name} in {window}"), subject.to_be_bytes().to_vec()));
            }
        }
        Self { identifiers, keys, subjects }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_keys_nor_identifiers_nor_subjects_of_a_closed_window_are_left_anywhere() {
    let directory = tempfile::Builder::new().prefix("prose-remains-").tempdir().unwrap();
    let mut config = Config::in_directory(directory.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.metrics_listen = ([127, 0, 0, 1], 0).into();
    // Outside of the searched folders: while a window is open, its key belongs there.
    let keys_folder = tempfile::tempdir().unwrap();
    config.key_dir = keys_folder.path().to_owned();
    let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
    let app = App::start(config, clock.clone(), Schedule::OnCall).await.unwrap();
    let url = app.database().url().to_owned();

    let events = ten_pods(6);
    let answer = post_to(app.address(), "/events", &events.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);

    let directory_of_keys = KeyDirectory::open(keys_folder.path()).unwrap();
    let Secrets { identifiers, keys, subjects } = Secrets::of(&directory_of_keys, keys_folder.path());
    assert_eq!(keys.len(), 3);

    // While the windows are open: a dump contains neither identifiers nor keys, and does contain the rows.
    let dumps = tempfile::tempdir().unwrap();
    let dump = |name: &str| dumps.path().join(name).to_str().unwrap().to_owned();
    postgres_tool("pg_dump", &url, &["-f", &dump("open.sql")]);
    assert_eq!(search(dumps.path(), &identifiers), []);
    assert_eq!(search(dumps.path(), &keys), []);
    for folder in [directory.path(), dumps.path()] {
        assert_eq!(search(folder, &subjects), [], "until they are merged, no subject is anywhere");
    }
    app.run_jobs().await.unwrap();
    postgres_tool("pg_dump", &url, &["-f", &dump("open.sql")]);
    assert_eq!(search(dumps.path(), &identifiers), []);
    assert_eq!(search(dumps.path(), &keys), []);
    assert!(
        !search(dumps.path(), &subjects).is_empty(),
        "subjects of open windows are there, so the search works"
    );

    // After all windows are closed.
    clock.set("2026-12-02T12:00:00Z".parse().unwrap());
    assert_eq!(app.run_jobs().await.unwrap().len(), 3);
    assert_eq!(directory_of_keys.windows().unwrap(), []);
    std::fs::remove_file(dump("open.sql")).unwrap();
    postgres_tool("pg_dump", &url, &["-f", &dump("closed.sql")]);
    assert_eq!(search(dumps.path(), &subjects), [], "no subject in a dump");
    postgres_tool(
        "pg_basebackup",
        &url,
        &["-D", &dump("backup"), "--checkpoint=fast", "--wal-method=stream"],
    );
    for folder in [directory.path(), dumps.path()] {
        assert_eq!(
            search(folder, &keys),
            [],
            "data directory, write-ahead log, log, dump and backup have no key"
        );
        assert_eq!(search(folder, &identifiers), [], "and no identifier");
    }

    // The same search finds a key that was stored in a table and deleted there: the write-ahead log still has
    // it.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let hex: String = keys[0].1.iter().map(|byte| format!("{byte:02x}")).collect();
    for sql in [
        "CREATE TABLE kept (key bytea)".to_owned(),
        format!("INSERT INTO kept VALUES (decode('{hex}', 'hex'))"),
        "DELETE FROM kept".to_owned(),
        "DROP TABLE kept".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let found = search(directory.path(), &keys);
    assert!(
        found.iter().any(|(file, _)| file.components().any(|part| part.as_os_str() == "pg_wal")),
        "{found:?}"
    );
    app.shutdown().await;
}

/// The program's own log, at every level, from the first report to the release.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_program_logs_has_neither_keys_nor_identifiers_nor_subjects() {
    let service = Service::start().await;
    let url = service.app.database().url().to_owned();
    service.app.shutdown().await;
    let owner = async |sql: &str| {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    // The windows of the test's stopped clock: their keys are not in the program's directory.
    owner("SELECT intake.begin_closing(id), intake.remove_window(id) FROM intake.open_window").await;

    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = logs.path().join("log");
    let log = std::fs::File::create(&file).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ingest-api"))
        .env_clear()
        .envs([("RUST_LOG", "trace"), ("INGEST_API__CLOSE_INTERVAL", "PT1S")])
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--database-url", &url])
        .arg("--data-dir")
        .arg(data.path())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let read = || String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
    let wait_for = async |what: &str, done: &dyn Fn() -> bool| {
        for _ in 0..1_200 {
            if done() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("in vain: {what}");
    };
    wait_for("the program", &|| read().contains("Send reports to ")).await;
    let said = read();
    let (_, address) = said.split_once("Send reports to http://").unwrap();
    let address = address.split('/').next().unwrap().parse().unwrap();
    let answer = post_to(address, "/events", &ten_pods(6).into()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let keys_folder = data.path().join("keys");
    let directory_of_keys = KeyDirectory::open(&keys_folder).unwrap();
    let Secrets { identifiers, keys, subjects } = Secrets::of(&directory_of_keys, &keys_folder);
    assert!(keys.len() >= 3);
    // As if another instance began to close and was killed. This one merges and continues.
    owner("SELECT intake.begin_closing(id) FROM intake.open_window").await;
    let all_said =
        || read().lines().filter(|line| line.contains("INFO") && line.contains("released")).count() >= 3;
    wait_for("the releases", &|| directory_of_keys.windows().unwrap().is_empty() && all_said()).await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&program), rustix::process::Signal::TERM)
        .unwrap();
    assert!(program.wait().unwrap().success());

    let log = read();
    assert!(log.contains("DEBUG") && log.contains("FROM intake.open_window"), "statements are there, too");
    for secrets in [&keys, &identifiers, &subjects] {
        assert_eq!(search(logs.path(), secrets), []);
    }
    // The same search finds a key that is logged with Rust's `Debug`.
    std::fs::write(&file, format!("{log}the key is {:?}\n", keys[0].1)).unwrap();
    assert_eq!(search(logs.path(), &keys).len(), 1);
}
