//! Does what the [`Schedule`](crate::forward::schedule::Schedule) says, when it says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::forward::schedule::{Happened, Step};
use crate::forward::{Ended, FlushReport};
use crate::log_throttle::LogThrottle;
use crate::proxy::Proxy;

/// How long the vendor may still take to answer when the proxy stops.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// Reports and sends until `stop`. `sleeps_until` has the end of the current sleep.
pub(super) async fn run(
    proxy: Proxy,
    sleeps_until: Arc<Mutex<Option<Timestamp>>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut schedule = proxy.schedule();
    let mut reloads = proxy.subscribe();
    let throttle = LogThrottle::default();
    let mut happened = Happened::Woke;
    loop {
        let flush_interval = reloads.borrow_and_update().config.flush_interval;
        let step = schedule.next(proxy.now(), flush_interval, happened);
        *sleeps_until.lock() = match step {
            Step::Sleep { until, .. } => Some(until),
            _ => None,
        };
        happened = Happened::Woke;
        match step {
            Step::Report(report) => {
                if let Err(error) = proxy.report(report).await {
                    tracing::warn!(%error, "the Pod's own report was not stored");
                }
            }
            Step::Snapshot => proxy.snapshot().await,
            Step::RetryAfter(until) => proxy.remember_retry_after(until).await,
            Step::Send(attempt) => {
                let given_up = async {
                    stopped(&mut stop).await;
                    tokio::time::sleep(LAST_ANSWER).await;
                };
                let report = tokio::select! {
                    report = proxy.send(attempt) => report,
                    () = given_up => return,
                };
                log(&report, &throttle);
                happened = Happened::Ended(report.ended);
            }
            Step::Sleep { nap, .. } => tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = reloads.changed() => {}
                () = stopped(&mut stop) => return,
            },
        }
    }
}

fn log(report: &FlushReport, throttle: &LogThrottle<&'static str>) {
    let FlushReport { sent, rejected, withheld, left, ended } = *report;
    match ended {
        Ended::Done => throttle.reset(),
        Ended::VendorAway { reason, .. } => {
            if throttle.admit(reason, Instant::now()) {
                tracing::warn!(reason, left, "the vendor cannot be reached; trying again later");
            }
        }
        Ended::UnknownCohort | Ended::SpoolFault | Ended::NotRecorded => {
            if throttle.admit("here", Instant::now()) {
                tracing::warn!(left, "nothing can be sent at the moment; trying again later");
            }
        }
    }
    if sent + rejected + withheld > 0 {
        tracing::info!(sent, rejected, withheld, left, "sent what was waiting");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // If the sender is gone, so is the proxy.
    let _ = stop.wait_for(|stop| *stop).await;
}
