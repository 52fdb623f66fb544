use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use shared::domain::Domain;
use shared::event::Event;
use shared::policy::Policy;
use shared::pseudonym::Salt;

use super::*;
use crate::facts::PodFacts;
use crate::filter::{PodReport, Report, filter, outgoing};

const BOUNDS: SpoolBounds =
    SpoolBounds { max_bytes: 1 << 20, max_entries: 1_000, max_age: Duration::from_secs(86_400) };

fn facts() -> PodFacts {
    PodFacts::of(Domain::parse("example.org").unwrap())
}

fn event(installation: u64, version: &str) -> FilteredEvent {
    let event = serde_json::json!({ "origin": { "app": { "version": version },
        "pod": { "user_hash": format!("{installation:016x}") } } });
    let event = Event::from_json(event.to_string().as_bytes()).unwrap();
    outgoing(&Policy::default(), &facts(), &Salt::from_bytes(&[1; 256]).unwrap(), event).unwrap()
}

async fn put(spool: &Spool, event: FilteredEvent, day: u32) -> Result<Put, PutError> {
    spool.put(event, day, 0).await
}

/// The events that are stored, in the order in which they would be sent.
async fn stored(spool: &Spool) -> Vec<FilteredEvent> {
    spool.snapshot().await.unwrap();
    in_snapshot(spool).await
}

/// The events in the snapshot.
async fn in_snapshot(spool: &Spool) -> Vec<FilteredEvent> {
    let entries = spool.read(None, usize::MAX).await.unwrap();
    let sent = |entry: Entry| filter(&Policy::default(), &facts(), entry.report.unwrap()).unwrap();
    entries.into_iter().map(sent).collect()
}

#[tokio::test]
async fn what_was_kept_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    put(&spool, event(1, "1.0.0"), 1).await.unwrap();
    let own = filter(&Policy::default(), &facts(), Report::Pod(PodReport::Daily)).unwrap();
    put(&spool, own.clone(), 1).await.unwrap();
    let before = spool.usage();
    let mode = fs::metadata(folder.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    spool.close().await;
    assert_eq!(put(&spool, event(2, "1.0.0"), 1).await, Err(PutError::Fault));

    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    assert_eq!(stored(&spool).await, [own, event(1, "1.0.0")]);
    assert_eq!(spool.usage(), before);
}

#[tokio::test]
async fn there_is_one_entry_for_an_installation_in_which_its_reports_merge() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for version in ["1.0.0", "1.0.2", "1.0.1"] {
        put(&spool, event(1, version), 1).await.unwrap();
    }
    assert_eq!(stored(&spool).await, [event(1, "1.0.2")]);
    assert_eq!(spool.usage().entries, 1);
}

#[tokio::test]
async fn the_order_says_nothing_about_arrival() {
    let order = async |installations: &[u64]| {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), BOUNDS).unwrap();
        for installation in installations {
            put(&spool, event(*installation, "1.0.0"), 1).await.unwrap();
        }
        stored(&spool).await
    };
    assert_eq!(order(&[1, 2, 3, 4]).await, order(&[4, 2, 1, 3]).await);
}

#[tokio::test]
async fn an_entry_that_was_replaced_while_it_was_sent_stays() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    put(&spool, event(1, "1.0.0"), 1).await.unwrap();
    put(&spool, event(2, "1.0.0"), 1).await.unwrap();
    spool.snapshot().await.unwrap();
    let read: Vec<_> = spool.read(None, 10).await.unwrap().into_iter().map(|entry| entry.id).collect();
    put(&spool, event(1, "1.0.1"), 1).await.unwrap();
    assert_eq!(spool.remove(read).await, Ok(2));
    assert_eq!(spool.usage().entries, 1);
    assert_eq!(stored(&spool).await, [event(1, "1.0.1")]);
}

