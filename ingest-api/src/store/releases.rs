//! `release.closed_window` and `release.block`: written once, then only read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx;
use sqlx::Row;

use super::merged::read;
use super::turn::Turn;
use super::{Database, StoreError};
use crate::release::{Family, Published, Release, ReleasedBlock, ReleasedWindows};
use crate::window::record::NotRecords;
use crate::window::{Population, Window, WindowKind};

/// What the database holds about one kind of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldReleases {
    /// How many windows have been released.
    pub windows: i64,
    /// The oldest of them.
    pub oldest: Window,
    /// The newest of them.
    pub newest: Window,
    /// When the newest was written.
    pub newest_at: Timestamp,
}

impl Database {
    /// Whether a window has been released.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn is_released(&self, window: Window) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT FROM release.closed_window WHERE kind = $1 AND starts_on = $2")
            .bind(window.kind().as_str())
            .bind(window.start().to_sqlx())
            .fetch_optional(&self.intake)
            .await?;
        Ok(row.is_some())
    }

    /// Deletes the releases of windows that ended on or before that day, and returns how many windows.
    pub async fn purge_releases(&self, until: Date) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT release.purge($1) AS purged")
            .bind(until.to_sqlx())
            .fetch_one(&self.release)
            .await?;
        let purged: i64 = row.try_get("purged")?;
        Ok(u64::try_from(purged).unwrap_or(0))
    }

    /// How many windows of a kind have been released, the oldest and the newest, and when the newest was
    /// written.
    pub async fn held_releases(&self, kind: WindowKind) -> Result<Option<HeldReleases>, StoreError> {
        let row = sqlx::query(
            "SELECT count(*) AS windows, min(starts_on) AS oldest, max(starts_on) AS newest,
                    (array_agg(released_at ORDER BY starts_on DESC))[1] AS newest_at
             FROM release.closed_window WHERE kind = $1",
        )
        .bind(kind.as_str())
        .fetch_one(&self.reader)
        .await?;
        let (oldest, newest): (Option<jiff_sqlx::Date>, Option<jiff_sqlx::Date>) =
            (row.try_get("oldest")?, row.try_get("newest")?);
        let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(None) };
        let windows: i64 = row.try_get("windows")?;
        let newest_at = row.try_get::<jiff_sqlx::Timestamp, _>("newest_at")?.to_jiff();
        let window = |day: jiff_sqlx::Date| Window::of_day(kind, day.to_jiff());
        Ok(Some(HeldReleases { windows, oldest: window(oldest), newest: window(newest), newest_at }))
    }

    /// The windows that have been released.
    pub async fn released_windows(&self) -> Result<ReleasedWindows, StoreError> {
        let kinds = sqlx::query(
            "SELECT kind, array_agg(starts_on) AS starts_on FROM release.closed_window GROUP BY kind",
        )
        .fetch_all(&self.reader)
        .await?;
        let mut windows = Vec::new();
        for row in kinds {
            // A later version added this kind.
            let Some(kind) = WindowKind::parse(row.try_get("kind")?) else { continue };
            let starts_on: Vec<jiff_sqlx::Date> = row.try_get("starts_on")?;
            windows.extend(starts_on.into_iter().map(|day| Window::of_day(kind, day.to_jiff())));
        }
        Ok(ReleasedWindows::restored(windows))
    }

    /// The releases of these windows, for some families, in the order of the windows. Skips windows that are
    /// not released.
    pub async fn releases(
        &self,
        windows: &[Window],
        families: &[Family],
    ) -> Result<Vec<Release>, StoreError> {
        let kinds: Vec<_> = windows.iter().map(|window| window.kind().as_str()).collect();
        let days: Vec<_> = windows.iter().map(|window| window.start().to_sqlx()).collect();
        let families: Vec<_> = families.iter().map(|family| family.as_str()).collect();
        // One row for each window and family. One row for each block would take several times as long to
        // transfer and parse.
        let rows = sqlx::query(
            "SELECT kind, starts_on, population, family, labels, published
             FROM unnest($1, $2) AS asked (kind, starts_on) JOIN release.closed_window w USING (kind, starts_on)
             LEFT JOIN LATERAL (
                 SELECT population, family, array_agg(label) AS labels, array_agg(published) AS published
                 FROM release.block b
                 WHERE b.kind = w.kind AND b.starts_on = w.starts_on AND b.family = ANY($3) GROUP BY population, family
             ) AS families ON true",
        )
        .bind(kinds)
        .bind(days)
        .bind(families)
        .fetch_all(&self.reader)
        .await?;
        let mut blocks: BTreeMap<Window, Vec<ReleasedBlock>> = BTreeMap::new();
        for row in rows {
            let kind = WindowKind::parse(row.try_get("kind")?).ok_or_else(unknown)?;
            let starts_on: jiff_sqlx::Date = row.try_get("starts_on")?;
            let blocks = blocks.entry(Window::of_day(kind, starts_on.to_jiff())).or_default();
            // The family is NULL if none of the families has a block.
            if row.try_get::<Option<&str>, _>("family")?.is_some() {
                blocks.extend(released_blocks(&row)?);
            }
        }
        Ok(blocks.into_iter().map(|(window, blocks)| Release::restored(window, blocks)).collect())
    }
}

