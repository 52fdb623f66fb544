//! `access.token`: the tokens of readers.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::Row;

use super::{Database, StoreError, sqlstate};

/// A token as it is listed, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The name that its creator gave it.
    pub name: String,
    /// Whether it may read the opt-in domains.
    pub may_read_domains: bool,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl Database {
    /// Stores a token by its digest. `false` if the name is taken.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn insert_token(&self, token: &StoredToken, digest: &[u8; 32]) -> Result<bool, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO access.token (name, digest, may_read_domains, expires_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(&token.name)
        .bind(digest.as_slice())
        .bind(token.may_read_domains)
        .bind(token.expires_at.map(|at| at.to_sqlx()))
        .execute(&self.owner)
        .await;
        match inserted {
            // unique_violation
            Err(error) if sqlstate(&error).as_deref() == Some("23505") => Ok(false),
            inserted => inserted.map(|_| true).map_err(Into::into),
        }
    }

    /// The token with that digest, if it has not expired by `now`.
    pub async fn valid_token(
        &self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query("SELECT name, may_read_domains, expires_at FROM access.valid_token($1, $2)")
            .bind(digest.as_slice())
            .bind(now.to_sqlx())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Every token, sorted by name.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let rows = sqlx::query("SELECT name, may_read_domains, expires_at FROM access.token ORDER BY name")
            .fetch_all(&self.owner)
            .await?;
        rows.iter().map(stored).collect()
    }

    /// Deletes a token. It and its sessions stop working at once. `false` if no token has that name.
    pub async fn delete_token(&self, name: &str) -> Result<bool, StoreError> {
        let deleted =
            sqlx::query("DELETE FROM access.token WHERE name = $1").bind(name).execute(&self.owner).await?;
        Ok(deleted.rows_affected() > 0)
    }
}

pub(super) fn stored(row: &sqlx::postgres::PgRow) -> Result<StoredToken, StoreError> {
    let expires_at: Option<jiff_sqlx::Timestamp> = row.try_get("expires_at")?;
    Ok(StoredToken {
        name: row.try_get("name")?,
        may_read_domains: row.try_get("may_read_domains")?,
        expires_at: expires_at.map(|at| at.to_jiff()),
    })
}
