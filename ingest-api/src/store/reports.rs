//! The tables of open windows: appended to while they are open, counted when they are closed.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use shared::size::SizeBin;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::open_windows::StoredWindow;
use super::{Database, StoreError, sqlstate};
use crate::intake::code;
use crate::intake::rekey::{PodRow, Rows};
use crate::release::{Population, Rule, Tally, allowance};

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
    pub async fn append(&self, windows: &[(StoredWindow, Rows)]) -> Result<Appended, StoreError> {
        let mut transaction = self.intake.begin().await?;
        for (window, rows) in windows {
            let id = window.id;
            let installations = (format!("intake.w{id}_installation"), installations(rows));
            let pods = (format!("intake.w{id}_pod"), pods(rows));
            for (table, copy) in [installations, pods] {
                match copy_in(&mut transaction, &table, copy).await {
                    // undefined_table: another instance is closing the window.
                    Err(error) if sqlstate(&error).as_deref() == Some("42P01") => {
                        return Ok(Appended::WindowClosed);
                    }
                    copied => copied?,
                }
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

/// Removes the installations of each Pod that are beyond its [`allowance`], before anything is counted. Which ones is
/// left to the order of their subjects, which is random. Returns how many Pods had too many.
///
/// # Errors
/// If the database fails.
pub(super) async fn cap(connection: &mut PgConnection, window: &StoredWindow) -> Result<usize, StoreError> {
    let prefix = prefix(window);
    let largest = format!(
        "SELECT i.pod, i.proxied, i.installations, coalesce(p.size, 0) AS size
         FROM (SELECT pod, proxied, count(*) AS installations FROM {prefix}_installation
               GROUP BY pod, proxied HAVING count(*) > $1) i
         LEFT JOIN {prefix}_pod p ON p.subject = i.pod AND i.proxied"
    );
    let least = allowance(Some(SizeBin::of(0)));
    let rows = sqlx::query(AssertSqlSafe(largest))
        .bind(i64::try_from(least).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let mut most = BTreeMap::new();
    for row in rows {
        let (installations, size): (i64, i32) = (row.try_get("installations")?, row.try_get("size")?);
        let allowed = i64::try_from(allowance(code::to_size(size))).unwrap_or(i64::MAX);
        if installations > allowed {
            most.insert((row.try_get::<i64, _>("pod")?, row.try_get::<bool, _>("proxied")?), allowed);
        }
    }
    if !most.is_empty() {
        // One statement for all, as somebody may invent thousands of them.
        let cut = format!(
            "DELETE FROM {prefix}_installation i
             USING (SELECT i.ctid, row_number() OVER (PARTITION BY pod, proxied ORDER BY subject) AS n, o.allowed
                    FROM {prefix}_installation i
                    JOIN unnest($1::bigint[], $2::boolean[], $3::bigint[]) AS o (pod, proxied, allowed)
                    USING (pod, proxied)) ranked
             WHERE i.ctid = ranked.ctid AND ranked.n > ranked.allowed"
        );
        sqlx::query(AssertSqlSafe(cut))
            .bind(most.keys().map(|(pod, _)| *pod).collect::<Vec<_>>())
            .bind(most.keys().map(|(_, proxied)| *proxied).collect::<Vec<_>>())
            .bind(most.values().copied().collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    Ok(most.len())
}

/// Counts the reporters of a population, of one unit, in a window whose rows have been merged to be closed.
///
/// # Errors
/// If the database fails.
pub(super) async fn count(
    connection: &mut PgConnection,
    window: &StoredWindow,
    population: Population,
    rule: Rule,
) -> Result<Tally, StoreError> {
    let prefix = prefix(window);
    match rule {
        Rule::Pods => {
            let sql = format!("SELECT subject, version, size FROM {prefix}_pod");
            let mut tally = Tally::of_pods();
            let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
            while let Some(row) = rows.try_next().await? {
                let (version, size) = (row.try_get("version")?, row.try_get("size")?);
                tally.add_pod(row.try_get("subject")?, code::to_version(version), code::to_size(size));
            }
            Ok(tally)
        }
        Rule::Installations => {
            let sql = format!(
                "SELECT pod, app_version, platform, language, count(*) AS installations
                 FROM {prefix}_installation WHERE proxied = $1 GROUP BY pod, app_version, platform, language"
            );
            let mut rows =
                sqlx::query(AssertSqlSafe(sql)).bind(population == Population::Pod).fetch(connection);
            let mut tally = Tally::of_installations();
            while let Some(row) = rows.try_next().await? {
                let said = (
                    code::to_app_version(row.try_get("app_version")?),
                    code::to_platform(row.try_get("platform")?),
                    code::to_language(row.try_get("language")?),
                );
                let installations: i64 = row.try_get("installations")?;
                tally.add_installations(row.try_get("pod")?, said, u64::try_from(installations).unwrap_or(0));
            }
            Ok(tally)
        }
    }
}

fn prefix(window: &StoredWindow) -> String {
    format!("intake.{}{}", if window.closing { "closing" } else { "w" }, window.id)
}

async fn copy_in(connection: &mut PgConnection, table: &str, copy: Copy) -> Result<(), sqlx::Error> {
    if copy.rows == 0 {
        return Ok(());
    }
    let statement = format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", copy.columns);
    let mut target = connection.copy_in_raw(&statement).await?;
    target.send(copy.finish()).await?;
    target.finish().await?;
    Ok(())
}

fn installations(rows: &Rows) -> Copy {
    let mut copy = Copy::new("subject, pod, app_version, language, platform, proxied");
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

fn pods(rows: &Rows) -> Copy {
    let mut copy = Copy::new("subject, version, size");
    for (subject, PodRow { version, size }) in &rows.pods {
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