#[tokio::test]
async fn a_replaced_entry_is_told_from_the_new_one_also_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    put(&spool, event(1, "1.0.0"), 1).await.unwrap();
    spool.close().await;
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    spool.snapshot().await.unwrap();
    let read: Vec<_> = spool.read(None, 10).await.unwrap().into_iter().map(|entry| entry.id).collect();
    assert_eq!(read.len(), 1);
    put(&spool, event(1, "1.0.1"), 1).await.unwrap();
    spool.snapshot().await.unwrap();
    assert_eq!(spool.remove(read).await, Ok(0));
    assert_eq!(stored(&spool).await, [event(1, "1.0.1")]);
}

#[tokio::test]
async fn a_snapshot_stays_as_it_is_and_what_arrives_meanwhile_is_in_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for installation in [1, 2] {
        put(&spool, event(installation, "1.0.0"), 1).await.unwrap();
    }
    assert_eq!(in_snapshot(&spool).await, []);
    let before = stored(&spool).await;
    for (installation, version) in [(1, "1.0.2"), (1, "1.0.1"), (3, "1.0.0")] {
        put(&spool, event(installation, version), 1).await.unwrap();
    }
    assert_eq!(in_snapshot(&spool).await, before);
    assert_eq!(spool.usage().entries, 3);
    let bytes = spool.usage().bytes;
    // Opening it again lets nothing leave, and forgets nothing.
    spool.close().await;
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    assert_eq!((spool.usage().entries, spool.usage().bytes), (3, bytes));
    assert_eq!(in_snapshot(&spool).await, []);
    let mut after: Vec<_> = [event(1, "1.0.2"), event(2, "1.0.0"), event(3, "1.0.0")].into();
    after.sort_by_key(|event| entry::encode(&event.clone().into_report()).unwrap());
    assert_eq!(stored(&spool).await, after);
    let read: Vec<_> = spool.read(None, 10).await.unwrap().into_iter().map(|entry| entry.id).collect();
    assert_eq!(spool.remove(read).await, Ok(3));
    assert_eq!(spool.usage(), Usage::default());
}

#[tokio::test]
async fn of_an_installation_whose_entry_in_the_snapshot_is_too_old_what_came_since_stays() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for installation in [1, 2, 3] {
        put(&spool, event(installation, "1.0.0"), 1).await.unwrap();
    }
    spool.snapshot().await.unwrap();
    put(&spool, event(1, "1.0.1"), 2).await.unwrap();
    put(&spool, event(2, "1.0.1"), 5).await.unwrap();
    assert_eq!(spool.remove_before(3).await, Ok(2));
    assert_eq!(spool.usage().entries, 1);
    assert_eq!(in_snapshot(&spool).await, []);
    assert_eq!(stored(&spool).await, [event(2, "1.0.1")]);
    assert_eq!(spool.remove_before(6).await, Ok(1));
    assert_eq!(spool.usage(), Usage::default());
}

#[tokio::test]
async fn what_an_outdated_configuration_let_through_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    assert_eq!(spool.put(event(1, "442.1.1"), 1, 0).await, Ok(Put::Stored));
    spool.require_generation(1);
    spool.wipe().await.unwrap();
    // It was let through before, and has waited for its turn until now.
    assert_eq!(spool.put(event(2, "442.1.1"), 1, 0).await, Ok(Put::Outdated));
    assert_eq!(spool.usage(), Usage::default());
    let bytes = fs::read(folder.path().join(FILE_NAME)).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"442.1.1"));
    assert_eq!(spool.put(event(3, "1.0.0"), 1, 1).await, Ok(Put::Stored));
}

#[tokio::test]
async fn entries_are_read_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for installation in 0..10 {
        put(&spool, event(installation, "1.0.0"), 1).await.unwrap();
    }
    spool.snapshot().await.unwrap();
    let mut read = Vec::new();
    while let batch = spool.read(read.last().map(|entry: &Entry| entry.id.clone()), 3).await.unwrap()
        && !batch.is_empty()
    {
        read.extend(batch);
    }
    assert_eq!(read, spool.read(None, 100).await.unwrap());
}

