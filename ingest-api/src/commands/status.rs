//! `ingest-api status`.

use clap::Args;
use comfy_table::{Table, presets};
use shared::clock::{Clock, SystemClock};

use super::say;
use crate::anomaly::{Anomaly, unknown_shares};
use crate::jobs::find_anomalies::find_anomalies;
use crate::release::{Family, Population};
use crate::release_cache::ReleaseCache;
use crate::store::Database;
use crate::window::WindowKind;

/// Options of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// For cron: end with 3 if a release is overdue, else with 4 if a number has jumped.
    #[arg(long)]
    check: bool,
}

/// Why a check does not end with 0.
#[derive(Debug, thiserror::Error)]
#[error("somebody should look at this")]
pub(super) struct Anomalous {
    late: bool,
}

impl Anomalous {
    /// Other codes than those of a command that failed and of a configuration with mistakes.
    pub(super) fn exit_code(&self) -> u8 {
        if self.late { 3 } else { 4 }
    }
}

impl Status {
    pub(super) async fn run(self, database: &Database) -> anyhow::Result<()> {
        let now = SystemClock.now();
        let mut held = Table::new();
        held.load_style(presets::UTF8_FULL_CONDENSED)
            .set_header(["held", "number", "since", "newest", "written"]);
        let mut unknown = Table::new();
        unknown.load_style(presets::UTF8_FULL_CONDENSED).set_header([
            "newest release",
            "insight",
            "population",
            "folded",
            "not told",
        ]);
        for kind in WindowKind::ALL {
            let Some(releases) = database.held_releases(kind).await? else {
                held.add_row([format!("releases of a {}", kind.as_str()), "0".to_owned()]);
                continue;
            };
            let (oldest, newest) = (releases.oldest.start(), releases.newest.start());
            let name = format!("releases of a {}", kind.as_str());
            let written = releases.newest_at.strftime("%F %H:%M UTC").to_string();
            held.add_row([
                name,
                releases.windows.to_string(),
                oldest.to_string(),
                newest.to_string(),
                written,
            ]);
            let release = database.releases(&[releases.newest], &Family::ALL).await?;
            let Some(release) = release.last() else { continue };
            for population in Population::ALL {
                for family in
                    Family::of(population).filter(|f| !matches!(f, Family::Pods | Family::Installations))
                {
                    let Some((folded, not_told)) = unknown_shares(release, population, family) else {
                        continue;
                    };
                    unknown.add_row([
                        release.window.to_string(),
                        family.as_str().to_owned(),
                        population.as_str().to_owned(),
                        format!("{:.1} %", folded * 100.0),
                        format!("{:.1} %", not_told * 100.0),
                    ]);
                }
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
