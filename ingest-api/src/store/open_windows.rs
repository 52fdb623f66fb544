//! `intake.open_window` and the table of each window: open → closing → gone.

use jiff_sqlx::ToSqlx;
use sqlx::Row;

use super::{Database, StoreError};
use crate::window::{Window, WindowKind};

/// An open or closing window, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWindow {
    /// Its number, which names its tables.
    pub id: i32,
    /// Which window it is.
    pub window: Window,
    /// The check value of its key.
    pub key_check: i64,
    /// Whether it is being closed: nobody writes to it any more.
    pub closing: bool,
}

impl Database {
    /// The windows that are open or being closed, oldest first.
    ///
    /// # Errors
    /// If the database fails; likewise for all methods below.
    pub async fn open_windows(&self) -> Result<Vec<StoredWindow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, kind, starts_on, key_check, state = 'closing' AS closing FROM intake.open_window ORDER BY starts_on, kind",
        )
        .fetch_all(&self.intake)
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
        .fetch_optional(&self.intake)
        .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Opens a window, and creates the table of its merged records. `None` if it has been released already.
    /// If another instance opens it at the same time, both get the same window.
    pub async fn create_window(
        &self,
        window: Window,
        key_check: i64,
    ) -> Result<Option<StoredWindow>, StoreError> {
        sqlx::query("SELECT intake.create_window($1, $2, $3)")
            .bind(window.kind().as_str())
            .bind(window.start().to_sqlx())
            .bind(key_check)
            .execute(&self.intake)
            .await?;
        self.open_window(window).await
    }

    /// Stops writes to a window: waits for commits that are under way, and rejects later ones. Its arrivals
    /// are still to be counted. May be called again.
    pub async fn begin_closing(&self, window: &StoredWindow) -> Result<(), StoreError> {
        sqlx::query("SELECT intake.begin_closing($1)").bind(window.id).execute(&self.release).await?;
        Ok(())
    }
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
