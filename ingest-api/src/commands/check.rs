//! `ingest-api check`: a valid configuration → a summary in plain words.

use std::fmt::{self, Display, Formatter};

use crate::config::{Config, DatabaseConfig};
use crate::window::WindowKind;

/// A summary of a configuration.
pub(super) struct Summary<'a>(pub(super) &'a Config);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Config { listen, metrics_listen, base_path, data_dir, key_dir, database, .. } = self.0;
        writeln!(f, "No mistake.")?;
        writeln!(f, "Reports: http://{listen}{base_path}/v1/analytics/event")?;
        writeln!(f, "Metrics: http://{metrics_listen}/metrics")?;
        match database {
            DatabaseConfig::Embedded => {
                writeln!(f, "Database: a private Postgres in {}", data_dir.display())?
            }
            DatabaseConfig::Url(_) | DatabaseConfig::UrlFile(_) => writeln!(f, "Database: a server")?,
        }
        writeln!(f, "Keys of open windows: {}", key_dir.display())?;
        for kind in WindowKind::ALL {
            let threshold = self.0.thresholds.of(kind);
            writeln!(
                f,
                "Published for a {}: groups of at least {} installations from {} Pods, {} of them not from the largest; \
                 groups of at least {} Pods",
                kind.as_str(),
                threshold.installations(),
                threshold.pods(),
                threshold.without_largest(),
                threshold.pod_count(),
            )?;
        }
        match self.0.retention.map(|retention| retention.as_secs() / 3_600) {
            None => write!(f, "Releases: kept for ever"),
            Some(hours) if hours % 24 == 0 => write!(f, "Releases: kept for {} days", hours / 24),
            Some(hours) => write!(f, "Releases: kept for {hours} hours"),
        }
    }
}
