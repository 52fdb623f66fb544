//! The attack: make everything fail that can fail, then read the logs for an identifier or an address.
//!
//! The defence holds if the logs of these failures contain no identifier, domain, address, token, subject or
//! text of a request, at any level.
//!
//! The service logs nothing that was sent. Of a database error it logs only the message, because the details
//! quote the row. No code can be switched off for the case without the defence, so that case adds two lines
//! that somebody might write: one logs the event, and one the whole error of rows that cannot be written.

use std::sync::{Mutex, Once};

use ingest_api::keys::KeyDirectory;
use ingest_api::window::Subject;
use shared::pseudonym::UserHash;

use super::*;
use crate::support::{domain, proxied};

/// The log of this process, from all tests.
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

fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Captured)
            .init();
    });
}

const CANARY: &str = "CANARY-4711";
const FORWARDED: &str = "203.0.113.77";

/// Makes requests fail in every way, and returns what is found in the log.
async fn attack(defence: Defence) -> Vec<String> {
    capture();
    let service = Service::start().await;
    let event = proxied(77, 1, "1.0.0", "macos", "en");
    let id = |name: &str| event["origin"]["pod"][name].as_str().unwrap().to_owned();
    let mut broken = event.clone();
    broken["origin"]["pod"]["user_hash"] = CANARY.into();
    let mut wrong = event.clone();
    wrong["origin"]["app"]["version"] = serde_json::json!({ CANARY: 1 });
    let path = "/_api/cloud/v1/analytics/event";
    let headers = [
        ("content-type", "application/json"),
        ("x-forwarded-for", FORWARDED),
        ("user-agent", CANARY),
        ("cookie", CANARY),
    ];
    let send = async |method: &str, path: &str, body: String| {
        service.send(method, path, &headers, body.as_bytes()).await.status
    };
    assert_eq!(send("POST", path, event.to_string()).await, 204);
    assert_eq!(send("POST", path, broken.to_string()).await, 422);
    assert_eq!(send("POST", path, wrong.to_string()).await, 422);
    assert_eq!(send("POST", path, format!("{{\"{CANARY}\":")).await, 400);
    assert_eq!(send("PUT", path, event.to_string()).await, 405);
    assert_eq!(send("GET", &format!("/{CANARY}/{}", id("domain_hash")), String::new()).await, 404);
    assert_eq!(send("POST", path, CANARY.repeat(100_000)).await, 413);
    assert_eq!(service.get(&format!("/v1/insights/{CANARY}"), Some(CANARY)).await.status, 401);

    // A row that cannot be written: the database quotes it in its error.
    let window = service.database().open_windows().await.unwrap()[0];
    let key = KeyDirectory::open(&service.config.key_dir).unwrap().read(window.window).unwrap().unwrap();
    let subject = Subject::new(&key, UserHash::of_device("u", &domain(77), "1").as_bytes());
    let _ = service.query("ALTER TABLE intake.arrival ADD CHECK (sealed IS NULL) NOT VALID").await;
    assert_eq!(send("POST", path, event.to_string()).await, 503);
    if defence == Defence::Off {
        tracing::warn!(%event, from = FORWARDED, "an event that is logged as it came");
        tracing::warn!(subject = subject.as_i64(), "a row that is logged as it is");
    }
    // A window that cannot be closed, and one without its key.
    service
        .query("INSERT INTO release.closed_window VALUES ('day', '2026-11-22', '2026-11-23') RETURNING kind")
        .await
        .unwrap();
    service.set_clock("2026-11-23T08:00:00Z");
    assert!(service.app.run_jobs().await.is_err());
    service.app.shutdown().await;

    let secrets = [
        CANARY.to_owned(),
        FORWARDED.to_owned(),
        domain(77),
        id("domain_hash"),
        id("user_hash"),
        subject.as_i64().to_string(),
    ];
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    assert!(log.contains("a group of reports could not be written"), "failures are logged");
    let found = secrets.into_iter().filter(|secret| log.contains(secret)).collect();
    if defence == Defence::Off {
        LOG.lock().unwrap().clear();
    }
    found
}

/// One after the other, because they read the same log.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_sent_is_in_the_log_but_where_somebody_logs_it() {
    assert_eq!(attack(Defence::On).await, [""; 0]);
    assert_eq!(attack(Defence::Off).await.len(), 4, "the address, two identifiers and a subject");
}
