//! `release.closed_window` and `release.block`: written once, read ever after.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx;
use sqlx::{Connection, PgConnection, Row};

use super::arrivals::{Arrived, take};
use super::merged::{Order, read};
use super::open_windows::{StoredWindow, remove_window};
use super::{Database, StoreError};
use crate::intake::record::Merge;
use crate::keys::WindowKey;
use crate::release::{Count, Counted, Family, Population, Threshold};
use crate::window::{Window, WindowKind};

/// One published number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleasedBlock {
    /// Who was counted.
    pub population: Population,
    /// The question.
    pub family: Family,
    /// A value, or what it was folded into.
    pub label: String,
    /// Distinct reporters, rounded.
    pub published: u64,
}

/// What was published about one window. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The window.
    pub window: Window,
    /// In their order.
    blocks: Arc<[ReleasedBlock]>,
    /// Where the blocks of each population's families end among them.
    ends: [u32; ENDS],
}

const ENDS: usize = Population::ALL.len() * Family::ALL.len();

impl Release {
    /// What was published about a window, in any order.
    pub fn new(window: Window, mut blocks: Vec<ReleasedBlock>) -> Self {
        blocks.sort_unstable();
        // To look for them in the blocks would be to wait for memory, as a year of days is far from the processor.
        let mut ends = [0; ENDS];
        for block in &blocks {
            ends[place(block.population, block.family)] += 1;
        }
        for place in 1..ENDS {
            ends[place] += ends[place - 1];
        }
        Self { window, blocks: blocks.into(), ends }
    }

    /// All blocks, by population, family and label.
    pub fn blocks(&self) -> &[ReleasedBlock] {
        &self.blocks
    }

    /// The blocks of one family, by label. A family without any had too few reporters.
    pub fn blocks_of(&self, population: Population, family: Family) -> &[ReleasedBlock] {
        let place = place(population, family);
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.blocks[start as usize..self.ends[place] as usize]
    }
}

/// The place of a population's family among all, in the order of blocks.
fn place(population: Population, family: Family) -> usize {
    population as usize * Family::ALL.len() + family as usize
}

/// The windows that have been released: by kind, and of each the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedWindows(Vec<Window>);

impl ReleasedWindows {
    /// All of a kind.
    pub fn of(&self, kind: WindowKind) -> &[Window] {
        self.within(|window| window.kind().cmp(&kind))
    }

    /// Those of a kind that start in a [period](crate::insight::period); none if there is no period.
    pub fn in_period(&self, kind: WindowKind, period: Option<(Date, Date)>) -> &[Window] {
        period.map_or(&[], |(from, to)| self.between(kind, from, to))
    }

    /// Those of a kind that start between the two days, both included.
    pub fn between(&self, kind: WindowKind, from: Date, to: Date) -> &[Window] {
        self.within(|window| {
            let day = window.start();
            let place = if day < from { Ordering::Less } else { day.cmp(&to).max(Ordering::Equal) };
            window.kind().cmp(&kind).then(place)
        })
    }

    /// The newest of a kind.
    pub fn newest(&self, kind: WindowKind) -> Option<Window> {
        self.of(kind).last().copied()
    }

    /// Whether that window has been released.
    pub fn contains(&self, window: &Window) -> bool {
        self.0.binary_search(window).is_ok()
    }

    /// Those that are neither before nor after what is looked for.
    fn within(&self, place: impl Fn(&Window) -> Ordering) -> &[Window] {
        let start = self.0.partition_point(|window| place(window).is_lt());
        let length = self.0[start..].partition_point(|window| place(window).is_eq());
        &self.0[start..start + length]
    }
}

/// What is held of one kind of window.
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

/// What became of a window that was released.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// The families that became one block because their audit had not come to its end.
    pub untried: BTreeSet<Family>,
    /// How many pieces could not be opened, and were given up.
    pub unopened: u64,
}

impl Database {
    /// Counts a window that is being closed, writes its release, and puts away what it has: all of it or nothing. Without a key, what
    /// has come since the last merge is given up.
    ///
    /// `None`, and does nothing, if another instance has released it meanwhile.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release(
        &self,
        window: &StoredWindow,
        key: Option<&WindowKey>,
        threshold: &Threshold,
    ) -> Result<Option<Released>, StoreError> {
        let (window, key, threshold) = (*window, key.cloned(), *threshold);
        let write = async move |connection: &mut PgConnection, order| {
            write_release(connection, &window, order, key.as_ref(), &threshold).await
        };
        self.read_packs(write).await
    }

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

    /// Deletes the releases of windows that ended on that day or before it, and says how many windows.
    pub async fn purge_releases(&self, until: Date) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT release.purge($1) AS purged")
            .bind(until.to_sqlx())
            .fetch_one(&self.release)
            .await?;
        let purged: i64 = row.try_get("purged")?;
        Ok(u64::try_from(purged).unwrap_or(0))
    }

    /// How many windows of a kind have been released, the oldest and the newest, and when that was written.
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
        let mut windows = ReleasedWindows::default();
        for row in kinds {
            // One that is not known is of a later version.
            let Some(kind) = WindowKind::parse(row.try_get("kind")?) else { continue };
            let starts_on: Vec<jiff_sqlx::Date> = row.try_get("starts_on")?;
            windows.0.extend(starts_on.into_iter().map(|day| Window::of_day(kind, day.to_jiff())));
        }
        windows.0.sort_unstable();
        Ok(windows)
    }

    /// The releases of those of some windows that have been released, of some families; in the order of the windows.
    pub async fn releases(
        &self,
        windows: &[Window],
        families: &[Family],
    ) -> Result<Vec<Release>, StoreError> {
        let kinds: Vec<_> = windows.iter().map(|window| window.kind().as_str()).collect();
        let days: Vec<_> = windows.iter().map(|window| window.start().to_sqlx()).collect();
        let families: Vec<_> = families.iter().map(|family| family.as_str()).collect();
        // One row a family and window: to hand over and read each block as a row of its own takes several times as long.
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
            // In none of the families, if there is none.
            if row.try_get::<Option<&str>, _>("family")?.is_some() {
                blocks.extend(released_blocks(&row)?);
            }
        }
        Ok(blocks.into_iter().map(|(window, blocks)| Release::new(window, blocks)).collect())
    }
}

