//! Numbers about our own operation and the newest releases, for Prometheus. None is about an open window, and
//! no sender chooses a label: values have a normal form, and were published.

use jiff::Timestamp;
use parking_lot::RwLock;
use prometheus::{
    Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::anomaly::{Anomaly, unknown_shares};
use crate::insight::Insight;
use crate::intake::limits::Limit;
use crate::release::{Family, Population, Release};
use crate::window::Window;

/// How many values of an insight we export for each population, the largest first: Prometheus keeps each for
/// long.
const MAX_VALUES: usize = 50;

/// The metrics of one running service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    accepted: IntCounter,
    rejected: IntCounterVec,
    refused: IntCounterVec,
    limited: IntCounterVec,
    commits: IntCounterVec,
    released: IntCounterVec,
    close_failures: IntCounter,
    untried: IntCounterVec,
    turned_away: IntCounter,
    newest_release: IntGaugeVec,
    newest_release_written: IntGaugeVec,
    close_healthy: IntGauge,
    anomalies: IntGaugeVec,
    reporters: IntGaugeVec,
    folded: GaugeVec,
    untold: GaugeVec,
    /// Held while the numbers of releases are replaced, so that no scrape sees half of them.
    releases: RwLock<()>,
}

impl Metrics {
    /// A new registry with everything at zero.
    ///
    /// # Panics
    /// Never, because the names are valid and registered once.
    pub fn new() -> Self {
        let registry = Registry::new();
        fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
            let metric = metric.expect("a valid name");
            registry.register(Box::new(metric.clone())).expect("registered once");
            metric
        }
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, label: &str| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), &[label]))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let share = |name: &str, help: &str| {
            let labels = ["insight", "window", "population"];
            register(&registry, GaugeVec::new(Opts::new(name, help), &labels))
        };
        let metrics = Self {
            reporters: gauges(
                "ingest_insight_reporters",
                "Distinct reporters of a value in the newest release, rounded.",
                &["insight", "window", "population", "value"],
            ),
            folded: share(
                "ingest_insight_folded_share",
                "The part of the newest release in groups of several values, from 0 to 1.",
            ),
            untold: share(
                "ingest_insight_not_reported_share",
                "The part of the newest release without a reported or recognised value, from 0 to 1.",
            ),
            releases: RwLock::default(),
            limited: counters(
                "ingest_requests_limited_total",
                "Requests that were too much for one network, by the limit that they exceeded.",
                "limit",
            ),
            accepted: counter("ingest_reports_accepted_total", "Reports that are committed."),
            rejected: counters(
                "ingest_reports_rejected_total",
                "Reports that are not counted, by reason; a request that is rejected as a whole is one.",
                "reason",
            ),
            refused: counters(
                "ingest_reports_refused_total",
                "Reports that the sender has to send again later; a batch that is not even read is one.",
                "reason",
            ),
            commits: counters("ingest_commits_total", "Groups of reports that were written.", "outcome"),
            released: counters(
                "ingest_windows_released_total",
                "Windows that this instance has released.",
                "window",
            ),
            close_failures: counter("ingest_close_failures_total", "Runs of the close job that failed."),
            untried: counters(
                "ingest_families_untried_total",
                "Insights that became one block, because not everything that they may reveal with others could be tried.",
                "family",
            ),
            turned_away: counter(
                "ingest_readers_turned_away_total",
                "Readers who have to come back later, because too many were waiting for answers.",
            ),
            newest_release: gauges(
                "ingest_newest_release_end_seconds",
                "End of the newest released window, in Unix seconds.",
                &["window"],
            ),
            newest_release_written: gauges(
                "ingest_newest_release_written_seconds",
                "When the newest released window was released, in Unix seconds.",
                &["window"],
            ),
            close_healthy: register(
                &registry,
                IntGauge::new("ingest_close_healthy", "Whether the last run of the close job succeeded."),
            ),
            anomalies: gauges(
                "ingest_anomalies",
                "How many problems `ingest-api status` reports, as of the last run of the close job.",
                &["kind"],
            ),
            registry,
        };
        metrics.close_healthy.set(1);
        for kind in Anomaly::KINDS {
            metrics.anomalies.with_label_values(&[kind]);
        }
        for limit in [Limit::Requests, Limit::Events, Limit::NewPods] {
            metrics.limited.with_label_values(&[limit.label()]);
        }
        metrics
    }

    /// Some reports have been committed.
    pub fn reports_accepted(&self, reports: usize) {
        self.accepted.inc_by(reports as u64);
    }

    /// A report has been rejected; `reason` is one of a fixed set.
    pub fn report_rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Some reports have to be sent again later.
    pub fn reports_refused(&self, reason: &'static str, reports: usize) {
        self.refused.with_label_values(&[reason]).inc_by(reports as u64);
    }

    /// A request exceeded a limit of its network; `limit` is one of a fixed set.
    pub fn request_limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// A reader has to come back later, because too many were waiting.
    pub fn reader_turned_away(&self) {
        self.turned_away.inc();
    }

    /// The writer has finished a group.
    pub fn group_written(&self, committed: bool) {
        self.commits.with_label_values(&[if committed { "committed" } else { "failed" }]).inc();
    }

    /// The close job has finished a run, in which nothing failed if `is_healthy`.
    pub fn close_finished(&self, is_healthy: bool, released: &[Window], untried: &[(Window, Family)]) {
        self.close_healthy.set(i64::from(is_healthy));
        self.close_failures.inc_by(u64::from(!is_healthy));
        for window in released {
            self.released.with_label_values(&[window.kind().as_str()]).inc();
        }
        for (_, family) in untried {
            self.untried.with_label_values(&[family.as_str()]).inc();
        }
    }

    /// Sets the newest release of a kind of window, and when it was written.
    pub fn newest_release(&self, window: Window, written: Timestamp) {
        let end = window.end().to_zoned(jiff::tz::TimeZone::UTC).map_or(0, |end| end.timestamp().as_second());
        self.newest_release.with_label_values(&[window.kind().as_str()]).set(end);
        self.newest_release_written.with_label_values(&[window.kind().as_str()]).set(written.as_second());
    }

    /// Sets all anomalies.
    pub fn anomalies(&self, anomalies: &[Anomaly]) {
        for kind in Anomaly::KINDS {
            let of_kind = anomalies.iter().filter(|anomaly| anomaly.kind() == kind).count();
            self.anomalies.with_label_values(&[kind]).set(i64::try_from(of_kind).unwrap_or(i64::MAX));
        }
    }

    /// Sets the numbers of the newest releases, one for each kind of window.
    pub fn newest_releases(&self, releases: &[Release]) {
        let _writing = self.releases.write();
        self.reporters.reset();
        self.folded.reset();
        self.untold.reset();
        for release in releases {
            let window = release.window.kind().as_str();
            for (insight, family) in Insight::ALL.into_iter().filter_map(|of| Some((of, of.family()?))) {
                for population in Population::ALL {
                    let of = [insight.as_str(), window, population.as_str()];
                    let mut blocks: Vec<_> = release.blocks_of(population, family).iter().collect();
                    blocks.sort_by_key(|block| std::cmp::Reverse(block.published));
                    for block in blocks.into_iter().take(MAX_VALUES) {
                        let published = i64::try_from(block.published).unwrap_or(i64::MAX);
                        let labels = [of[0], of[1], of[2], block.label.as_str()];
                        self.reporters.with_label_values(&labels).set(published);
                    }
                    if let Some((folded, untold)) = unknown_shares(release, population, family) {
                        self.folded.with_label_values(&of).set(folded);
                        self.untold.with_label_values(&of).set(untold);
                    }
                }
            }
        }
    }

    /// Everything, in the text format of Prometheus.
    pub fn render(&self) -> String {
        let _reading = self.releases.read();
        let mut text = Vec::new();
        // Writing to a Vec does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::WindowKind;
    use shared::data_point::UserPlatform;

    #[test]
    fn a_family_that_was_not_tried_to_the_end_is_counted() {
        let metrics = Metrics::new();
        let day = Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap());
        let untried = [(day, Family::of::<UserPlatform>()), (day, Family::of::<UserPlatform>())];
        metrics.close_finished(true, &[], &untried);
        let rendered = metrics.render();
        let line = "ingest_families_untried_total{family=\"platforms\"} 2\n";
        assert!(rendered.contains(line) && !rendered.contains("languages"), "{rendered}");
    }
}
