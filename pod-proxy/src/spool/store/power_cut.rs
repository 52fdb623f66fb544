//! A disk that forgets what was not synced, cut off at every write and sync of a run: what was done is there, all of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::StorageBackend;

use super::*;
use crate::spool::entry::encode;

const BOUNDS: SpoolBounds =
    SpoolBounds { max_bytes: 1 << 20, max_entries: 1_000, max_age: Duration::from_secs(86_400) };

#[derive(Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let start = usize::try_from(*offset).unwrap();
                if image.len() < start + bytes.len() {
                    image.resize(start + bytes.len(), 0);
                }
                image[start..start + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => image.resize(usize::try_from(*length).unwrap(), 0),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What is read while there is power.
    now: Vec<u8>,
    /// What survives in any case.
    synced: Vec<u8>,
    /// What may survive or not, each by itself.
    pending: Vec<Pending>,
    steps: usize,
    /// After so many steps there is no power.
    cut_after: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk that had power until now, and forgot some of what was not synced.
    fn after_the_cut(&self, rng: &mut StdRng) -> Self {
        let state = self.0.lock().unwrap();
        let mut image = state.synced.clone();
        let share = [0.0, 0.5, 1.0][rng.random_range(0..3)];
        for pending in &state.pending {
            if rng.random_bool(share) {
                pending.apply(&mut image);
            }
        }
        Self(Arc::new(Mutex::new(State { now: image.clone(), synced: image, ..State::default() })))
    }

    fn step(&self, work: impl FnOnce(&mut State)) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.cut_after.is_some_and(|cut| state.steps >= cut) {
            return Err(std::io::Error::other("there is no power"));
        }
        state.steps += 1;
        work(&mut state);
        Ok(())
    }

    fn change(&self, pending: Pending) -> std::io::Result<()> {
        self.step(|state| {
            pending.apply(&mut state.now);
            state.pending.push(pending);
        })
    }

    fn open(&self, path: &Path) -> Result<Store, OpenError> {
        let disk = self.clone();
        let create =
            move |_: &Path| Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(disk.clone());
        let (store, aside) = Store::open_on(Box::new(create), path, BOUNDS)?;
        assert!(aside.is_none(), "it is taken for damaged");
        Ok(store)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let state = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(&state.now[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.change(Pending::Length(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.step(|state| {
            state.synced = state.now.clone();
            state.pending.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.change(Pending::Write(offset, data.to_vec()))
    }
}

/// Installations, and the patch level of the version that is stored of each.
type Expected = BTreeMap<u8, u8>;
type Step = (fn(&mut Store) -> Result<(), StoreError>, fn(&mut Expected));

fn keep(
    store: &mut Store,
    installations: impl IntoIterator<Item = u8>,
    patch: u8,
    day: u32,
) -> Result<(), StoreError> {
    let keep = |installation| {
        let value = format!(r#"{{"version":"1.0.{patch}"}}"#).into_bytes();
        Change::Put { key: vec![0, 0, 0, 0, 0, 0, 0, installation], day, value, generation: 0 }
    };
    let changes: Vec<_> = installations.into_iter().map(keep).collect();
    let kept = store.apply(&changes)?;
    assert!(kept.iter().all(|kept| *kept == Changed::Stored));
    Ok(())
}

/// What a spool does, and what is stored after each step.
const RUN: [Step; 10] = [
    (|store| keep(store, 1..=10, 1, 1), |expected| expected.extend((1..=10).map(|n| (n, 1)))),
    (|store| keep(store, 11..=20, 1, 5), |expected| expected.extend((11..=20).map(|n| (n, 1)))),
    (Store::snapshot, |_| ()),
    (|store| keep(store, [1, 2, 3, 21], 2, 5), |expected| expected.extend([1, 2, 3, 21].map(|n| (n, 2)))),
    // Of the first five, three have said something new since.
    (
        |store| {
            let taken = store.read(None, 5)?.into_iter().map(|entry| Change::Remove(entry.id));
            store.apply(&taken.collect::<Vec<_>>()).map(|_| ())
        },
        |expected| expected.retain(|n, _| ![4, 5].contains(n)),
    ),
    (|store| keep(store, 15..=16, 3, 5), |expected| expected.extend((15..=16).map(|n| (n, 3)))),
    (Store::snapshot, |_| ()),
    (
        |store| store.apply(&[Change::RemoveBefore(3)]).map(|_| ()),
        |expected| expected.retain(|n, _| !(6..=10).contains(n)),
    ),
    (
        |store| match store.database.as_mut().map(Database::compact) {
            Some(Ok(_)) => Ok(()),
            _ => Err(StoreError::Fault),
        },
        |_| (),
    ),
    (|store| keep(store, [22], 1, 5), |expected| expected.extend([(22, 1)])),
];

fn expected(store: &mut Store) -> Expected {
    store.snapshot().unwrap();
    let entries = store.read(None, usize::MAX).unwrap();
    let patch = |entry: &Entry| {
        let (_, value) = encode(entry.report.as_ref().unwrap()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
        value["version"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap()
    };
    entries.iter().map(|entry| (entry.id.key[7], patch(entry))).collect()
}

/// Runs until there is no power; what was done then, and what was perhaps.
fn run(disk: &Disk, path: &Path) -> (Expected, Expected) {
    let mut done = Expected::new();
    let Ok(mut store) = disk.open(path) else { return (done.clone(), done) };
    for (step, holds) in RUN {
        let mut perhaps = done.clone();
        holds(&mut perhaps);
        if step(&mut store).is_err() {
            return (done, perhaps);
        }
        done = perhaps;
    }
    (done.clone(), done)
}

#[test]
fn what_was_done_before_the_power_went_is_there_wherever_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let mut rng = StdRng::seed_from_u64(0x5eed);
    let disk = Disk::default();
    let (all, _) = run(&disk, &path);
    let steps = disk.0.lock().unwrap().steps;
    assert!(steps > 50 && all.len() > 10, "{steps} steps, {all:?}");
    // Before the first opening has come to an end there is nothing to lose.
    let disk = Disk::default();
    let store = disk.open(&path).unwrap();
    let opened = disk.0.lock().unwrap().steps;
    drop(store);
    for cut in opened..steps {
        for _ in 0..4 {
            let disk = Disk::default();
            disk.0.lock().unwrap().cut_after = Some(cut);
            let (done, perhaps) = run(&disk, &path);
            let mut store = disk.after_the_cut(&mut rng).open(&path).unwrap();
            let counted = store.usage();
            let found = expected(&mut store);
            assert!(
                found == done || found == perhaps,
                "cut after {cut}: {found:?}, not {done:?} or {perhaps:?}"
            );
            assert_eq!(counted.entries, found.len() as u64, "cut after {cut}");
        }
    }
}
