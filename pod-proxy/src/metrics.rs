//! What happens in the proxy → counters by reason, on a listener of their own.

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::filter::Dropped;

/// The numbers about the operation of one proxy. No label has a value that came from outside.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Events that were kept in the spool.
    pub(crate) kept: IntCounter,
    dropped: IntCounterVec,
    rejected: IntCounterVec,
    discarded: IntCounterVec,
    /// Events that the vendor has taken.
    pub(crate) sent: IntCounter,
    requests: IntCounterVec,
    /// What waits for the vendor.
    pub(crate) spool_entries: IntGauge,
    /// Its bytes.
    pub(crate) spool_bytes: IntGauge,
    /// How many entries may wait.
    pub(crate) spool_max_entries: IntGauge,
    /// How many bytes may wait.
    pub(crate) spool_max_bytes: IntGauge,
    /// One, if the configuration in force is not what the file says.
    pub(crate) configuration_refused: IntGauge,
    /// One, if nothing is sent because it cannot be written down before.
    pub(crate) sent_log_failing: IntGauge,
    account_counts: IntCounterVec,
}

/// Why an entry of the spool will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// The policy of the moment of sending does not let it out.
    Policy(Dropped),
    /// The vendor refused it for good.
    Refused,
    /// It waited longer than `max_spool_age`.
    TooOld,
    /// It cannot be read.
    Unreadable,
}

impl Discarded {
    /// The stable name of the reason.
    pub fn label(self) -> &'static str {
        match self {
            Self::Policy(reason) => reason.label(),
            Self::Refused => "refused",
            Self::TooOld => "too_old",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Metrics {
    /// A new registry with everything at zero.
    ///
    /// # Errors
    /// Never, as long as no two metrics have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let by_reason = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            kept: counter("pod_proxy_events_kept_total", "Events that were kept in the spool.")?,
            dropped: by_reason(
                "pod_proxy_events_dropped_total",
                "Events that the policy lets nothing out of.",
                "reason",
            )?,
            rejected: by_reason(
                "pod_proxy_requests_rejected_total",
                "Requests that were answered with a problem.",
                "problem",
            )?,
            discarded: by_reason(
                "pod_proxy_entries_discarded_total",
                "Spool entries that will never be sent.",
                "reason",
            )?,
            sent: counter("pod_proxy_events_sent_total", "Events that the vendor has taken.")?,
            requests: by_reason(
                "pod_proxy_vendor_requests_total",
                "Requests to the vendor; those that are `not_recorded` were not made.",
                "outcome",
            )?,
            spool_entries: gauge("pod_proxy_spool_entries", "Entries that wait for the vendor.")?,
            spool_bytes: gauge("pod_proxy_spool_bytes", "Bytes of the entries that wait.")?,
            spool_max_entries: gauge("pod_proxy_spool_max_entries", "Entries that may wait for the vendor.")?,
            spool_max_bytes: gauge("pod_proxy_spool_max_bytes", "Bytes of entries that may wait.")?,
            configuration_refused: gauge(
                "pod_proxy_configuration_refused",
                "1 if the file had mistakes at the last reload, and the configuration before it is in force.",
            )?,
            sent_log_failing: gauge(
                "pod_proxy_sent_log_failing",
                "1 if nothing is sent because what leaves cannot be written down in the log of what was sent.",
            )?,
            account_counts: by_reason(
                "pod_proxy_account_counts_total",
                "Times that the number of accounts was asked for.",
                "outcome",
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

    pub(crate) fn asked_for_accounts(&self, outcome: &'static str) {
        self.account_counts.with_label_values(&[outcome]).inc();
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail; without the numbers the page is empty.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}
