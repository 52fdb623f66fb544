//! The clock → [`App::flush`] and [`App::report`]: the two loops of a service.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::App;
use super::alarm::Alarm;
use crate::complaint::Complaint;
use crate::filter::PodReport;
use crate::forward::retry::{Backoff, longest_backoff};
use crate::forward::schedule::{self, Phase};
use crate::forward::{Ended, FlushReport};
use crate::live::Live;

/// The longest wait when the reason is on this machine, where trying again costs nobody anything.
const AFTER_FAULT: Duration = Duration::from_secs(300);
/// How long the vendor may still take to answer when the proxy stops.
const LAST_ANSWER: Duration = Duration::from_secs(3);

impl App {
    /// The loop that sends: at the Pod's own point of each interval, or when a failure has been waited out.
    pub(super) async fn send_when_due(self) {
        let phase = Phase::of_flush(&self.0.salt);
        let mut backoff = Backoff::default();
        let mut retry: Option<Duration> = None;
        let complaint = Complaint::default();
        loop {
            let due = |live: &Live, from| match retry {
                Some(wait) => schedule::after(from, wait),
                None => schedule::next_flush(from, live.config.flush_interval, phase),
            };
            if !self.wait_until(due).await {
                return;
            }
            let given_up = async {
                self.stopped().await;
                tokio::time::sleep(LAST_ANSWER).await;
            };
            let report = tokio::select! {
                report = self.flush() => report,
                () = given_up => return,
            };
            let longest = longest_backoff(self.live().config.flush_interval);
            retry = match report.ended {
                Ended::Done => {
                    backoff = Backoff::default();
                    complaint.settle();
                    None
                }
                Ended::VendorAway { reason, asked } => {
                    if complaint.is_due(reason, Instant::now()) {
                        let waiting = report.left;
                        tracing::warn!(reason, waiting, "the vendor cannot be reached; trying again later");
                    }
                    Some(backoff.next(longest, rand::random(), asked))
                }
                Ended::UnknownCohort | Ended::SpoolFault | Ended::NotRecorded => {
                    if complaint.is_due("here", Instant::now()) {
                        let waiting = report.left;
                        tracing::warn!(waiting, "nothing can be sent at the moment; trying again later");
                    }
                    Some(longest.min(AFTER_FAULT))
                }
            };
            if report.sent + report.rejected + report.withheld > 0 {
                let FlushReport { sent, rejected, withheld, left, ended: _ } = report;
                tracing::info!(sent, rejected, withheld, left, "sent what was waiting");
            }
        }
    }

    /// The loop that reports on the Pod itself: now, and then each day at the Pod's own time.
    pub(super) async fn report_when_due(self) {
        let phase = Phase::of_report(&self.0.salt);
        let mut report = PodReport::Startup;
        loop {
            if let Err(error) = self.report(report).await {
                tracing::warn!(%error, "the Pod's own report was not kept");
            }
            report = PodReport::Daily;
            if !self.wait_until(|_, from| schedule::next_report(from, phase)).await {
                return;
            }
        }
    }

    /// Waits until the clock shows what `due` makes of now, which a reload may change. Returns false if the proxy
    /// stops.
    async fn wait_until(&self, due: impl Fn(&Live, Timestamp) -> Timestamp) -> bool {
        let mut reloads = self.0.live.subscribe();
        let mut alarm = Alarm::new(self.0.clock.now());
        while let Some(nap) = alarm.nap(self.0.clock.now(), |from| due(&self.live(), from)) {
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = reloads.changed() => {}
                () = self.stopped() => return false,
            }
        }
        true
    }

    async fn stopped(&self) {
        // The sender is a part of this, so it is not gone.
        let _ = self.0.stop.subscribe().wait_for(|stop| *stop).await;
    }
}
