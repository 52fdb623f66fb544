//! Arrivals of open windows → one record for each reporter; noted domains → the database.

use crate::intake::DomainNotes;
use crate::open_windows::{OpenWindows, WindowError};
use crate::store::open_windows::StoredWindow;
use crate::store::{Database, StoreError, Turn};
use crate::window::WindowKey;
use crate::window::pack::Packer;
use crate::window::record::{Merge, Read, Record, Records};
use crate::window::seal::Opened;

/// A merge rewrites the whole window. So an early merge needs at least this many waiting bytes, and at least
/// as many as the window's packs take.
const LEAST: i64 = 64 << 20;
/// The size of a pack on disk: a page of Postgres, in bytes.
const PACK: i64 = 8 << 10;

/// How much one turn merges, in bytes. It is held in memory: some two million records.
const TURN: i64 = 64 << 20;

/// Which windows to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every window with arrivals.
    All,
    /// Windows where the arrivals are many, compared with what is merged already.
    Large,
}

/// The outcome of a merge.
#[derive(Debug, Default)]
pub struct Run {
    /// Whether some windows wait for a later run, though nothing is wrong: another instance holds the turn,
    /// or somebody reads their tables.
    pub put_off: bool,
    /// The errors of the others.
    pub failed: Vec<WindowError>,
}

/// Merges the arrivals of open windows. Then the size of a window depends on its reporters and not on their
/// reports, and the order of its records says nothing about the order of arrival.
///
/// An error in one window does not delay the others. The next run tries it again.
pub async fn merge_open_windows(database: &Database, keys: &OpenWindows, which: Which) -> Run {
    let mut run = Run::default();
    match database.open_windows().await {
        Ok(windows) => {
            for stored in windows.iter().filter(|stored| !stored.closing) {
                match merge(database, keys, stored, which).await {
                    Ok(_) => {}
                    Err(WindowError::Store(StoreError::Busy | StoreError::InUse)) => run.put_off = true,
                    Err(error) => run.failed.push(error),
                }
            }
        }
        Err(error) => run.failed.push(error.into()),
    }
    run
}

/// Merges one window if it is due. Returns how many pieces were lost, or `None` if it was not due.
///
/// # Errors
/// If the database fails, or the key is missing.
pub async fn merge(
    database: &Database,
    keys: &OpenWindows,
    stored: &StoredWindow,
    which: Which,
) -> Result<Option<u64>, WindowError> {
    let (waiting, merged_packs) = database.waiting(stored).await?;
    let due = match which {
        Which::All => waiting > 0,
        Which::Large => is_large(waiting, merged_packs),
    };
    if !due {
        return Ok(None);
    }
    let key = keys.key_of(stored)?;
    Ok(Some(merge_window(database, stored, Some(&key)).await?))
}

/// Merges what waits for one window, in equal turns. Reports that arrive meanwhile wait for the next merge.
/// Returns how many pieces were lost, and logs it.
///
/// # Errors
/// If the database fails.
pub async fn merge_window(
    database: &Database,
    stored: &StoredWindow,
    key: Option<&WindowKey>,
) -> Result<u64, StoreError> {
    merge_in_turns(database, stored, key, TURN).await
}

/// As [`merge_window`], with another bound on memory.
///
/// # Errors
/// If the database fails.
#[doc(hidden)]
pub async fn merge_in_turns(
    database: &Database,
    stored: &StoredWindow,
    key: Option<&WindowKey>,
    most: i64,
) -> Result<u64, StoreError> {
    let (waiting, _) = database.waiting(stored).await?;
    // Equal turns: a small last turn would show who came last.
    let turns = waiting / most + 1;
    let mut unopened = 0;
    for _ in 0..turns {
        let Some(merged) = merge_turn(database, stored, key, waiting / turns + 1).await? else { break };
        tell_given_up(stored, merged.unopened);
        unopened += merged.unopened;
        drop_replaced(database).await;
        if !merged.is_partial {
            break;
        }
    }
    Ok(unopened)
}

/// The outcome of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many pieces could not be opened, and were lost.
    pub unopened: u64,
    /// How many bytes of pieces the turn merged.
    pub bytes: i64,
    /// Whether the turn reached its bound, so that more may wait.
    pub is_partial: bool,
}