/// A close: reads everything of the window for the last time, and writes its release.
#[derive(Debug)]
pub struct Releasing<'c>(Turn<'c>);

impl<'c> Turn<'c> {
    /// Begins to release a window that is being closed. `None` if another instance has released it meanwhile.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn begin_releasing(mut self) -> Result<Option<Releasing<'c>>, StoreError> {
        let begin = sqlx::query_scalar::<_, bool>("SELECT intake.begin_releasing($1)").bind(self.window.id);
        if !begin.fetch_one(&mut *self.transaction).await? {
            return Ok(None);
        }
        let window = self.window.window;
        sqlx::query("INSERT INTO release.closed_window (kind, starts_on, ends_on) VALUES ($1, $2, $3)")
            .bind(window.kind().as_str())
            .bind(window.start().to_sqlx())
            .bind(window.end().to_sqlx())
            .execute(&mut *self.transaction)
            .await?;
        Ok(Some(Releasing(self)))
    }
}

impl Releasing<'_> {
    /// Takes all pieces that wait for the window.
    pub async fn take(
        &mut self,
        piece: impl FnMut(&[u8]) -> Result<(), NotRecords>,
    ) -> Result<(), StoreError> {
        self.0.take(None, piece).await
    }

    /// Reads all packs of the window.
    pub async fn read_packs(
        &mut self,
        take: impl FnMut(&[u8]) -> Result<(), NotRecords>,
    ) -> Result<(), StoreError> {
        read(&mut self.0.transaction, &self.0.window, self.0.order, take).await
    }

    /// Writes the release, puts all tables of the window away, and ends the turn.
    pub async fn commit(self, published: &Published) -> Result<(), StoreError> {
        let Turn { mut transaction, window, .. } = self.0;
        let blocks = published.release().blocks();
        let of = |text: fn(&ReleasedBlock) -> &str| blocks.iter().map(text).collect::<Vec<_>>();
        let numbers = blocks.iter().map(|block| i64::try_from(block.published).unwrap_or(i64::MAX));
        sqlx::query(
            "INSERT INTO release.block (kind, starts_on, population, family, label, published)
             SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[])",
        )
        .bind(window.window.kind().as_str())
        .bind(window.window.start().to_sqlx())
        .bind(of(|block| block.population.as_str()))
        .bind(of(|block| block.family.as_str()))
        .bind(of(|block| &block.label))
        .bind(numbers.collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("SELECT intake.remove_window($1)").bind(window.id).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}

/// The blocks of one family.
fn released_blocks(row: &sqlx::postgres::PgRow) -> Result<Vec<ReleasedBlock>, StoreError> {
    let population = Population::parse(row.try_get("population")?).ok_or_else(unknown)?;
    let family = Family::parse(row.try_get("family")?).ok_or_else(unknown)?;
    let (labels, published): (Vec<String>, Vec<i64>) = (row.try_get("labels")?, row.try_get("published")?);
    let block = |(label, published): (String, i64)| ReleasedBlock {
        population,
        family,
        label,
        published: u64::try_from(published).unwrap_or(0),
    };
    Ok(labels.into_iter().zip(published).map(block).collect())
}

fn unknown() -> sqlx::Error {
    sqlx::Error::Decode("a block of an unknown kind of window, population or family".into())
}
