//! `optin.domain`: domains of Pods whose operators opted in.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx;
use sqlx::Row;

use super::{Database, StoreError};

impl Database {
    /// Notes that these domains were reported in the week that starts on `week`.
    ///
    /// # Errors
    /// If the database fails; likewise below.
    pub async fn note_domains(&self, domains: &[String], week: Date) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO optin.domain (domain, last_seen_week) SELECT DISTINCT unnest($1::text[]), $2
             ON CONFLICT (domain) DO UPDATE SET last_seen_week = excluded.last_seen_week
             WHERE optin.domain.last_seen_week < excluded.last_seen_week",
        )
        .bind(domains)
        .bind(week.to_sqlx())
        .execute(&self.intake)
        .await?;
        Ok(())
    }

    /// Deletes the domains that were last reported before `week`, and returns how many.
    pub async fn purge_domains(&self, week: Date) -> Result<u64, StoreError> {
        let deleted = sqlx::query("DELETE FROM optin.domain WHERE last_seen_week < $1")
            .bind(week.to_sqlx())
            .execute(&self.release)
            .await?;
        Ok(deleted.rows_affected())
    }

    /// The domains in alphabetical order, each with the Monday of the week of its last report. For the owner,
    /// on the command line.
    pub async fn domains(&self) -> Result<Vec<(String, Date)>, StoreError> {
        let rows =
            sqlx::query("SELECT domain, last_seen_week FROM optin.domain ORDER BY domain COLLATE \"C\"")
                .fetch_all(&self.owner)
                .await?;
        rows.iter().map(seen).collect()
    }

    /// The domains, for the token or session with that digest. Empty unless it is valid at `now` and may read
    /// domains.
    pub async fn domains_for(
        &self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> Result<Vec<(String, Date)>, StoreError> {
        let rows = sqlx::query("SELECT domain, last_seen_week FROM optin.domains($1, $2)")
            .bind(digest.as_slice())
            .bind(now.to_sqlx())
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(seen).collect()
    }
}

fn seen(row: &sqlx::postgres::PgRow) -> Result<(String, Date), StoreError> {
    let week: jiff_sqlx::Date = row.try_get("last_seen_week")?;
    Ok((row.try_get("domain")?, week.to_jiff()))
}
