//! `access.session`: sessions of browsers that are logged in.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::Row;

use super::tokens::{StoredToken, stored};
use super::{Database, StoreError};
use crate::access::{Session, Token};

impl Database {
    /// Opens a session for a valid token. It lasts until `until`, or until the token expires if that is
    /// sooner. Returns when it ends, or `None` if the token is not valid at `now`.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn open_session(
        &self,
        token: &Token,
        session: &Session,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT access.open_session($1, $2, $3, $4) AS expires_at")
            .bind(token.digest().as_slice())
            .bind(session.digest().as_slice())
            .bind(now.to_sqlx())
            .bind(until.to_sqlx())
            .fetch_one(&self.reader)
            .await?;
        let expires_at: Option<jiff_sqlx::Timestamp> = row.try_get("expires_at")?;
        Ok(expires_at.map(|at| at.to_jiff()))
    }

    /// The token of a session, if neither has ended by `now`; `expires_at` is the session's.
    pub async fn valid_session(
        &self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<StoredToken>, StoreError> {
        let row = sqlx::query("SELECT name, may_read_domains, expires_at FROM access.valid_session($1, $2)")
            .bind(digest.as_slice())
            .bind(now.to_sqlx())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(stored).transpose()
    }

    /// Ends a session, if there is one.
    pub async fn end_session(&self, session: &Session) -> Result<(), StoreError> {
        sqlx::query("SELECT access.end_session($1)")
            .bind(session.digest().as_slice())
            .execute(&self.reader)
            .await?;
        Ok(())
    }
}
