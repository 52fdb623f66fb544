//! The clock → [`App::flush`] and [`App::report`]: the two loops of a service.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::App;
use super::alarm::Alarm;
use crate::complaint::Complaint;
use crate::filter::PodReport;
use crate::forward::retry::{Backoff, longest_backoff};
use crate::forward::schedule::{self, Phase};
use crate::forward::{Ended, FlushReport, Which};
use crate::live::Live;

/// The longest wait when the reason is on this machine, where trying again costs nobody anything.
const AFTER_FAULT: Duration = Duration::from_secs(300);
/// How long the vendor may still take to answer when the proxy stops.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// A wait before what could not be sent is tried again.
struct Wait {
    alarm: Alarm,
    length: Duration,
}

/// What the loop that sends has waited for.
enum Due {
    /// The Pod's own point of an interval.
    Point,
    /// Another attempt.
    Again,
}

impl App {
    /// The loop that sends: at the Pod's own point of each interval, or when a failure has been waited out.
    ///
    /// What an attempt may send is decided at such a point, and stays the same until the next one: otherwise who fails
    /// on purpose would see, from what is new in the next attempt, when it came. A point that goes by while something
    /// is on its way is left out, so that a vendor who is slow cannot choose the moment.
    pub(super) async fn send_when_due(self) {
        let phase = Phase::of_flush(&self.0.salt);
        let mut backoff = Backoff::default();
        let complaint = Complaint::default();
        let mut point = Alarm::new(self.0.clock.now());
        let mut wait = self.told_to_wait_before();
        let mut was_told_to_wait = wait.is_some();
        loop {
            let due = self.next_due(phase, &mut point, wait.as_mut()).await;
            self.rest_until(None);
            let Some(due) = due else { return };
            let which = match due {
                Due::Again => Which::WaitedThen,
                Due::Point if wait.is_none() => Which::WaitsNow,
                Due::Point => {
                    self.0.forwarder.seal().await;
                    point = Alarm::new(self.0.clock.now());
                    continue;
                }
            };
            let given_up = async {
                self.stopped().await;
                tokio::time::sleep(LAST_ANSWER).await;
            };
            let report = tokio::select! {
                report = self.send(which) => report,
                () = given_up => return,
            };
            point = Alarm::new(self.0.clock.now());
            let longest = longest_backoff(self.live().config.flush_interval);
            let length = match report.ended {
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
                    let drawn = Phase::of_wait(&self.0.salt, backoff.failures());
                    Some(backoff.next(longest, drawn, asked))
                }
                Ended::UnknownCohort | Ended::SpoolFault | Ended::NotRecorded => {
                    if complaint.is_due("here", Instant::now()) {
                        let waiting = report.left;
                        tracing::warn!(waiting, "nothing can be sent at the moment; trying again later");
                    }
                    Some(longest.min(AFTER_FAULT))
                }
            };
            wait = length.map(|length| Wait { alarm: Alarm::new(self.0.clock.now()), length });
            let asked = matches!(report.ended, Ended::VendorAway { asked: Some(_), .. });
            if let Some(length) = length.filter(|_| asked) {
                self.remember_to_wait(Some(length)).await;
            } else if was_told_to_wait {
                self.remember_to_wait(None).await;
            }
            was_told_to_wait = asked;
            if report.sent + report.rejected + report.withheld > 0 {
                let FlushReport { sent, rejected, withheld, left, ended: _ } = report;
                tracing::info!(sent, rejected, withheld, left, "sent what was waiting");
            }
        }
    }

    /// Waits for the next point, or for the end of `wait` if that comes first. `None` if the proxy stops.
    async fn next_due(&self, phase: Phase, point: &mut Alarm, mut wait: Option<&mut Wait>) -> Option<Due> {
        let mut reloads = self.0.live.subscribe();
        loop {
            let now = self.0.clock.now();
            let interval = self.live().config.flush_interval;
            let to_point = point.nap(now, |from| schedule::next_flush(from, interval, phase));
            let to_attempt = wait
                .as_mut()
                .map(|Wait { alarm, length }| alarm.nap(now, |from| schedule::after(from, *length)));
            let nap = match (to_point, to_attempt) {
                (None, _) => return Some(Due::Point),
                (_, Some(None)) => return Some(Due::Again),
                (Some(to_point), None) => to_point,
                (Some(to_point), Some(Some(to_attempt))) => to_point.min(to_attempt),
            };
            let due = point.due(|from| schedule::next_flush(from, interval, phase));
            let again =
                wait.as_ref().map(|Wait { alarm, length }| alarm.due(|from| schedule::after(from, *length)));
            self.rest_until(Some(again.map_or(due, |again| again.min(due))));
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = reloads.changed() => {}
                () = self.stopped() => return None,
            }
        }
    }

    fn rest_until(&self, due: Option<Timestamp>) {
        *self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// The wait that the vendor asked for before the proxy was started.
    fn told_to_wait_before(&self) -> Option<Wait> {
        let now = self.0.clock.now();
        let until = self.0.told_to_wait.read(now)?;
        let length = Duration::try_from(until.duration_since(now)).ok()?;
        Some(Wait { alarm: Alarm::new(now), length })
    }

    /// Writes down that the vendor asked to wait so long, or that it does not any more.
    async fn remember_to_wait(&self, length: Option<Duration>) {
        let app = self.clone();
        let now = self.0.clock.now();
        let written = tokio::task::spawn_blocking(move || match length {
            Some(length) => app.0.told_to_wait.write(schedule::after(now, length)),
            None => app.0.told_to_wait.remove(),
        });
        if let Err(error) = written.await.unwrap_or_else(|panicked| Err(panicked.into())) {
            tracing::warn!(%error, "how long the vendor asked to wait cannot be written down; a restart forgets it");
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
