//! `ingest-api status`.

use clap::Args;
use shared::clock::{Clock, SystemClock};

use super::say;
use crate::anomaly::{Anomaly, unknown_shares};
use crate::jobs::find_anomalies::find_anomalies;
use crate::release::{Family, Population};
use crate::release_cache::ReleaseCache;
use crate::store::Database;
use crate::table::ruled;
use crate::window::WindowKind;

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// For cron: exit with 3 if a release is overdue, else with 4 if a number has jumped.
    #[arg(long)]
    check: bool,
}

/// Why a check does not exit with 0.
#[derive(Debug, thiserror::Error)]
#[error("somebody should look at this")]
pub(super) struct Anomalous {
    late: bool,
}

impl Anomalous {
    /// Differs from the codes of a failed command and of a configuration with mistakes.
    pub(super) fn exit_code(&self) -> u8 {
        if self.late { 3 } else { 4 }
    }
}

impl Status {
    pub(super) async fn run(self, database: &Database) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let mut held = ruled(["held", "number", "since", "newest", "written"]);
        let mut unknown = ruled(["newest release", "insight", "population", "folded", "not reported"]);
        for kind in WindowKind::ALL {
            let Some(releases) = database.held_releases(kind).await? else {
                held.add_row([format!("releases of a {}", kind.as_str()), "0".to_owned()]);
                continue;
            };
            let written = releases.newest_at.strftime("%F %H:%M UTC").to_string();
            held.add_row([
                format!("releases of a {}", kind.as_str()),
                releases.windows.to_string(),
                releases.oldest.start().to_string(),
                releases.newest.start().to_string(),
                written,
            ]);
            let release = database.releases(&[releases.newest], &Family::ALL).await?;
            let Some(release) = release.last() else { continue };
            for (population, family) in
                Population::ALL.into_iter().flat_map(|p| Family::of_population(p).map(move |f| (p, f)))
            {
                // A total has no values, so none of it is unknown.
                if family.point().is_none() {
                    continue;
                }
                let Some((folded, not_reported)) = unknown_shares(release, population, family) else {
                    continue;
                };
                unknown.add_row([
                    release.window.to_string(),
                    family.as_str().to_owned(),
                    population.as_str().to_owned(),
                    format!("{:.1} %", folded * 100.0),
                    format!("{:.1} %", not_reported * 100.0),
                ]);
            }
        }
        for stored in database.open_windows().await? {
            held.add_row([
                format!("open window: {}", stored.window.kind().as_str()),
                String::new(),
                stored.window.start().to_string(),
            ]);
        }
        let domains = database.domains().await?;
        let oldest = domains.iter().map(|(_, week)| *week).min();
        held.add_row([
            "opt-in domains".to_owned(),
            domains.len().to_string(),
            oldest.map(|week| week.to_string()).unwrap_or_default(),
        ]);
        held.add_row(["tokens".to_owned(), database.tokens().await?.len().to_string()]);
        say(&held.to_string());
        if unknown.row_count() > 0 {
            say(&unknown.to_string());
        }
        let anomalies = find_anomalies(database, &ReleaseCache::new(database.clone()), now).await?;
        for anomaly in &anomalies {
            say(&format!("! {anomaly}"));
        }
        let late = anomalies.iter().any(Anomaly::is_late);
        if self.check && !anomalies.is_empty() { Err(Anomalous { late }.into()) } else { Ok(()) }
    }
}
