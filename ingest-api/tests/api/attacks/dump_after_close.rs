//! The attack: dump the database while a window is open. After the close, compute the subjects of all known
//! domains and identifiers, to see who reported.
//!
//! The defence holds if none is found: nobody can compute a subject after the key is destroyed. In the case
//! without the defence, somebody copied the key directory while the windows were open.

use ingest_api::keys::KeyDirectory;
use ingest_api::window::{Subject, WindowKey};
use sha2::{Digest, Sha256};
use shared::pseudonym::PodId;

use super::*;
use crate::support::{domain, ten_pods};

/// How many of ten domains are found in the dump.
async fn attack(defence: Defence) -> usize {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.merge().await;
    let windows = service.database().open_windows().await.unwrap();
    let mut dump = Vec::new();
    for window in &windows {
        let sql = format!("SELECT subject::text FROM intake.reporters({}) WHERE is_pod", window.id);
        dump.extend(service.query(&sql).await.unwrap());
    }
    assert_eq!(dump.len(), 30);
    let stolen = KeyDirectory::open(tempfile::tempdir().unwrap().keep().as_path()).unwrap();
    let another = |window| stolen.read_or_create(window).unwrap();
    let keys: Vec<WindowKey> = match defence {
        Defence::On => windows.iter().map(|stored| another(stored.window)).collect(),
        // A copy of the key directory, made while the windows were open.
        Defence::Off => {
            let directory = KeyDirectory::open(&service.config.key_dir).unwrap();
            windows.iter().map(|stored| directory.read(stored.window).unwrap().unwrap()).collect()
        }
    };
    service.set_clock("2026-12-02T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    assert_eq!(service.key_files(), [""; 0], "the keys are gone");
    service.app.shutdown().await;

    let number = |bytes: &[u8]| i64::from_be_bytes(bytes[..8].try_into().unwrap()).to_string();
    let known = |pod: u32| {
        let id = *PodId::of_domain(&domain(pod)).as_bytes();
        let guess = |key: &WindowKey| Subject::new(key, &id).as_i64().to_string();
        let mut guesses: Vec<String> = keys.iter().map(guess).collect();
        guesses.extend([number(&id), number(&Sha256::digest(id)), number(&Sha256::digest(domain(pod)))]);
        guesses
    };
    (0..10).filter(|pod| known(*pod).iter().any(|guess| dump.contains(guess))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_known_domain_is_found_in_a_dump() {
    assert_eq!(attack(Defence::On).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_copy_of_the_keys_all_are() {
    assert_eq!(attack(Defence::Off).await, 10);
}
