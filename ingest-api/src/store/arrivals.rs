//! `intake.arrival`: sealed pieces of open windows that arrived since the last merge.

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Row};

use super::open_windows::StoredWindow;
use super::turn::Turn;
use super::{Database, StoreError, sqlstate};
use crate::window::record::NotRecords;

/// The outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The rows are committed.
    Committed,
    /// A window was closed meanwhile; nothing is written.
    WindowClosed,
}

/// Writes to open windows, over a connection that it keeps.
#[derive(Debug)]
pub struct Appender {
    database: Database,
    connection: Option<PoolConnection<Postgres>>,
}

impl Appender {
    /// Connects on the first append.
    pub fn new(database: Database) -> Self {
        Self { database, connection: None }
    }

    /// Adds sealed pieces to their windows in one transaction, which is on disk when this returns.
    ///
    /// Appending now and merging later costs half as much as keeping an index up to date.
    ///
    /// # Errors
    /// If the database fails. The rows may then be written or not; writing them again changes nothing.
    pub async fn append(&mut self, windows: &[(StoredWindow, Vec<Vec<u8>>)]) -> Result<Appended, StoreError> {
        let pieces =
            || windows.iter().flat_map(|(window, pieces)| pieces.iter().map(|piece| (window.id, piece)));
        let (ids, sealed): (Vec<i32>, Vec<&[u8]>) =
            pieces().map(|(id, piece)| (id, piece.as_slice())).unzip();
        // Kept only after success. The pool replaces a connection that was dropped.
        if let Some(mut kept) = self.connection.take() {
            match append(&mut kept, &ids, &sealed).await {
                Ok(appended) => {
                    self.connection = Some(kept);
                    return Ok(appended);
                }
                // Lost since its last use.
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

/// Whether an error means that the connection is lost.
fn is_lost(error: &sqlx::Error) -> bool {
    // Class 57: the server is shutting down, or an administrator ended the connection.
    sqlstate(error).is_none_or(|state| state.starts_with("57P"))
}

impl Database {
    /// How many bytes of a window wait for a merge, and how many packs its last merge wrote.
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
    /// Takes the pieces that wait for the window: all of them, or slightly more than `most` bytes.
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
