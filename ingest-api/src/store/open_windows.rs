//! `intake.open_window` and the two tables of each window: open → closing → gone.

use jiff_sqlx::ToSqlx;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// A window as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWindow {
    /// Names its tables.
    pub id: i32,
    /// Which window it is.
    pub window: Window,
    /// What its key must give.
    pub key_check: i64,
    /// Whether it is being closed: nothing is written to it any more.
    pub closing: bool,
}

impl Database {
    /// The windows that are open or being closed, oldest first.
    ///
    /// # Errors
    /// If the database fails; likewise all others here.
    pub async fn open_windows(&self) -> Result<Vec<StoredWindow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, kind, starts_on, key_check, state = 'closing' AS closing FROM intake.open_window ORDER BY starts_on, kind",
        )
        .fetch_all(&self.0)
        .await?;
        rows.iter().map(stored).collect()
    }

    /// The window, if it is open or being closed.
    pub async fn open_window(&self, window: Window) -> Result<Option<StoredWindow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, kind, starts_on, key_check, state = 'closing' AS closing FROM intake.open_window
             WHERE kind = $1 AND starts_on = $2",
        )
        .bind(window.kind().as_str())
        .bind(window.start().to_sqlx())
        .fetch_optional(&self.0)
        .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Opens a window, with a table for its installations and one for its Pods. `None` if it has been released
    /// already. If another instance opens it at once, the window of that one is returned.
    pub async fn create_window(
        &self,
        window: Window,
        key_check: i64,
    ) -> Result<Option<StoredWindow>, StoreError> {
        let mut transaction = self.0.begin().await?;
        let released = sqlx::query("SELECT FROM release.closed_window WHERE kind = $1 AND starts_on = $2")
            .bind(window.kind().as_str())
            .bind(window.start().to_sqlx())
            .fetch_optional(&mut *transaction)
            .await?;
        if released.is_some() {
            return Ok(None);
        }
        let created = sqlx::query(
            "INSERT INTO intake.open_window (kind, starts_on, key_check) VALUES ($1, $2, $3)
             ON CONFLICT ON CONSTRAINT open_window_once DO NOTHING RETURNING id",
        )
        .bind(window.kind().as_str())
        .bind(window.start().to_sqlx())
        .bind(key_check)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(row) = created {
            let id: i32 = row.try_get("id")?;
            for kind in ["installation", "pod"] {
                let create =
                    format!("CREATE TABLE intake.w{id}_{kind} (LIKE intake.{kind}_template INCLUDING ALL)");
                sqlx::query(AssertSqlSafe(create)).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        self.open_window(window).await
    }

    /// Takes the tables of a window away from the writers: waits for those that are in the middle of a commit, and
    /// later ones find no table. Does nothing if that has been done.
    pub async fn begin_closing(&self, window: &StoredWindow) -> Result<(), StoreError> {
        let mut transaction = self.0.begin().await?;
        let id = window.id;
        let opened =
            sqlx::query("UPDATE intake.open_window SET state = 'closing' WHERE id = $1 AND state = 'open'")
                .bind(id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        if opened == 1 {
            for kind in ["installation", "pod"] {
                let rename = format!("ALTER TABLE intake.w{id}_{kind} RENAME TO closing{id}_{kind}");
                sqlx::query(AssertSqlSafe(rename)).execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Removes a window that is being closed, with all its rows. Part of the transaction that writes its release.
///
/// # Errors
/// If the database fails.
pub(super) async fn drop_window(
    connection: &mut PgConnection,
    window: &StoredWindow,
) -> Result<(), StoreError> {
    let id = window.id;
    let drop = format!("DROP TABLE intake.closing{id}_installation, intake.closing{id}_pod");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM intake.open_window WHERE id = $1").bind(id).execute(connection).await?;
    Ok(())
}

fn stored(row: &sqlx::postgres::PgRow) -> Result<StoredWindow, StoreError> {
    let kind: &str = row.try_get("kind")?;
    let kind =
        WindowKind::parse(kind).ok_or_else(|| sqlx::Error::Decode("an unknown kind of window".into()))?;
    let starts_on: jiff_sqlx::Date = row.try_get("starts_on")?;
    Ok(StoredWindow {
        id: row.try_get("id")?,
        window: Window::of_day(kind, starts_on.to_jiff()),
        key_check: row.try_get("key_check")?,
        closing: row.try_get("closing")?,
    })
}
