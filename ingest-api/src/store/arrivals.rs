//! `intake.arrival`: what has come to open windows since it was merged last, sealed with their keys; and the merge that opens it.

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, Postgres, Row};

use super::merged::{Order, PackWriter, Packs};
use super::open_windows::StoredWindow;
use super::{Database, StoreError, sqlstate};
use crate::window::pack::Packer;
use crate::window::record::{Merge, Read, Records};
use crate::window::{WindowKey, seal};

/// What became of rows that were to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are committed.
    Committed,
    /// A window has been closed meanwhile; nothing is written.
    WindowClosed,
}

/// What became of what had come to a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many pieces could not be opened: the key was not there, or it was not this key that sealed them. They are gone.
    pub unopened: u64,
    /// How many bytes of pieces were taken.
    pub bytes: i64,
    /// Whether there was as much as is merged at a time; there may be more, which waits for the next merge.
    pub is_partial: bool,
}

/// Writes to open windows, over a connection that it keeps.
#[derive(Debug)]
pub struct Appender {
    database: Database,
    connection: Option<PoolConnection<Postgres>>,
}

impl Appender {
    /// Connects with the first rows.
    pub fn new(database: Database) -> Self {
        Self { database, connection: None }
    }

    /// Adds sealed pieces to their windows, in one transaction that is on disk when this returns.
    ///
    /// Appending, and making distinct later, costs half of keeping an index up to date.
    ///
    /// # Errors
    /// If the database fails; the rows may then be written or not, and writing them once more changes nothing.
    pub async fn append(&mut self, windows: &[(StoredWindow, Vec<Vec<u8>>)]) -> Result<Appended, StoreError> {
        let pieces =
            || windows.iter().flat_map(|(window, pieces)| pieces.iter().map(|piece| (window.id, piece)));
        let (ids, sealed): (Vec<i32>, Vec<&[u8]>) =
            pieces().map(|(id, piece)| (id, piece.as_slice())).unzip();
        // Kept only if all went well; the pool sees to one that is given up.
        if let Some(mut kept) = self.connection.take() {
            match append(&mut kept, &ids, &sealed).await {
                Ok(appended) => {
                    self.connection = Some(kept);
                    return Ok(appended);
                }
                // Since it was used last.
                Err(error) if is_lost(&error) => drop(kept.detach()),
                Err(error) => return Err(error.into()),
            }
        }
        let mut connection = self.database.intake.acquire().await?;
        let appended = append(&mut connection, &ids, &sealed).await?;
        self.connection = Some(connection);
        Ok(appended)
    }
}

async fn append(
    connection: &mut PgConnection,
    ids: &[i32],
    sealed: &[&[u8]],
) -> Result<Appended, sqlx::Error> {
    let row =
        sqlx::query("SELECT intake.append($1, $2)").bind(ids).bind(sealed).fetch_one(connection).await?;
    Ok(if row.try_get(0)? { Appended::Committed } else { Appended::WindowClosed })
}

/// Whether an error is the end of a connection.
fn is_lost(error: &sqlx::Error) -> bool {
    // Class 57: the server was told to stop, or somebody has ended the connection.
    sqlstate(error).is_none_or(|state| state.starts_with("57P"))
}

impl Database {
    /// How much of a window waits to be merged, in bytes, and how many packs its last merge wrote.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn waiting(&self, window: &StoredWindow) -> Result<(i64, i32), StoreError> {
        let sql =
            "SELECT intake.waiting_bytes(id) AS bytes, merged_packs FROM intake.open_window WHERE id = $1";
        let row = sqlx::query(sql).bind(window.id).fetch_optional(&self.release).await?;
        row.map_or(Ok((0, 0)), |row| Ok((row.try_get("bytes")?, row.try_get("merged_packs")?)))
    }

    /// Merges what has come to a window with what it holds, to one record a reporter: all of it, but little more than
    /// so many bytes, or nothing. Writers do not wait for it. Without a key, what has come is given up. What the window held before is put
    /// away. `None` if nothing has come.
    pub async fn merge_window(
        &self,
        window: &StoredWindow,
        key: Option<&WindowKey>,
        most: i64,
    ) -> Result<Option<Merged>, StoreError> {
        let (window, key) = (*window, key.cloned());
        let merge = async move |connection: &mut PgConnection, order| {
            merge(connection, &window, order, key.as_ref(), most).await
        };
        self.read_packs(merge).await
    }
}

async fn merge(
    connection: &mut PgConnection,
    window: &StoredWindow,
    order: Order,
    key: Option<&WindowKey>,
    most: i64,
) -> Result<Option<Merged>, StoreError> {
    let mut transaction = connection.begin().await?;
    let begin = sqlx::query("SELECT intake.begin_merging($1)").bind(window.id);
    if !begin.fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let Arrived { records, merged } = take(&mut transaction, window, key, Some(most)).await?;
    let mut merge = Merge::new(records);
    let packs = sqlx::query_scalar::<_, i32>("SELECT merged_packs FROM intake.open_window WHERE id = $1")
        .bind(window.id)
        .fetch_one(&mut *transaction)
        .await?;
    let mut packer = Packer::default();
    let mut writer = PackWriter::new(usize::try_from(packs).unwrap_or(0));
    let mut packs = Packs::of(&mut transaction, window, order).await?;
    loop {
        let some = packs.next(&mut transaction).await?;
        if some.is_empty() {
            break;
        }
        some.iter().try_for_each(|pack| merge.with(Read(pack), |record| packer.add(&record)))?;
        writer.write(&mut transaction, &packer.full).await?;
        packer.full.clear();
    }
    merge.end(|record| packer.add(&record));
    writer.write(&mut transaction, &packer.end()).await?;
    packs.close(&mut transaction).await?;
    sqlx::query("SELECT intake.finish_merging($1)").bind(window.id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(merged))
}

/// What had come to a window.
pub(super) struct Arrived {
    pub(super) records: Records,
    pub(super) merged: Merged,
}

/// Takes what has come to a window, little more than so many bytes at most, and opens it.
///
/// # Errors
/// If the database fails.
pub(super) async fn take(
    connection: &mut PgConnection,
    window: &StoredWindow,
    key: Option<&WindowKey>,
    most: Option<i64>,
) -> Result<Arrived, StoreError> {
    let take = sqlx::query_scalar::<_, Vec<u8>>("SELECT intake.take($1, $2)").bind(window.id).bind(most);
    let mut pieces = take.fetch(connection);
    let (mut bytes, mut unopened, mut records) = (0, 0, Vec::new());
    while let Some(piece) = pieces.try_next().await? {
        bytes += piece.len() as i64;
        if key.is_none_or(|key| seal::open(key, &piece, &mut records).is_err()) {
            unopened += 1;
        }
    }
    let merged = Merged { unopened, bytes, is_partial: most.is_some_and(|most| bytes >= most) };
    Ok(Arrived { records: records.into(), merged })
}
