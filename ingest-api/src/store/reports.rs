//! The tables of open windows: appended to while they are open, counted when they are closed.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::open_windows::StoredWindow;
use super::{Database, StoreError, sqlstate};
use crate::intake::code;
use crate::intake::rekey::{PodRow, Rows};
use crate::release::{Population, Said, Tally, UNDECLARED, allowance};

/// What became of rows that were to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are committed.
    Committed,
    /// A window has been closed meanwhile; nothing is written.
    WindowClosed,
}

impl Database {
    /// Appends rows to their windows, in one transaction that is on disk when this returns.
    ///
    /// Appending and making distinct later costs half of keeping an index up to date.
    ///
    /// # Errors
    /// If the database fails; the rows may then be written or not, and writing them once more changes nothing.
    pub async fn append(&self, windows: &[Rows]) -> Result<Appended, StoreError> {
        let mut transaction = self.intake.begin().await?;
        for (table, copy) in [("installation", installations(windows)), ("pod", pods(windows))] {
            match copy_in(&mut transaction, table, copy).await {
                Err(error) if has_no_partition(&error) => return Ok(Appended::WindowClosed),
                copied => copied?,
            }
        }
        transaction.commit().await?;
        Ok(Appended::Committed)
    }

    /// How many distinct installations and Pods a window holds. For operation and tests: no release is made from it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn distinct_reporters(&self, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
        let prefix = prefix(window);
        let count = format!(
            "SELECT (SELECT count(*) FROM (SELECT DISTINCT subject, proxied FROM {prefix}_installation) i) AS installations,
                    (SELECT count(*) FROM (SELECT DISTINCT subject FROM {prefix}_pod) p) AS pods"
        );
        let row = sqlx::query(AssertSqlSafe(count)).fetch_one(&self.release).await?;
        Ok((row.try_get("installations")?, row.try_get("pods")?))
    }
}

/// The reporters of a window, counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// Each population and unit that there is.
    pub(super) tallies: Vec<(Population, Tally)>,
    /// How many Pods have more installations than their [`allowance`]; those beyond it are in no tally. Which ones is left
    /// to the order in which their rows lie: after a merge, that of their subjects, which are random.
    pub(super) capped: usize,
}

/// Counts the reporters of a window that is being closed, whose rows are merged.
///
/// # Errors
/// If the database fails.
pub(super) async fn count(
    connection: &mut PgConnection,
    window: &StoredWindow,
) -> Result<Counted, StoreError> {
    let prefix = prefix(window);
    let mut pods = Tally::of_pods();
    let mut allowances = HashMap::new();
    let sql = format!("SELECT subject, version, size FROM {prefix}_pod");
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let (pod, size) = (row.try_get(0)?, code::to_size(row.try_get(2)?));
        let said = pods.said_by_pod(code::to_version(row.try_get(1)?), size);
        pods.add(pod, said);
        allowances.insert(pod, allowance(size));
    }
    drop(rows);

    let mut populations = Population::ALL.map(Installations::of);
    let sql = format!("SELECT pod, app_version, platform, language, proxied FROM {prefix}_installation");
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (pod, proxied): (i64, bool) = (row.try_get(0)?, row.try_get(4)?);
        let said = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let allowed = allowances.get(&pod).filter(|_| proxied).copied().unwrap_or(UNDECLARED);
        for installations in &mut populations {
            if proxied == (installations.population == Population::Pod) {
                installations.add(pod, said, allowed);
            }
        }
    }
    let capped = populations.iter().map(|installations| installations.capped).sum();
    let tallies =
        populations.into_iter().map(|installations| (installations.population, installations.tally));
    Ok(Counted { tallies: std::iter::once((Population::Pod, pods)).chain(tallies).collect(), capped })
}

/// The installations of one population, while they are counted.
struct Installations {
    population: Population,
    tally: Tally,
    /// What was said, by its codes.
    said: HashMap<(i64, i16, i32), Said>,
    /// How many each Pod has.
    of_pods: HashMap<i64, u64>,
    capped: usize,
}

impl Installations {
    fn of(population: Population) -> Self {
        let (said, of_pods) = Default::default();
        Self { population, tally: Tally::of_installations(), said, of_pods, capped: 0 }
    }

    /// Counts one, unless its Pod has as many as it is allowed.
    fn add(&mut self, pod: i64, codes @ (app_version, platform, language): (i64, i16, i32), allowed: u64) {
        let of_pod = self.of_pods.entry(pod).or_default();
        *of_pod += 1;
        if *of_pod > allowed {
            self.capped += usize::from(*of_pod == allowed + 1);
            return;
        }
        let said = *self.said.entry(codes).or_insert_with(|| {
            let values =
                (code::to_app_version(app_version), code::to_platform(platform), code::to_language(language));
            self.tally.said_by_installation(values)
        });
        self.tally.add(pod, said);
    }
}

/// Whether there is no partition for a row: another instance is closing its window. Postgres has no code of its own for
/// that, but names the constraint wherever there is one.
fn has_no_partition(error: &sqlx::Error) -> bool {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    sqlstate(error).as_deref() == Some("23514") && constraint.is_none()
}

fn prefix(window: &StoredWindow) -> String {
    format!("intake.{}{}", if window.closing { "closing" } else { "w" }, window.id)
}

async fn copy_in(connection: &mut PgConnection, table: &str, copy: Copy) -> Result<(), sqlx::Error> {
    if copy.rows == 0 {
        return Ok(());
    }
    let statement = format!("COPY intake.{table} ({}) FROM STDIN (FORMAT binary)", copy.columns);
    let mut target = connection.copy_in_raw(&statement).await?;
    target.send(copy.finish()).await?;
    target.finish().await?;
    Ok(())
}

fn installations(windows: &[Rows]) -> Copy {
    let mut copy = Copy::new("subject, pod, app_version, language, platform, proxied");
    for ((subject, _), row) in windows.iter().flat_map(|rows| &rows.installations) {
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

fn pods(windows: &[Rows]) -> Copy {
    let mut copy = Copy::new("subject, version, size");
    for (subject, PodRow { version, size }) in windows.iter().flat_map(|rows| &rows.pods) {
        copy.row(3)
            .field(&subject.as_i64().to_be_bytes())
            .field(&version.to_be_bytes())
            .field(&size.to_be_bytes());
    }
    copy
}

/// Rows in the binary format of `COPY` (PostgreSQL manual, "COPY", "Binary Format").
struct Copy {
    columns: &'static str,
    rows: usize,
    bytes: Vec<u8>,
}

impl Copy {
    fn new(columns: &'static str) -> Self {
        // Signature, no flags, no extension.
        let bytes = [b"PGCOPY\n\xff\r\n\0".as_slice(), &[0; 8]].concat();
        Self { columns, rows: 0, bytes }
    }

    fn row(&mut self, fields: i16) -> &mut Self {
        self.rows += 1;
        self.bytes.extend(fields.to_be_bytes());
        self
    }

    fn field<const N: usize>(&mut self, value: &[u8; N]) -> &mut Self {
        self.bytes.extend((N as u32).to_be_bytes());
        self.bytes.extend(value);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.extend((-1i16).to_be_bytes());
        self.bytes
    }
}
