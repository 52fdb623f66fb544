//! `intake.w<id>_merged`: what has been merged of an open window, one record a reporter, in packs that follow each other.

use sqlx::{AssertSqlSafe, PgConnection};

use super::open_windows::StoredWindow;
use super::{Database, StoreError};
use crate::intake::record::{MAX_LEN, Merge, NotRecords, Read, Record, Records, Reporter};

/// How long a pack is at most, in bytes: with the heads of its row and its page, it fills a page of Postgres.
const MAX_PACK: usize = 8_100;

/// How many packs are read at a time: two megabytes.
const AT_A_TIME: usize = 256;

impl Database {
    /// How many installations and Pods a window holds, as of its last merge. For operation and tests: no release is made from it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn merged_reporters(&self, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
        let mut transaction = self.release.begin().await?;
        let (mut installations, mut pods) = (0, 0);
        let mut packs = Packs::of(&mut transaction, window).await?;
        while let Some(some) = packs.next(&mut transaction).await? {
            some.merge_into(&mut Merge::new(Records::default()), |record| match record.reporter {
                Reporter::Pod => pods += 1,
                Reporter::DirectInstallation | Reporter::ProxiedInstallation => installations += 1,
            })?;
        }
        packs.close(&mut transaction).await?;
        Ok((installations, pods))
    }
}

/// The packs of a window, as they are read within a transaction: there is one reader in each.
#[derive(Debug)]
pub(super) struct Packs(());

impl Packs {
    /// Begins before the first one.
    pub(super) async fn of(connection: &mut PgConnection, window: &StoredWindow) -> Result<Self, StoreError> {
        let read = format!(
            "DECLARE packs NO SCROLL CURSOR FOR SELECT records FROM intake.w{}_merged ORDER BY place",
            window.id
        );
        sqlx::query(AssertSqlSafe(read)).execute(connection).await?;
        Ok(Self(()))
    }

    /// The next ones; `None` after the last.
    pub(super) async fn next(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<Option<SomePacks>, StoreError> {
        let fetch = sqlx::query_scalar(AssertSqlSafe(format!("FETCH {AT_A_TIME} FROM packs")));
        let packs: Vec<Vec<u8>> = fetch.fetch_all(connection).await?;
        Ok((!packs.is_empty()).then_some(SomePacks(packs)))
    }

    /// Ends reading, so that the table may be dropped.
    pub(super) async fn close(self, connection: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("CLOSE packs").execute(connection).await?;
        Ok(())
    }
}

/// Packs that follow each other.
#[derive(Debug)]
pub(super) struct SomePacks(Vec<Vec<u8>>);

impl SomePacks {
    /// Merges their records with those of a merge, and hands on what comes before the ones after them.
    pub(super) fn merge_into(
        &self,
        merge: &mut Merge,
        mut take: impl FnMut(Record),
    ) -> Result<(), NotRecords> {
        self.0.iter().try_for_each(|pack| merge.with(Read(pack), &mut take))
    }
}

/// Records → packs, which are written as [the first step of a merge](super::arrivals) has made room for them.
#[derive(Debug, Default)]
pub(super) struct Packer {
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
    /// How many have been written.
    written: i32,
}

impl Packer {
    /// Adds a record after those that have been added.
    pub(super) fn add(&mut self, record: &Record) {
        if self.open.len() + MAX_LEN > MAX_PACK {
            self.full.push(std::mem::replace(&mut self.open, Vec::with_capacity(MAX_PACK)));
        }
        record.write(&mut self.open);
    }

    /// Writes those that are full.
    pub(super) async fn write_full(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        for packs in self.full.chunks(AT_A_TIME) {
            let write = sqlx::query(
                "INSERT INTO intake.new_merged (place, records)
                 SELECT $1 + n - 1, pack FROM unnest($2::bytea[]) WITH ORDINALITY AS packs (pack, n)",
            );
            write.bind(self.written).bind(packs).execute(&mut *connection).await?;
            self.written += i32::try_from(packs.len()).unwrap_or(i32::MAX);
        }
        self.full.clear();
        Ok(())
    }

    /// Writes all of them.
    pub(super) async fn write_all(mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
        }
        self.write_full(connection).await
    }
}
