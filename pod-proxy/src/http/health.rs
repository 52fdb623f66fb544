//! `GET /healthz`: how the proxy is, for its supervisor. Nothing in it is about anybody.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::proxy::{Proxy, Status, VendorState};

#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// `ok`, or `degraded` if an operator should have a look.
    status: &'static str,
    /// `in_force`, or `refused` if the file had mistakes at the last reload, so that the configuration before it is in
    /// force.
    configuration: &'static str,
    /// `on` or `off`, as the operator decided.
    analytics: &'static str,
    vendor: VendorState,
    /// `written`, or `failing` if nothing is sent because the log of what was sent cannot be written.
    sent_log: &'static str,
    spool: SpoolHealth,
}

#[derive(Debug, Serialize)]
struct SpoolHealth {
    entries: u64,
    bytes: u64,
}

/// Answers 200 as long as the proxy takes events.
pub(super) async fn get_health(State(proxy): State<Proxy>) -> Json<Health> {
    let Status { configuration_refused, vendor, sent_log_failing } = proxy.status();
    let usage = proxy.spool_usage();
    Json(Health {
        status: if configuration_refused || sent_log_failing { "degraded" } else { "ok" },
        configuration: if configuration_refused { "refused" } else { "in_force" },
        analytics: if proxy.live().config.policy.is_enabled() { "on" } else { "off" },
        vendor,
        sent_log: if sent_log_failing { "failing" } else { "written" },
        spool: SpoolHealth { entries: usage.entries, bytes: usage.bytes },
    })
}
