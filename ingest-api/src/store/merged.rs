//! `intake.w<id>_merged`: what has been merged of an open window, one record a reporter, in packs that follow each other; and the tables
//! that inherit from it, in which they lie.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::open_windows::StoredWindow;
use super::{Database, StoreError, aside};
use crate::window::pack::PACK;
use crate::window::record::{Merge, Read, Record, Records, Reporter};

/// How many packs are read at a time: two megabytes.
const AT_A_TIME: usize = 256;

/// How many packs a part has, at least: two megabytes. While one is dropped, commits may have to wait until the disk has freed it.
const LEAST_PART: usize = 256;
/// How many parts a window has, or some more: Postgres has room for the locks of some thousand tables.
const PARTS: usize = 256;
/// For how long nothing is dropped then: so many times as long as it took …
const BETWEEN_DROPS: u32 = 4;
/// … and no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Database {
    /// How many installations and Pods a window holds, as of its last merge. For operation and tests: no release is made from it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn merged_reporters(&self, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
        let mut connection = self.release.acquire().await?;
        let (mut installations, mut pods) = (0, 0);
        let merge = Merge::new(Records::default());
        let read = read(&mut connection, window, Order::AsTheyLie, merge, |record| match record.reporter {
            Reporter::Pod => pods += 1,
            Reporter::DirectInstallation | Reporter::ProxiedInstallation => installations += 1,
        });
        if let Err(error) = read.await {
            drop(connection.detach());
            return Err(error);
        }
        Ok((installations, pods))
    }

    /// Drops what merges have replaced and releases have counted, part by part, with time for commits between them. What somebody reads,
    /// has made something of that depends on it, or another instance is at, is left for the next time. Returns of how many windows or
    /// merges that is something, unless it is another instance's affair.
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

    /// Does something for which the packs of a window are read, [aside], and once more in the other order if they do not lie as they were
    /// written.
    pub(super) async fn read_packs<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&mut PgConnection, Order) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let release = self.release.clone();
        let attempt = async move |order| {
            let mut connection = release.acquire().await?;
            let done = work(&mut connection, order).await;
            if done.is_err() {
                // It may be in the middle of an answer.
                drop(connection.detach());
            }
            done
        };
        aside(async move || match attempt(Order::AsTheyLie).await {
            Err(StoreError::NotRecords(_)) => attempt(Order::OfRecords).await,
            done => done,
        })
        .await
    }
}

/// In which order the packs of a window are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As they were written, unless somebody has moved them: what is read is refused then.
    AsTheyLie,
    /// Of their first records. It takes several times as long.
    OfRecords,
}

fn select(window: &StoredWindow, order: Order) -> String {
    let order = match order {
        Order::AsTheyLie => "",
        Order::OfRecords => " ORDER BY substr(records, 2, 8), get_byte(records, 0)",
    };
    format!("SELECT records FROM intake.w{}_merged{order}", window.id)
}

/// Reads all packs of a window, merges their records with those of a merge, and hands on what comes of it. Postgres sends
/// while we read.
///
/// # Errors
/// If the database fails, or holds something else.
pub(super) async fn read(
    connection: &mut PgConnection,
    window: &StoredWindow,
    order: Order,
    mut merge: Merge,
    mut take: impl FnMut(Record),
) -> Result<(), StoreError> {
    let mut packs = sqlx::query(AssertSqlSafe(select(window, order))).persistent(false).fetch(connection);
    while let Some(pack) = packs.try_next().await? {
        merge.with(Read(pack.try_get(0)?), &mut take)?;
    }
    merge.end(take);
    Ok(())
}

/// The packs of a window, as they are read where something is written meanwhile: within a transaction, in which there is no other
/// reader.
#[derive(Debug)]
pub(super) struct Packs(());

impl Packs {
    /// Begins before the first one.
    pub(super) async fn of(
        connection: &mut PgConnection,
        window: &StoredWindow,
        order: Order,
    ) -> Result<Self, StoreError> {
        let declare = format!("DECLARE packs NO SCROLL CURSOR FOR {}", select(window, order));
        sqlx::query(AssertSqlSafe(declare)).persistent(false).execute(connection).await?;
        Ok(Self(()))
    }

    /// The next ones; none after the last.
    pub(super) async fn next(&mut self, connection: &mut PgConnection) -> Result<Vec<Vec<u8>>, StoreError> {
        let fetch = sqlx::query_scalar(AssertSqlSafe(format!("FETCH {AT_A_TIME} FROM packs")));
        Ok(fetch.fetch_all(connection).await?)
    }

    /// Ends reading, so that the table may be put away.
    pub(super) async fn close(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("CLOSE packs").execute(connection).await?;
        Ok(())
    }
}

/// Writes packs, part by part, to what [the first step of a merge](super::arrivals) has made.
#[derive(Debug)]
pub(super) struct PackWriter {
    /// How many packs a part has.
    part: usize,
    /// For how many there is room in the one that is being written.
    room: usize,
    /// Some of them, as rows in the binary format of `COPY` (PostgreSQL manual, "COPY", "Binary Format").
    rows: Vec<u8>,
}

/// How a stream of rows begins: with a signature, no flags and no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// How many columns each row has.
const COLUMNS: i16 = 1;
/// In the place of a row's number of columns: there is none any more.
const END: i16 = -1;

impl PackWriter {
    /// For a window that has had so many packs.
    pub(super) fn new(packs: usize) -> Self {
        Self { part: LEAST_PART.max(packs / PARTS), room: 0, rows: Vec::new() }
    }

    /// Writes some packs that follow each other.
    pub(super) async fn write(
        &mut self,
        connection: &mut PgConnection,
        mut packs: &[u8],
    ) -> Result<(), StoreError> {
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
