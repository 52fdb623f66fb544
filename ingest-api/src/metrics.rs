//! Numbers about our own operation, for Prometheus. No number of an open window, and no label that a sender chose.

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::jobs::close_windows::Closed;
use crate::window::Window;

/// The metrics of one running service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    accepted: IntCounter,
    rejected: IntCounterVec,
    refused: IntCounterVec,
    commits: IntCounterVec,
    released: IntCounterVec,
    close_failures: IntCounter,
    newest_release: IntGaugeVec,
    close_healthy: IntGauge,
}

impl Metrics {
    /// A registry of its own with everything at zero.
    ///
    /// # Panics
    /// Never: the names are valid and registered once.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid name");
            registry.register(Box::new(counter.clone())).expect("registered once");
            counter
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("registered once");
            counters
        };
        let newest_release = IntGaugeVec::new(
            Opts::new(
                "ingest_newest_release_end_seconds",
                "End of the newest released window, in Unix seconds.",
            ),
            &["window"],
        )
        .expect("a valid name");
        registry.register(Box::new(newest_release.clone())).expect("registered once");
        let close_healthy =
            IntGauge::new("ingest_close_healthy", "Whether the last run of the close job went well.")
                .expect("a valid name");
        registry.register(Box::new(close_healthy.clone())).expect("registered once");
        close_healthy.set(1);
        Self {
            accepted: counter("ingest_reports_accepted_total", "Reports that are committed."),
            rejected: counters(
                "ingest_reports_rejected_total",
                "Reports that are not counted, by reason.",
                "reason",
            ),
            refused: counters(
                "ingest_reports_refused_total",
                "Reports that the sender was told to send later.",
                "reason",
            ),
            commits: counters("ingest_commits_total", "Groups of reports that were written.", "outcome"),
            released: counters(
                "ingest_windows_released_total",
                "Windows that this instance has released.",
                "window",
            ),
            close_failures: counter("ingest_close_failures_total", "Runs of the close job that failed."),
            newest_release,
            close_healthy,
            registry,
        }
    }

    /// Some reports have been committed.
    pub fn reports_accepted(&self, reports: usize) {
        self.accepted.inc_by(reports as u64);
    }

    /// A report has been rejected; `reason` is one of a fixed set.
    pub fn report_rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// Some reports could not be taken now.
    pub fn reports_refused(&self, reason: &'static str, reports: usize) {
        self.refused.with_label_values(&[reason]).inc_by(reports as u64);
    }

    /// The writer has finished a group.
    pub fn group_written(&self, committed: bool) {
        self.commits.with_label_values(&[if committed { "committed" } else { "failed" }]).inc();
    }

    /// The close job has finished a run.
    pub fn close_finished(&self, closed: &Closed) {
        self.close_healthy.set(i64::from(closed.failed.is_empty()));
        self.close_failures.inc_by(u64::from(!closed.failed.is_empty()));
        for window in &closed.released {
            self.released.with_label_values(&[window.kind().as_str()]).inc();
        }
    }

    /// The newest release of a kind of window is known.
    pub fn newest_release(&self, window: Window) {
        let end = window.end().to_zoned(jiff::tz::TimeZone::UTC).map_or(0, |end| end.timestamp().as_second());
        self.newest_release.with_label_values(&[window.kind().as_str()]).set(end);
    }

    /// Everything, in the text format of Prometheus.
    pub fn render(&self) -> String {
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
