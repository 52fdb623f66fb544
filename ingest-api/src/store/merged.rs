//! `intake.w<id>_merged`: the merged records of an open window, one for each reporter, in ordered packs. The
//! packs are in the tables that inherit from it.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::open_windows::StoredWindow;
use super::turn::Turn;
use super::{Database, StoreError};
use crate::window::pack::PACK;
use crate::window::record::NotRecords;

/// How many packs are read at a time: two megabytes.
const AT_A_TIME: usize = 256;

/// The fewest packs of a part: two megabytes. Commits may have to wait while the disk frees a dropped part.
const LEAST_PART: usize = 256;
/// About how many parts a window has. Postgres has room for the locks of some thousand tables.
const PARTS: usize = 256;
/// The pause after dropping a part: this many times as long as the drop took. It gives commits time.
const BETWEEN_DROPS: u32 = 4;
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Database {
    /// Reads the packs of a window in stored order. For operation and tests: no release uses it.
    ///
    /// # Errors
    /// If the database or `take` fails.
    pub async fn read_packs(
        &self,
        window: &StoredWindow,
        take: impl FnMut(&[u8]) -> Result<(), NotRecords>,
    ) -> Result<(), StoreError> {
        let mut connection = self.release.acquire().await?;
        let read = read(&mut connection, window, Order::AsTheyLie, take).await;
        if read.is_err() {
            drop(connection.detach());
        }
        read
    }

    /// Drops the tables that merges have replaced and releases have counted, part by part, with pauses for
    /// commits. Skips a table that somebody reads, that another object depends on, or that another instance
    /// is dropping; a later run tries again. Returns how many windows or merges still have tables to drop,
    /// without those of another instance.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn drop_put_away(&self) -> Result<i64, StoreError> {
        loop {
            let start = Instant::now();
            let drop_part = sqlx::query_scalar("SELECT intake.drop_part()").fetch_one(&self.release).await;
            match drop_part.map_err(StoreError::from) {
                Ok(true) => {
                    let pause = (start.elapsed() * BETWEEN_DROPS).min(LONGEST_PAUSE);
                    tokio::time::sleep(pause).await;
                }
                Ok(false) => break,
                Err(StoreError::Busy) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        let left = "SELECT count(*) FROM pg_class
                    WHERE relnamespace = 'intake'::regnamespace AND relkind = 'r' AND relname LIKE 'gone\\_%'";
        Ok(sqlx::query_scalar(left).fetch_one(&self.release).await?)
    }
}

/// The order in which the packs of a window are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As written. If somebody has moved rows, reading fails.
    AsTheyLie,
    /// Sorted by first record. This takes several times as long.
    OfRecords,
}

fn select(window: &StoredWindow, order: Order) -> String {
    let order = match order {
        Order::AsTheyLie => "",
        Order::OfRecords => " ORDER BY substr(records, 2, 8), get_byte(records, 0)",
    };
    format!("SELECT records FROM intake.w{}_merged{order}", window.id)
}

/// Passes on all packs of a window, one after the other, while Postgres sends.
pub(super) async fn read(
    connection: &mut PgConnection,
    window: &StoredWindow,
    order: Order,
    mut take: impl FnMut(&[u8]) -> Result<(), NotRecords>,
) -> Result<(), StoreError> {
    let mut packs = sqlx::query(AssertSqlSafe(select(window, order))).persistent(false).fetch(connection);
    while let Some(pack) = packs.try_next().await? {
        take(pack.try_get(0)?)?;
    }
    Ok(())
}

/// A merge: reads the window's packs while it writes the packs that will replace them.
#[derive(Debug)]
pub struct Merging<'c> {
    turn: Turn<'c>,
    writer: PackWriter,
}