#[tokio::test]
async fn a_full_spool_takes_what_replaces_and_refuses_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = SpoolBounds { max_entries: 2, ..BOUNDS };
    let spool = Spool::open(folder.path(), bounds).unwrap();
    put(&spool, event(1, "1.0.0"), 1).await.unwrap();
    put(&spool, event(2, "1.0.0"), 1).await.unwrap();
    assert_eq!(put(&spool, event(3, "1.0.0"), 1).await, Err(PutError::Full));
    put(&spool, event(2, "1.0.1"), 1).await.unwrap();
    assert_eq!(spool.usage().entries, 2);
    spool.set_bounds(BOUNDS).await;
    put(&spool, event(3, "1.0.0"), 1).await.unwrap();
}

#[tokio::test]
async fn what_waited_too_long_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for day in 1..=5 {
        put(&spool, event(u64::from(day), "1.0.0"), day).await.unwrap();
    }
    assert_eq!(spool.remove_before(3).await, Ok(2));
    assert_eq!(spool.usage().entries, 3);
}

#[tokio::test]
async fn what_is_wiped_leaves_no_byte_behind() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), BOUNDS).unwrap();
    for installation in 0..50 {
        put(&spool, event(installation, "442.1.1"), 1).await.unwrap();
    }
    let found = |text: &str| {
        let bytes = fs::read(folder.path().join(FILE_NAME)).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(found("442.1.1"), "the search would not find it");
    assert_eq!(spool.wipe().await, Ok(50));
    assert!(!found("442.1.1"));
    assert_eq!(spool.usage(), Usage::default());
    put(&spool, event(1, "1.0.0"), 1).await.unwrap();
    assert_eq!(stored(&spool).await, [event(1, "1.0.0")]);
}

#[tokio::test]
async fn a_second_process_is_told_that_the_spool_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let _spool = Spool::open(folder.path(), BOUNDS).unwrap();
    assert!(matches!(Spool::open(folder.path(), BOUNDS), Err(OpenError::InUse(_))));
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_a_new_one_is_used() {
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 4] = [
        ("rubbish", |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x5a)),
        ("not a store at all", |bytes| *bytes = b"hello".to_vec()),
        ("cut off", |bytes| bytes.truncate(bytes.len() / 3)),
        ("zeros behind the header", |bytes| bytes[4_096..].fill(0)),
    ];
    for (name, damage) in damage {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), BOUNDS).unwrap();
        for installation in 0..100 {
            put(&spool, event(installation, "1.0.0"), 1).await.unwrap();
        }
        spool.close().await;
        let path = folder.path().join(FILE_NAME);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();

        let spool = Spool::open(folder.path(), BOUNDS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(spool.usage(), Usage::default(), "{name}");
        put(&spool, event(1, "1.0.0"), 1).await.unwrap();
        let aside = folder.path().join("spool.redb.damaged-1");
        assert_eq!(fs::read(aside).unwrap(), bytes, "{name}");
    }
}

#[tokio::test]
async fn what_was_set_aside_goes_with_a_wipe_with_age_and_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let aside = |n: u32| folder.path().join(format!("spool.redb.damaged-{n}"));
    let open_damaged = || {
        fs::write(folder.path().join(FILE_NAME), [0x5a; 10_000]).unwrap();
        Spool::open(folder.path(), BOUNDS).unwrap()
    };
    // An earlier version kept many.
    fs::write(aside(2), "old").unwrap();
    let spool = open_damaged();
    assert!(aside(1).exists() && !aside(2).exists(), "one at most");

    let tenth_day = std::time::UNIX_EPOCH + Duration::from_secs(10 * 86_400);
    fs::File::options().append(true).open(aside(1)).unwrap().set_modified(tenth_day).unwrap();
    spool.remove_before(10).await.unwrap();
    assert!(aside(1).exists());
    spool.remove_before(11).await.unwrap();
    assert!(!aside(1).exists());
    spool.close().await;

    let spool = open_damaged();
    assert!(aside(1).exists());
    spool.wipe().await.unwrap();
    assert!(!aside(1).exists());
    assert!(folder.path().join(FILE_NAME).exists());
}