/// Merges what waits for a window with what is merged already, to one record for each reporter: about `most`
/// bytes in one transaction. Writers do not wait for it. Without a key, what waits is lost. `None` if nothing
/// waits.
///
/// # Errors
/// If the database fails.
#[doc(hidden)]
pub async fn merge_turn(
    database: &Database,
    stored: &StoredWindow,
    key: Option<&WindowKey>,
    most: i64,
) -> Result<Option<Merged>, StoreError> {
    let key = key.cloned();
    let work = async move |turn: Turn<'_>| {
        let Some(mut merging) = turn.begin_merging().await? else { return Ok(None) };
        let mut opened = Opened::with(key.as_ref());
        merging.take(most, |piece| opened.add(piece)).await?;
        let Opened { records, bytes, unopened, .. } = opened;
        let mut merge = Merge::new(records.into());
        let mut packer = Packer::default();
        loop {
            let packs = merging.next_packs().await?;
            if packs.is_empty() {
                break;
            }
            packs.iter().try_for_each(|pack| merge.with(Read(pack), |record| packer.add(&record)))?;
            merging.write(&packer.full).await?;
            packer.full.clear();
        }
        merge.end(|record| packer.add(&record));
        merging.write(&packer.end()).await?;
        merging.commit().await?;
        Ok(Some(Merged { unopened, bytes, is_partial: bytes >= most }))
    };
    database.in_turn(stored, work).await
}

/// How many installations and Pods a window holds, as of its last merge. For tests only: no release uses it.
///
/// # Errors
/// If the database fails, or the packs are not in the order in which they were written.
#[doc(hidden)]
pub async fn merged_reporters(database: &Database, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
    let (mut installations, mut pods) = (0, 0);
    let mut merge = Merge::new(Records::default());
    let mut count = |record: Record| match record {
        Record::Pod(_) => pods += 1,
        Record::Installation(_) => installations += 1,
    };
    database.read_packs(window, |pack| merge.with(Read(pack), &mut count)).await?;
    Ok((installations, pods))
}

/// Merges a window that is being closed until the rest fits into memory and can be counted directly.
///
/// # Errors
/// If the database fails.
pub(super) async fn merge_most(
    database: &Database,
    stored: &StoredWindow,
    key: Option<&WindowKey>,
) -> Result<u64, StoreError> {
    let mut unopened = 0;
    while database.waiting(stored).await?.0 > LEAST {
        let merged = merge_turn(database, stored, key, TURN).await?.unwrap_or_default();
        tell_given_up(stored, merged.unopened);
        unopened += merged.unopened;
        drop_replaced(database).await;
    }
    Ok(unopened)
}

/// Drops the tables that a merge has replaced. Ignores errors: the next run of the close job tries again.
async fn drop_replaced(database: &Database) {
    if let Err(error) = database.drop_put_away().await {
        tracing::warn!(%error, "tables that a merge replaced could not be dropped yet; the next close tries again");
    }
}

/// Logs how many pieces no key could open.
pub(super) fn tell_given_up(stored: &StoredWindow, pieces: u64) {
    if pieces > 0 {
        let window = stored.window;
        tracing::error!(%window, pieces, "reports were lost: they were not sealed with the window's key");
    }
}

/// Whether enough waits to merge before the next scheduled merge.
fn is_large(waiting: i64, merged_packs: i32) -> bool {
    waiting >= LEAST.max(i64::from(merged_packs) * PACK)
}

/// Writes the noted domains. Returns the errors; the domains concerned wait for the next run.
pub async fn write_domains(database: &Database, domains: &DomainNotes) -> Vec<StoreError> {
    let mut failed = Vec::new();
    for (week, names) in domains.take() {
        if let Err(error) = database.note_domains(&names, week).await {
            domains.give_back(week, names);
            failed.push(error);
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_merged_before_its_hour_if_as_much_has_come_as_it_holds_and_not_for_little() {
        let mib = |n: i64| n << 20;
        assert!(!is_large(mib(63), 0) && is_large(mib(64), 0));
        assert!(!is_large(mib(159), 20_480) && is_large(mib(160), 20_480));
    }
}
