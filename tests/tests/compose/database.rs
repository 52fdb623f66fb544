//! The Postgres of a compose file → what it holds.

use anyhow::{Context, ensure};

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
        let instances = self.compose(&["config", "--services"])?;
        let instances = instances.lines().filter(|service| service.starts_with("ingest-api"));
        let merge = ["ingest-api", "windows", "merge"];
        let merged = instances.map(|instance| self.exec(instance, &merge)).reduce(|one, other| one.or(other));
        merged.context("no ingest-api")??;
        let id =
            self.sql(&format!("SELECT id FROM intake.open_window WHERE kind = '{kind}' AND state = 'open'"))?;
        ensure!(!id.is_empty(), "no {kind} is open");
        let count = format!("SELECT count(*) FROM intake.reporters({id}) WHERE NOT is_pod");
        Ok(self.sql(&count)?.parse()?)
    }
}
