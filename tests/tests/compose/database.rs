//! The Postgres of a compose file → what it holds.

use anyhow::ensure;

use crate::docker::Project;

impl Project {
    /// Asks the database, as its superuser.
    pub(crate) fn sql(&self, sql: &str) -> anyhow::Result<String> {
        let psql = ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "prose_ingest"];
        let asked = self.exec("postgres", &[&psql[..], &["-v", "ON_ERROR_STOP=1", "-Atqc", sql]].concat())?;
        Ok(asked.trim().to_owned())
    }

    /// How many distinct installations have been counted in the week that is open.
    pub(crate) fn counted(&self) -> anyhow::Result<usize> {
        self.counted_in("week")
    }

    /// The same, in another open window.
    pub(crate) fn counted_in(&self, kind: &str) -> anyhow::Result<usize> {
        let tables = self.sql(&format!(
            "SELECT string_agg(format('SELECT subject FROM intake.%I', c.relname), ' UNION ALL ')
             FROM intake.open_window w JOIN pg_class c ON c.relnamespace = 'intake'::regnamespace
             AND c.relname IN (format('w%s_installation', w.id), format('merging%s_installation', w.id))
             WHERE w.kind = '{kind}' AND w.state = 'open'"
        ))?;
        ensure!(!tables.is_empty(), "no {kind} is open");
        Ok(self.sql(&format!("SELECT count(DISTINCT subject) FROM ({tables}) r"))?.parse()?)
    }
}
