//! Events of installations that do not exist → a service under load, and which of them it has acknowledged.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::stack::{client, post};
use serde_json::{Value, json};
use shared::pseudonym::{PodId, UserHash};
use tokio::task::JoinSet;

use crate::docker::PATIENCE;

/// How many senders there are, and how many events each sends at once.
const LANES: usize = 6;
const BATCH: usize = 10;

/// The event of an installation without a Pod, one of its own for each number.
pub(crate) fn event(number: usize) -> Value {
    let user_hash = UserHash::of_device(&format!("user{number}"), "jabber.example", "device");
    let pod = json!({ "domain_hash": PodId::of_domain("jabber.example"), "user_hash": user_hash });
    json!({ "name": "app:daily", "origin": { "app": { "name": "prose-app-web" }, "pod": pod } })
}

/// Senders at work.
pub(crate) struct Load {
    state: Arc<State>,
    lanes: JoinSet<anyhow::Result<()>>,
}

struct State {
    http: reqwest::Client,
    url: String,
    first: usize,
    next: AtomicUsize,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The events that were sent; all have been acknowledged in the end.
    pub(crate) events: usize,
    /// Answers that made a sender try again.
    pub(crate) failures: Vec<String>,
}

impl Load {
    /// Sends batches to the vendor's service at `base`, the first event being that with the number `first`. As a proxy
    /// does, a sender tries again until it has been told that its batch was taken.
    pub(crate) fn start(base: &str, first: usize) -> anyhow::Result<Self> {
        let state = Arc::new(State {
            http: client()?,
            url: format!("{base}/_api/cloud/v1/analytics/events"),
            first,
            next: AtomicUsize::new(first),
            acknowledged: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failures: Mutex::default(),
        });
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            lanes.spawn(Arc::clone(&state).send());
        }
        Ok(Self { state, lanes })
    }

    /// Waits until so many more have been acknowledged.
    pub(crate) async fn wait_for(&self, more: usize) -> anyhow::Result<()> {
        let until = self.state.acknowledged.load(Ordering::Relaxed) + more;
        let end = Instant::now() + PATIENCE;
        while self.state.acknowledged.load(Ordering::Relaxed) < until {
            ensure!(Instant::now() < end, "no more are acknowledged; {:?}", self.state.failures);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until a sender was turned away.
    pub(crate) async fn wait_for_failure(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.state.failures.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            ensure!(Instant::now() < end, "nobody was turned away");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Begins no more batches, and waits until those that have begun are acknowledged.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Sent> {
        self.state.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.lanes.join_next().await {
            done??;
        }
        let failures =
            std::mem::take(&mut *self.state.failures.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Sent { events: self.state.acknowledged.load(Ordering::Relaxed), failures })
    }

    /// Gives up, as senders that are killed do. Returns how many events were acknowledged, and how many may have been sent.
    pub(crate) async fn give_up(mut self) -> (usize, usize) {
        self.lanes.shutdown().await;
        let begun = self.state.next.load(Ordering::Relaxed) - self.state.first;
        (self.state.acknowledged.load(Ordering::Relaxed), begun)
    }
}

impl State {
    async fn send(self: Arc<Self>) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let batch: Vec<_> = (first..first + BATCH).map(event).collect();
            let body = serde_json::to_string(&batch)?;
            let end = Instant::now() + PATIENCE;
            while let Err(error) = self.try_once(&body).await {
                ensure!(Instant::now() < end, "a batch was never taken: {error:#}");
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            self.acknowledged.fetch_add(BATCH, Ordering::Relaxed);
            // All lanes together make fewer requests than one network may, for as long as it takes.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn try_once(&self, body: &str) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_str(&post(&self.http, &self.url, body.to_owned()).await?)?;
        ensure!(answer["accepted"] == BATCH, "{answer}");
        Ok(())
    }
}