async fn write_release(
    connection: &mut PgConnection,
    window: &StoredWindow,
    order: Order,
    key: Option<&WindowKey>,
    threshold: &Threshold,
) -> Result<Option<Released>, StoreError> {
    let mut transaction = connection.begin().await?;
    let begin = sqlx::query("SELECT intake.begin_releasing($1)").bind(window.id);
    if !begin.fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let (kind, starts_on) = (window.window.kind().as_str(), window.window.start().to_sqlx());
    sqlx::query("INSERT INTO release.closed_window (kind, starts_on, ends_on) VALUES ($1, $2, $3)")
        .bind(kind)
        .bind(starts_on)
        .bind(window.window.end().to_sqlx())
        .execute(&mut *transaction)
        .await?;
    let Arrived { records, merged } = take(&mut transaction, window, key, None).await?;
    let mut released = Released { untried: BTreeSet::new(), unopened: merged.unopened };
    let (mut count, mut some) = (Count::default(), Vec::with_capacity(AT_A_TIME));
    read(&mut transaction, window, order, Merge::new(records), |record| {
        some.push(record);
        if some.len() == AT_A_TIME {
            count.add(&some);
            some.clear();
        }
    })
    .await?;
    count.add(&some);
    let Counted { tallies, capped } = count.finish();
    if capped > 0 {
        tracing::warn!(window = %window.window, "more installations than Pods of their size can have were left out");
    }
    for (population, tally) in tallies {
        for (family, blocks) in tally.publish_noting(threshold, &mut released.untried) {
            for block in blocks {
                sqlx::query(
                    "INSERT INTO release.block (kind, starts_on, population, family, label, published)
                         VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(kind)
                .bind(starts_on)
                .bind(population.as_str())
                .bind(family.as_str())
                .bind(block.label())
                .bind(i64::try_from(block.published()).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
            }
        }
    }
    remove_window(&mut transaction, window).await?;
    transaction.commit().await?;
    Ok(Some(released))
}

/// How many records are counted at a time.
const AT_A_TIME: usize = 4_096;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two days, the week that starts with the second, and the month of both.
    fn released() -> ReleasedWindows {
        let window = |kind, day: &str| Window::of_day(kind, day.parse().unwrap());
        let days = ["2026-11-15", "2026-11-16"].map(|day| window(WindowKind::Day, day));
        let others = [window(WindowKind::Week, "2026-11-16"), window(WindowKind::Month, "2026-11-01")];
        ReleasedWindows([days, others].concat())
    }

    #[track_caller]
    fn check(kind: WindowKind, from: &str, to: &str, expected: &[&str]) {
        let released = released();
        let found = released.between(kind, from.parse().unwrap(), to.parse().unwrap());
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{kind:?} from {from} to {to}");
    }

    #[test]
    fn each_family_has_its_blocks_and_one_without_any_has_none() {
        let window = released().of(WindowKind::Day)[0];
        let all: Vec<_> =
            Population::ALL.into_iter().flat_map(|of| Family::ALL.map(|family| (of, family))).collect();
        let mut blocks = Vec::new();
        for (n, (population, family)) in all.iter().copied().enumerate() {
            // None, one or two.
            let block =
                |label: usize| ReleasedBlock { population, family, label: label.to_string(), published: 5 };
            blocks.extend((0..n % 3).map(block));
        }
        let release = Release::new(window, blocks.iter().rev().cloned().collect());
        assert_eq!(release.blocks(), blocks);
        for (n, (population, family)) in all.into_iter().enumerate() {
            let found = release.blocks_of(population, family);
            assert_eq!(found.len(), n % 3);
            assert!(found.iter().all(|block| (block.population, block.family) == (population, family)));
        }
    }

    #[test]
    fn windows_are_found_by_their_kind_and_their_first_day() {
        check(WindowKind::Day, "2026-11-01", "2026-11-30", &["day 2026-11-15", "day 2026-11-16"]);
        check(WindowKind::Day, "2026-11-16", "2026-11-30", &["day 2026-11-16"]);
        check(WindowKind::Day, "2026-11-01", "2026-11-15", &["day 2026-11-15"]);
        check(WindowKind::Day, "2026-11-17", "2026-11-30", &[]);
        check(WindowKind::Day, "2026-11-01", "2026-11-14", &[]);
        check(WindowKind::Day, "2026-11-16", "2026-11-15", &[]);
        check(WindowKind::Week, "2026-11-16", "2026-11-16", &["week 2026-11-16"]);
        check(WindowKind::Month, "2026-11-02", "2026-12-01", &[]);
    }

    #[test]
    fn the_newest_is_of_its_kind_and_there_may_be_none() {
        let newest = |released: &ReleasedWindows| {
            WindowKind::ALL.map(|kind| released.newest(kind).map(|window| window.start().to_string()))
        };
        let expected = ["2026-11-16", "2026-11-16", "2026-11-01"].map(|day| Some(day.to_owned()));
        assert_eq!(newest(&released()), expected);
        assert_eq!(newest(&ReleasedWindows::default()), [None, None, None]);
        let day = released().of(WindowKind::Day)[0];
        assert!(released().contains(&day) && !ReleasedWindows::default().contains(&day));
    }
}
