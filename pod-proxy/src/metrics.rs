//! What happens in the proxy → counters and gauges for Prometheus. No label has a value that came from outside.

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::filter::Dropped;

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) kept: IntCounter,
    dropped: IntCounterVec,
    rejected: IntCounterVec,
    discarded: IntCounterVec,
    pub(crate) sent: IntCounter,
    requests: IntCounterVec,
    pub(crate) spool_entries: IntGauge,
    pub(crate) spool_bytes: IntGauge,
    pub(crate) spool_max_entries: IntGauge,
    pub(crate) spool_max_bytes: IntGauge,
    pub(crate) configuration_refused: IntGauge,
    pub(crate) sent_log_failing: IntGauge,
    pub(crate) account_queries: IntCounterVec,
}

/// Why an entry of the spool will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    /// The policy at the time of sending does not let it out.
    Policy(Dropped),
    /// The vendor refused it for good.
    Refused,
    /// It waited longer than `max_spool_age`.
    TooOld,
    /// It cannot be read.
    Unreadable,
}

impl Discarded {
    /// The reason as a metric label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Policy(reason) => reason.label(),
            Self::Refused => "refused",
            Self::TooOld => "too_old",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Metrics {
    /// Never fails as long as no two metrics have the same name.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let options = |name: &str, help: &str| Opts::new(name, help).namespace("pod_proxy");
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(options(name, help))?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let counters = |name: &str, label: &str, help: &str| {
            let counters = IntCounterVec::new(options(name, help), &[label])?;
            registry.register(Box::new(counters.clone())).map(|()| counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(options(name, help))?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        Ok(Self {
            kept: counter("events_kept_total", "Events that were stored in the spool.")?,
            dropped: counters(
                "events_dropped_total",
                "reason",
                "Events of which the policy lets nothing out.",
            )?,
            rejected: counters(
                "requests_rejected_total",
                "problem",
                "Requests that were answered with a problem.",
            )?,
            discarded: counters(
                "entries_discarded_total",
                "reason",
                "Spool entries that will never be sent.",
            )?,
            sent: counter("events_sent_total", "Events that the vendor has taken.")?,
            requests: counters(
                "vendor_requests_total",
                "outcome",
                "Requests to the vendor; those with the outcome `not_recorded` were not made.",
            )?,
            spool_entries: gauge("spool_entries", "Entries that wait for the vendor.")?,
            spool_bytes: gauge("spool_bytes", "Bytes of the entries that wait.")?,
            spool_max_entries: gauge("spool_max_entries", "Entries that may wait for the vendor.")?,
            spool_max_bytes: gauge("spool_max_bytes", "Bytes of entries that may wait.")?,
            configuration_refused: gauge(
                "configuration_refused",
                "1 if the configuration had mistakes at the last reload, so that the one before is in force.",
            )?,
            sent_log_failing: gauge(
                "sent_log_failing",
                "1 if nothing is sent because the log of what was sent cannot be written.",
            )?,
            account_queries: counters(
                "account_counts_total",
                "outcome",
                "Queries for the number of accounts.",
            )?,
            registry,
        })
    }

    pub(crate) fn dropped(&self, reason: Dropped) {
        self.dropped.with_label_values(&[reason.label()]).inc();
    }

    /// `slug` is that of a problem type.
    pub(crate) fn rejected(&self, slug: &'static str) {
        self.rejected.with_label_values(&[slug]).inc();
    }

    pub(crate) fn discarded(&self, reason: Discarded, entries: usize) {
        self.discarded.with_label_values(&[reason.label()]).inc_by(entries as u64);
    }

    pub(crate) fn requested(&self, outcome: &'static str) {
        self.requests.with_label_values(&[outcome]).inc();
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}
