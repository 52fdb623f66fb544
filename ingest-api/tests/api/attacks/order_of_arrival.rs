//! The attack: read the tables of an open window while reports arrive one after the other. Learn from them
//! the order of arrival, and which row of one window belongs to which row of another. The attacker knows the
//! reporter of each subject.
//!
//! The defence holds if merged records show no order of arrival, and unmerged ones show no reporter. In the
//! case without the defence, the attacker has a copy of the key, opens the arrivals, and reads them in stored
//! order. Merged records cannot be in that order: a merge walks two lists in the order of subjects, and would
//! not find a reporter again otherwise (`window::record::tests`).

use std::collections::BTreeMap;

use ingest_api::keys::KeyDirectory;
use ingest_api::window::Subject;
use ingest_api::window::seal;
use shared::pseudonym::UserHash;
use sqlx::{Connection, PgConnection};

use super::*;
use crate::support::{domain, proxied};

/// How many installations report.
const INSTALLATIONS: u32 = 40;

/// The installations found in a window, in the order of their rows: before and after a merge.
struct Found {
    before: Vec<u32>,
    after: Vec<u32>,
}

/// What is found in the day and in the week, with or without keys.
async fn attack(keys: Defence) -> [Found; 2] {
    let service = Service::start().await;
    for n in 0..INSTALLATIONS {
        let event = proxied(1, n, "1.0.0", "web", "en");
        assert_eq!(service.post("/event", &event).await.status, 204);
    }
    let directory = KeyDirectory::open(&service.config.key_dir).unwrap();
    let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
    let week = Window::of_day(WindowKind::Week, first_day().start());
    let mut windows = Vec::new();
    for window in [first_day(), week] {
        let key = directory.read(window).unwrap().unwrap();
        let whose: BTreeMap<i64, u32> = (0..INSTALLATIONS)
            .map(|n| {
                let id = UserHash::of_device("u", &domain(1), &n.to_string());
                (Subject::new(&key, id.as_bytes()).as_i64(), n)
            })
            .collect();
        let id = service.database().open_window(window).await.unwrap().unwrap().id;
        let sql = "SELECT sealed FROM intake.arrival WHERE window_id = $1 ORDER BY ctid";
        let waits: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(id).fetch_all(&mut owner).await.unwrap();
        assert_eq!(waits.len(), INSTALLATIONS as usize);
        let found = |piece: &Vec<u8>| -> Vec<u32> {
            match keys {
                // At every offset where a subject may be.
                Defence::On => piece
                    .windows(8)
                    .filter_map(|bytes| whose.get(&i64::from_be_bytes(bytes.try_into().unwrap())).copied())
                    .collect(),
                Defence::Off => {
                    let mut records = Vec::new();
                    seal::open(&key, piece, &mut records).unwrap();
                    records
                        .iter()
                        .filter_map(|record| whose.get(&record.subject().as_i64()).copied())
                        .collect()
                }
            }
        };
        windows.push((id, waits.iter().flat_map(found).collect(), whose));
    }
    service.merge().await;
    let mut all_found = Vec::new();
    for (id, before, whose) in windows {
        let sql = format!("SELECT subject FROM intake.reporters({id}) WHERE NOT is_pod");
        let rows: Vec<i64> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut owner).await.unwrap();
        all_found.push(Found { before, after: rows.iter().map(|subject| whose[subject]).collect() });
    }
    owner.close().await.unwrap();
    service.app.shutdown().await;
    all_found.try_into().unwrap_or_else(|_| unreachable!("two windows"))
}

/// How many of all pairs are in the same order in two lists.
fn in_order(one: &[u32], other: &[u32]) -> usize {
    let place = |n: &u32| other.iter().position(|found| found == n).unwrap();
    let pairs = (1..one.len()).flat_map(|n| (0..n).map(move |earlier| (earlier, n)));
    pairs.filter(|(earlier, n)| place(&one[*earlier]) < place(&one[*n])).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_who_came_first_nor_who_is_who_in_another_window() {
    let [day, week] = attack(Defence::On).await;
    assert_eq!([day.before, week.before], [Vec::<u32>::new(), Vec::new()]);
    let arrived = Vec::from_iter(0..INSTALLATIONS);
    for (one, other) in [(&day.after, &arrived), (&week.after, &arrived), (&day.after, &week.after)] {
        assert_eq!(one.len(), INSTALLATIONS as usize);
        // 390 of 780 by chance, with a standard deviation of 43: this is almost seven of them.
        assert!(in_order(one, other).abs_diff(390) < 290, "{one:?} {other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_copy_of_the_keys_what_waits_tells_both() {
    let [day, week] = attack(Defence::Off).await;
    let arrived = Vec::from_iter(0..INSTALLATIONS);
    assert_eq!([day.before, week.before], [arrived.clone(), arrived]);
}
