//! `intake.arrival`: what has come to open windows since it was merged last, sealed with their keys; and the merge that opens it.

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, Postgres, Row};

use super::copy::CopyIn;
use super::open_windows::StoredWindow;
use super::{Database, StoreError, sqlstate};
use crate::intake::rekey::{PodRow, Rows};
use crate::intake::sealed;
use crate::keys::WindowKey;

/// How many pieces are opened at a time: some thousands of rows, in few milliseconds.
const PIECES: usize = 100;

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
    /// How much of a window waits to be merged, in bytes, and how many rows its last merge wrote.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn waiting(&self, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
        let sql =
            "SELECT intake.waiting_bytes(id) AS bytes, merged_rows FROM intake.open_window WHERE id = $1";
        let row = sqlx::query(sql).bind(window.id).fetch_optional(&self.release).await?;
        row.map_or(Ok((0, 0)), |row| Ok((row.try_get("bytes")?, row.try_get("merged_rows")?)))
    }

    /// Merges what has come to a window with what it holds, to one row a reporter: all of it, or nothing. Writers do not wait
    /// for it. Without a key, what has come is given up. `None` if nothing has come.
    pub async fn merge_window(
        &self,
        window: &StoredWindow,
        key: Option<&WindowKey>,
    ) -> Result<Option<Merged>, StoreError> {
        let mut connection = self.release.acquire().await?;
        let mut transaction = connection.begin().await?;
        let begin = sqlx::query("SELECT intake.begin_merging($1)").bind(window.id);
        if !begin.fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)? {
            return Ok(None);
        }
        let mut merged = Merged::default();
        sqlx::query("DECLARE arrived CURSOR FOR SELECT sealed FROM intake.arrived")
            .execute(&mut *transaction)
            .await?;
        loop {
            let fetch = sqlx::AssertSqlSafe(format!("FETCH {PIECES} FROM arrived"));
            let pieces = sqlx::query(fetch).fetch_all(&mut *transaction).await?;
            if pieces.is_empty() {
                break;
            }
            let mut rows = Rows::default();
            for piece in &pieces {
                let piece: &[u8] = piece.try_get(0)?;
                if key.is_none_or(|key| sealed::open(key, piece, &mut rows).is_err()) {
                    merged.unopened += 1;
                }
            }
            installations(&rows).send(&mut transaction).await?;
            pods(&rows).send(&mut transaction).await?;
        }
        sqlx::query("CLOSE arrived").execute(&mut *transaction).await?;
        sqlx::query("SELECT intake.finish_merging($1)").bind(window.id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Some(merged))
    }
}

fn installations(rows: &Rows) -> CopyIn {
    let columns = "subject, pod, app_version, language, platform, proxied";
    let mut copy = CopyIn::new("intake.opened_installation", columns);
    for ((subject, _), row) in &rows.installations {
        copy.row(6)
            .field(&subject.as_i64().to_be_bytes())
            .field(&row.pod.as_i64().to_be_bytes())
            .field(&row.app_version.to_be_bytes())
            .field(&row.language.to_be_bytes())
            .field(&row.platform.to_be_bytes())
            .field(&[u8::from(row.proxied)]);
    }
    copy
}

fn pods(rows: &Rows) -> CopyIn {
    let mut copy = CopyIn::new("intake.opened_pod", "subject, version, size");
    for (subject, PodRow { version, size }) in &rows.pods {
        copy.row(3)
            .field(&subject.as_i64().to_be_bytes())
            .field(&version.to_be_bytes())
            .field(&size.to_be_bytes());
    }
    copy
}
