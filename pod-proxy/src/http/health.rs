//! `GET /healthz`: how the proxy is → a few words for whoever watches it. Nothing in it is about anybody.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;

/// How the proxy is.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// `ok`, or `degraded` if somebody should have a look.
    status: &'static str,
    /// `in_force`, or `refused` if the file had mistakes at the last reload and what was before it is in force.
    configuration: &'static str,
    /// `on` or `off`, as the operator decided.
    analytics: &'static str,
    /// `untried`, `reachable` or `away`.
    vendor: &'static str,
    /// `written`, or `failing` if nothing is sent because it cannot be written down before.
    sent_log: &'static str,
    spool: SpoolHealth,
}

#[derive(Debug, Serialize)]
struct SpoolHealth {
    entries: u64,
    bytes: u64,
}

/// Tells how the proxy is. It answers 200 as long as it takes events.
pub(super) async fn get_health(State(app): State<App>) -> Json<Health> {
    let refused = app.is_configuration_refused();
    let unrecorded = app.is_sent_log_failing();
    let held = app.held();
    let vendor = app.vendor_state();
    Json(Health {
        status: if refused || unrecorded { "degraded" } else { "ok" },
        configuration: if refused { "refused" } else { "in_force" },
        analytics: if app.live().config.policy.is_enabled() { "on" } else { "off" },
        vendor: vendor.as_str(),
        sent_log: if unrecorded { "failing" } else { "written" },
        spool: SpoolHealth { entries: held.entries, bytes: held.bytes },
    })
}
