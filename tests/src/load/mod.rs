//! Load: events of a [`Crowd`] over many connections, as fast as they are answered or at a steady rate → how
//! many were acknowledged, and how long each request waited.

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

/// The pause of a connection after an answer of 429 or 503. It is shorter than the least `Retry-After`,
/// because a load also tests impatient senders.
const PAUSE: Duration = Duration::from_millis(50);

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// The address of the server.
    pub address: SocketAddr,
    /// The path prefix of `/v1/analytics/…`.
    pub base_path: String,
    /// The installations.
    pub crowd: Crowd,
    /// The number of the first event; see [`Crowd::write_event`].
    pub first: u64,
    /// The most events to send.
    pub events: u64,
    /// The longest time to send.
    pub time: Duration,
    /// How many connections take turns.
    pub connections: NonZeroU32,
    /// How many events go into a request; `None` sends each alone, to the route for single events.
    pub batch: Option<NonZeroU32>,
    /// Events a second; `None` sends the next request of a connection as soon as the last is answered.
    pub rate: Option<NonZeroU32>,
}

/// The result.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How many events the server acknowledged.
    pub events: u64,
    /// Events of requests that were answered by 429 or 503. They are sent again until they are acknowledged
    /// or the time is over.
    pub refused: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long acknowledged requests waited, in microseconds. At a steady rate, from the moment when they
    /// were due.
    pub waits: Histogram<u64>,
}

impl Measured {
    /// Events a second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    /// The wait in milliseconds that `share` of the requests did not exceed.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn wait_ms(&self, share: f64) -> f64 {
        self.waits.value_at_quantile(share) as f64 / 1e3
    }
}

impl Load {
    /// Sends the load. Calls `progress` with the number of acknowledged events after each request.
    ///
    /// # Errors
    /// If the server rejects an event, does not answer, or cannot be reached. Events of a crowd are valid.
    pub async fn run(&self, progress: Arc<AtomicU64>) -> anyhow::Result<Measured> {
        let turns = Arc::new(AtomicU64::new(0));
        let mut lanes = JoinSet::new();
        // All connections are open before the clock starts.
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

/// The work of one connection.
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

    /// Waits until that event is due, and returns when it was; `None` if the time is over before.
    async fn wait_for(&self, turn: u64) -> Option<Instant> {
        let due = match self.load.rate {
            None => Instant::now(),
            Some(rate) => {
                let nanos = u128::from(turn) * 1_000_000_000 / u128::from(rate.get());
                let due = self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                if due < Instant::now() {
                    // Late, because earlier requests occupied the connection: it has waited since it was due.
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
            // A batch is from a few neighbouring Pods, as proxies send them; single events are from any Pod.
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
