//! Load: events of a [`Crowd`] over many connections, as fast as they are answered or at a steady rate → how many were
//! acknowledged, and how long each request waited.

mod connection;
mod crowd;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

pub use connection::{Answer, Connection};
pub use crowd::Crowd;

/// How long a connection pauses when it was told to come back later. Shorter than what `Retry-After` can say: a load
/// is there to find out what a server does with those who are impatient.
const PAUSE: Duration = Duration::from_millis(50);

/// What is to be sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// What stands before `/v1/analytics/…`.
    pub base_path: String,
    /// Whose events.
    pub crowd: Crowd,
    /// The number of the first event; see [`Crowd::write_event`].
    pub first: u64,
    /// How many events at most.
    pub events: u64,
    /// For how long at most.
    pub time: Duration,
    /// How many connections take turns.
    pub connections: NonZeroU32,
    /// How many events go into a request; without a number, each goes alone, to the route for single events.
    pub batch: Option<NonZeroU32>,
    /// Events a second; without a number, each connection sends the next request as soon as the last one is answered.
    pub rate: Option<NonZeroU32>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Events that the server has acknowledged.
    pub events: u64,
    /// Events of requests that were answered by "later" (429, 503). They are sent again until they are acknowledged or
    /// the time is over.
    pub refused: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long requests that were acknowledged waited, in microseconds. At a steady rate, from the moment they were due.
    pub waits: Histogram<u64>,
}

impl Measured {
    /// Events a second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// How long the slowest `1 - share` of the requests waited at least, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn wait_ms(&self, share: f64) -> f64 {
        self.waits.value_at_quantile(share) as f64 / 1e3
    }
}

impl Load {
    /// Sends it. `progress` is told how many events have been acknowledged, after each request.
    ///
    /// # Errors
    /// If the server rejects an event, does not answer, or cannot be reached: events of a crowd are valid.
    pub async fn run(&self, progress: Arc<AtomicU64>) -> anyhow::Result<Measured> {
        let turns = Arc::new(AtomicU64::new(0));
        let mut lanes = JoinSet::new();
        // All connections stand before the clock starts.
        let route = if self.batch.is_some() { "events" } else { "event" };
        let path = format!("{}/v1/analytics/{route}", self.base_path);
        let mut connections = Vec::new();
        for _ in 0..self.connections.get() {
            connections.push(Connection::open(self.address, &path).await?);
        }
        let start = Instant::now();
        for connection in connections {
            let lane = Lane {
                load: self.clone(),
                start,
                connection,
                turns: Arc::clone(&turns),
                progress: Arc::clone(&progress),
                measured: Measured::none()?,
            };
            lanes.spawn(lane.run());
        }
        let mut sum = Measured::none()?;
        while let Some(lane) = lanes.join_next().await {
            let lane = lane??;
            sum.events += lane.events;
            sum.refused += lane.refused;
            sum.waits.add(lane.waits)?;
        }
        sum.elapsed = start.elapsed();
        Ok(sum)
    }
}

impl Measured {
    fn none() -> anyhow::Result<Self> {
        // Up to a minute, to three digits.
        let waits = Histogram::new_with_max(60_000_000, 3)?;
        Ok(Self { events: 0, refused: 0, elapsed: Duration::ZERO, waits })
    }
}

/// What one connection does.
struct Lane {
    load: Load,
    start: Instant,
    connection: Connection,
    turns: Arc<AtomicU64>,
    progress: Arc<AtomicU64>,
    measured: Measured,
}

impl Lane {
    async fn run(mut self) -> anyhow::Result<Measured> {
        let mut body = Vec::new();
        loop {
            let turn = self.turns.fetch_add(self.batch_size(), Ordering::Relaxed);
            let events = self.batch_size().min(self.load.events.saturating_sub(turn));
            let Some(due) = self.wait_for(turn).await else { break };
            if events == 0 {
                break;
            }
            self.write_body(turn, events, &mut body);
            if !self.send(&body, events, due).await? {
                break;
            }
        }
        Ok(self.measured)
    }

    fn batch_size(&self) -> u64 {
        self.load.batch.map_or(1, |batch| u64::from(batch.get()))
    }

    /// Waits until it is that event's turn, and returns when that was; nothing if the time is over before that.
    async fn wait_for(&self, turn: u64) -> Option<Instant> {
        let due = match self.load.rate {
            None => Instant::now(),
            Some(rate) => {
                let nanos = u128::from(turn) * 1_000_000_000 / u128::from(rate.get());
                let due = self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                if due < Instant::now() {
                    // Late, because earlier ones kept the connection: it has waited since then.
                    due
                } else {
                    tokio::time::sleep_until(due.into()).await;
                    Instant::now()
                }
            }
        };
        (due.duration_since(self.start) < self.load.time).then_some(due)
    }

    fn write_body(&self, turn: u64, events: u64, body: &mut Vec<u8>) {
        body.clear();
        let mut separator = if self.load.batch.is_some() { "[" } else { "" };
        for number in turn..turn + events {
            body.extend_from_slice(separator.as_bytes());
            let number = self.load.first + number;
            // A batch is of one Pod or a few, as their proxies send them; what comes alone comes from anywhere.
            let number = if self.load.batch.is_some() { number } else { self.load.crowd.scattered(number) };
            self.load.crowd.write_event(number, body);
            separator = ",";
        }
        if self.load.batch.is_some() {
            body.push(b']');
        }
    }

    /// Sends a request until it is acknowledged. Returns whether there is time for another one.
    async fn send(&mut self, body: &[u8], events: u64, due: Instant) -> anyhow::Result<bool> {
        loop {
            let answer = self.connection.post(body).await?;
            match answer.status {
                204 => ensure!(events == 1, "a batch was answered 204"),
                200 => ensure!(accepted(answer.body)? == events, "the server did not accept all events"),
                429 | 503 => {
                    self.measured.refused += events;
                    tokio::time::sleep(PAUSE).await;
                    self.connection.reopen().await?;
                    if self.start.elapsed() < self.load.time {
                        continue;
                    }
                    return Ok(false);
                }
                status => bail!("the server answers {status}: {}", String::from_utf8_lossy(answer.body)),
            }
            let waited = u64::try_from(due.elapsed().as_micros())?;
            self.measured.waits.saturating_record(waited);
            self.measured.events += events;
            self.progress.fetch_add(events, Ordering::Relaxed);
            return Ok(true);
        }
    }
}

fn accepted(body: &[u8]) -> anyhow::Result<u64> {
    #[derive(serde::Deserialize)]
    struct BatchAnswer {
        accepted: u64,
    }
    Ok(serde_json::from_slice::<BatchAnswer>(body)?.accepted)
}
