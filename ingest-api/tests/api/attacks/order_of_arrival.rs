//! The attack: read the tables of an open window while reports come, one after the other, to see in which order they came and
//! which row of one window belongs to which of another. The attacker is told whose each subject is.
//!
//! It is held off if no order of arrival is found in what has been merged, and no row at all in what has not. Without the
//! defence, somebody has a copy of the key, opens what waits, and reads it in the order in which it lies.

use std::collections::BTreeMap;

use ingest_api::intake::rekey::{Rows, Subject};
use ingest_api::intake::sealed;
use ingest_api::keys::KeyDirectory;
use shared::pseudonym::UserHash;
use sqlx::{Connection, PgConnection, Row};

use super::*;
use crate::support::{domain, proxied};

/// How many report.
const INSTALLATIONS: u32 = 40;

/// The installations that are found, in the order in which their rows lie: before and after a merge.
async fn attack(defence: Defence) -> [Vec<u32>; 2] {
    let service = Service::start().await;
    for n in 0..INSTALLATIONS {
        let event = proxied(1, n, "1.0.0", "web", "en");
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    let window = service.database().open_window(first_day()).await.unwrap().unwrap();
    let key = KeyDirectory::open(&service.config.key_dir).unwrap().read(first_day()).unwrap().unwrap();
    let whose: BTreeMap<i64, u32> = (0..INSTALLATIONS)
        .map(|n| {
            let id = UserHash::of_device("u", &domain(1), &n.to_string());
            (Subject::new(&key, id.as_bytes()).as_i64(), n)
        })
        .collect();

    let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
    let sql = "SELECT sealed FROM intake.arrival WHERE window_id = $1 ORDER BY ctid";
    let waits = sqlx::query(sql).bind(window.id).fetch_all(&mut owner).await.unwrap();
    assert_eq!(waits.len(), INSTALLATIONS as usize);
    let mut before = Vec::new();
    for piece in waits {
        let piece: Vec<u8> = piece.get(0);
        match defence {
            Defence::On => {
                // Wherever a subject may stand in it.
                let numbers = piece.windows(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap()));
                before.extend(numbers.filter_map(|number| whose.get(&number)).copied());
            }
            Defence::Off => {
                let mut rows = Rows::default();
                sealed::open(&key, &piece, &mut rows).unwrap();
                before.extend(rows.installations.keys().map(|(subject, _)| whose[&subject.as_i64()]));
            }
        }
    }
    service.merge().await;
    let sql = format!("SELECT subject FROM intake.w{}_installation ORDER BY ctid", window.id);
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut owner).await.unwrap();
    let after = rows.iter().map(|row| whose[&row.get::<i64, _>(0)]).collect();
    owner.close().await.unwrap();
    service.app.shutdown().await;
    [before, after]
}

/// How many of all pairs lie in the order in which they came.
fn in_order(found: &[u32]) -> usize {
    (1..found.len()).map(|n| found[..n].iter().filter(|earlier| **earlier < found[n]).count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_who_came_first() {
    let [before, after] = attack(Defence::On).await;
    assert_eq!(before, [0; 0]);
    assert_eq!(after.len(), INSTALLATIONS as usize);
    // 390 of 780 by chance, with a deviation of 41: this is seven of them.
    assert!(in_order(&after).abs_diff(390) < 290, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_copy_of_the_key_what_waits_tells_it() {
    let [before, _] = attack(Defence::Off).await;
    assert_eq!(before, Vec::from_iter(0..INSTALLATIONS));
}
