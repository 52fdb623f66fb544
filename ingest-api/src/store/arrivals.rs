//! `intake.arrival`: what has come to open windows since it was merged last, sealed with their keys.

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Row};

use super::open_windows::StoredWindow;
use super::turn::Turn;
use super::{Database, StoreError, sqlstate};
use crate::window::record::NotRecords;

/// What became of rows that were to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are committed.
    Committed,
    /// A window has been closed meanwhile; nothing is written.
    WindowClosed,
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
}

impl Turn<'_> {
    /// Takes the pieces that wait for the window: all of them, or little more than `most` bytes.
    pub(super) async fn take(
        &mut self,
        most: Option<i64>,
        mut piece: impl FnMut(&[u8]) -> Result<(), NotRecords>,
    ) -> Result<(), StoreError> {
        let take = sqlx::query("SELECT intake.take($1, $2)").bind(self.window.id).bind(most);
        let mut pieces = take.fetch(&mut *self.transaction);
        while let Some(row) = pieces.try_next().await? {
            piece(row.try_get(0)?)?;
        }
        Ok(())
    }
}
