//! The private Postgres: kept running, never mistaken for another, never taken from another.

use std::path::Path;
use std::time::Duration;

use ingest_api::embedded::{Embedded, EmbeddedError};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("prose-pg-").tempdir().unwrap()
}

fn pid(folder: &Path) -> i32 {
    let text = std::fs::read_to_string(folder.join("postgres/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

async fn answers(embedded: &Embedded) -> bool {
    PgConnection::connect(&embedded.url()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_is_started_again() {
    let folder = folder();
    let embedded = Embedded::start(folder.path(), true).await.unwrap();
    let first = pid(folder.path());
    let killed = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let back = async {
        while !answers(&embedded).await || pid(folder.path()) == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it comes back");
    embedded.stop().await;
    assert!(!folder.path().join("postgres/postmaster.pid").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_pid_file_is_never_taken_for_somebody_elses_server() {
    let (one, other) = (folder(), folder());
    let running = Embedded::start(one.path(), true).await.unwrap();
    Embedded::start(other.path(), true).await.unwrap().stop().await;
    // The machine lost power, and the number in the file belongs to another Postgres now.
    std::fs::write(other.path().join("postgres/postmaster.pid"), format!("{}\n", pid(one.path()))).unwrap();
    let started = Embedded::start(other.path(), true).await.unwrap();
    assert!(answers(&started).await);
    started.stop().await;
    assert!(answers(&running).await, "the other server was left alone");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_has_one_owner_and_many_users() {
    let folder = folder();
    let owner = Embedded::start(folder.path(), true).await.unwrap();
    assert!(matches!(Embedded::start(folder.path(), true).await, Err(EmbeddedError::InUse)));
    let user = Embedded::start(folder.path(), false).await.unwrap();
    assert!(answers(&user).await);
    user.stop().await;
    assert!(answers(&owner).await, "a user does not stop it");
    owner.stop().await;
}