impl<'c> Turn<'c> {
    /// Begins a merge. `None` if nothing waits for it.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn begin_merging(mut self) -> Result<Option<Merging<'c>>, StoreError> {
        let begin = sqlx::query_scalar::<_, bool>("SELECT intake.begin_merging($1)").bind(self.window.id);
        if !begin.fetch_one(&mut *self.transaction).await? {
            return Ok(None);
        }
        let packs: i32 = sqlx::query_scalar("SELECT merged_packs FROM intake.open_window WHERE id = $1")
            .bind(self.window.id)
            .fetch_one(&mut *self.transaction)
            .await?;
        let declare = format!("DECLARE packs NO SCROLL CURSOR FOR {}", select(&self.window, self.order));
        sqlx::query(AssertSqlSafe(declare)).persistent(false).execute(&mut *self.transaction).await?;
        let writer = PackWriter::new(usize::try_from(packs).unwrap_or(0));
        Ok(Some(Merging { turn: self, writer }))
    }
}

impl Merging<'_> {
    /// Takes the pieces that wait for the window, slightly more than `most` bytes.
    pub async fn take(
        &mut self,
        most: i64,
        piece: impl FnMut(&[u8]) -> Result<(), NotRecords>,
    ) -> Result<(), StoreError> {
        self.turn.take(Some(most), piece).await
    }

    /// The next packs of the window; empty after the last.
    pub async fn next_packs(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let fetch = sqlx::query_scalar(AssertSqlSafe(format!("FETCH {AT_A_TIME} FROM packs")));
        Ok(fetch.fetch_all(&mut *self.turn.transaction).await?)
    }

    /// Writes packs, one after the other.
    pub async fn write(&mut self, packs: &[u8]) -> Result<(), StoreError> {
        self.writer.write(&mut self.turn.transaction, packs).await
    }

    /// Puts away the window's previous packs, and ends the turn.
    pub async fn commit(self) -> Result<(), StoreError> {
        let mut transaction = self.turn.transaction;
        // An open cursor would keep the table in use.
        sqlx::query("CLOSE packs").execute(&mut *transaction).await?;
        let finish = sqlx::query("SELECT intake.finish_merging($1)").bind(self.turn.window.id);
        finish.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}

/// Writes packs, part by part, to the new tables of a merge.
#[derive(Debug)]
struct PackWriter {
    /// The number of packs in a part.
    part: usize,
    /// How many more packs fit into the current part.
    room: usize,
    /// Some packs, as rows in the binary format of `COPY` (PostgreSQL manual, "COPY", "Binary Format").
    rows: Vec<u8>,
}

/// The beginning of a stream of rows: a signature, no flags, no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The number of columns of each row.
const COLUMNS: i16 = 1;
/// The end of the stream, in place of the number of columns.
const END: i16 = -1;

impl PackWriter {
    /// For a window that had this many packs.
    fn new(packs: usize) -> Self {
        Self { part: LEAST_PART.max(packs / PARTS), room: 0, rows: Vec::new() }
    }

    /// Writes some packs that follow each other.
    async fn write(&mut self, connection: &mut PgConnection, mut packs: &[u8]) -> Result<(), StoreError> {
        while !packs.is_empty() {
            if self.room == 0 {
                sqlx::query("SELECT intake.begin_part()").execute(&mut *connection).await?;
                self.room = self.part;
            }
            let (fitting, others) = packs.split_at(packs.len().min(self.room * PACK));
            let mut part =
                connection.copy_in_raw("COPY intake.new_part (records) FROM STDIN (FORMAT binary)").await?;
            part.send(&HEADER[..]).await?;
            for some in fitting.chunks(AT_A_TIME * PACK) {
                self.rows.clear();
                for pack in some.chunks(PACK) {
                    self.rows.extend(COLUMNS.to_be_bytes());
                    self.rows.extend((PACK as u32).to_be_bytes());
                    self.rows.extend_from_slice(pack);
                }
                part.send(self.rows.as_slice()).await?;
            }
            part.send(&END.to_be_bytes()[..]).await?;
            part.finish().await?;
            self.room -= fitting.len() / PACK;
            packs = others;
        }
        Ok(())
    }
}
