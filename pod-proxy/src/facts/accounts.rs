//! A source of the number of enabled accounts → the number, cached for its lifetime.
//!
//! One query at a time. An answer is valid for its lifetime, even while the source fails, and a source that failed is left
//! alone for a minute. In the second half of its lifetime an answer is refreshed in the background. An app waits for the
//! source, for up to a second, only if the last answer has expired and the source has not failed since.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use reqwest::{Client, Url};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use shared::clock::Clock;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

/// How long a source may take to answer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an app waits for an answer.
const APP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a source that failed is not asked again.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where the number of enabled accounts comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSource {
    /// Nowhere: it is unknown.
    Unknown,
    /// The configuration says it.
    Fixed(u32),
    /// The Pod Server's local API, which answers `{"count": N}`.
    Url(Url),
    /// A command that prints a number or `{"count": N}`. It does not run in a shell.
    Command(Vec<String>),
}

/// The number of enabled accounts, cached.
#[derive(Debug)]
pub struct Accounts {
    source: AccountSource,
    lifetime: Duration,
    http: Client,
    clock: Arc<dyn Clock>,
    /// How often the source was asked, by outcome.
    queries: IntCounterVec,
    cache: Mutex<Cache>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cache {
    /// The last answer, and when it came.
    answer: Option<(u32, Timestamp)>,
    /// When the source failed, if it has not answered since.
    failed: Option<Timestamp>,
}

/// Why the source did not answer.
#[derive(Debug, thiserror::Error)]
enum QueryError {
    #[error("it took too long")]
    TooSlow,
    #[error("the command cannot be run: {0}")]
    NotRun(std::io::Error),
    #[error("the command failed with {0}")]
    Failed(std::process::ExitStatus),
    #[error("the request failed")]
    Request,
    #[error("the request was answered with status {0}")]
    Status(u16),
    #[error("the answer is neither a number nor {{\"count\": N}}")]
    NotANumber,
}

impl Accounts {
    pub fn new(
        source: AccountSource,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        queries: IntCounterVec,
    ) -> reqwest::Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(QUERY_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { source, lifetime, http, clock, queries, cache: Mutex::default(), asking: Arc::default() })
    }

    /// After a change of the configuration: these, if source and lifetime are the same, and else new ones.
    pub fn reconfigured(self: &Arc<Self>, source: &AccountSource, lifetime: Duration) -> Arc<Self> {
        if self.source == *source && self.lifetime == lifetime {
            return Arc::clone(self);
        }
        let Self { source: _, lifetime: _, http, clock, queries, cache: _, asking: _ } = &**self;
        Arc::new(Self {
            source: source.clone(),
            lifetime,
            http: http.clone(),
            clock: Arc::clone(clock),
            queries: queries.clone(),
            cache: Mutex::default(),
            asking: Arc::default(),
        })
    }

    /// The number of enabled accounts. Asks if there is no valid answer.
    pub async fn fresh(&self) -> Option<u32> {
        if let Some(settled) = self.settled() {
            return settled;
        }
        let _asking = self.asking.lock().await;
        // Another caller may have asked while this one waited.
        if self.settled().is_none() {
            self.query().await;
        }
        self.settled().flatten()
    }

    /// The number of enabled accounts, for an app that waits. Asks in the background if it is time to; see above for how
    /// long the app waits for that.
    pub async fn without_delay(self: &Arc<Self>) -> Option<u32> {
        if let Some(constant) = self.constant() {
            return constant;
        }
        let Cache { answer, failed } = *self.cache.lock();
        if !answer.is_some_and(|(_, at)| self.is_younger(at, self.lifetime / 2))
            && !self.has_just_failed(failed)
        {
            self.query_in_background();
        }
        if !answer.is_some_and(|(_, at)| self.is_younger(at, self.lifetime)) && failed.is_none() {
            // The query holds this until there is an answer.
            let _ = tokio::time::timeout(APP_TIMEOUT, self.asking.lock()).await;
        }
        let Cache { answer, failed } = *self.cache.lock();
        let (accounts, at) = answer?;
        (self.is_younger(at, self.lifetime) || failed.is_none()).then_some(accounts)
    }

    /// The last answer, however old. Never asks.
    pub fn last_known(&self) -> Option<u32> {
        self.constant().unwrap_or_else(|| self.cache.lock().answer.map(|(accounts, _)| accounts))
    }

    /// The number, if no source has to be asked for it.
    fn constant(&self) -> Option<Option<u32>> {
        match self.source {
            AccountSource::Unknown => Some(None),
            AccountSource::Fixed(accounts) => Some(Some(accounts)),
            AccountSource::Url(_) | AccountSource::Command(_) => None,
        }
    }

    /// The number, or that it is unknown, if there is no need to ask now.
    fn settled(&self) -> Option<Option<u32>> {
        let Cache { answer, failed } = *self.cache.lock();
        let valid = answer.filter(|(_, at)| self.is_younger(*at, self.lifetime));
        let known = valid.map(|(accounts, _)| Some(accounts));
        self.constant().or(known).or_else(|| self.has_just_failed(failed).then_some(None))
    }

    fn has_just_failed(&self, failed: Option<Timestamp>) -> bool {
        failed.is_some_and(|at| self.is_younger(at, AFTER_FAILURE.min(self.lifetime)))
    }

    /// Whether less than that has passed since `at`. False if the clock was set back.
    fn is_younger(&self, at: Timestamp, than: Duration) -> bool {
        let age = self.clock.now().duration_since(at);
        age >= SignedDuration::ZERO && age.unsigned_abs() < than
    }

    /// Asks, unless a query is in progress.
    fn query_in_background(self: &Arc<Self>) {
        let Ok(asking) = Arc::clone(&self.asking).try_lock_owned() else { return };
        let accounts = Arc::clone(self);
        tokio::spawn(async move {
            accounts.query().await;
            drop(asking);
        });
    }

    /// Asks. A failure does not clear the last answer.
    async fn query(&self) {
        let answer = async {
            match &self.source {
                AccountSource::Unknown | AccountSource::Fixed(_) => Err(QueryError::NotANumber),
                AccountSource::Url(url) => ask_url(&self.http, url).await,
                AccountSource::Command(words) => ask_command(words).await,
            }
        };
        let answer = tokio::time::timeout(QUERY_TIMEOUT, answer).await.unwrap_or(Err(QueryError::TooSlow));
        let outcome = if answer.is_ok() { "told" } else { "failed" };
        self.queries.with_label_values(&[outcome]).inc();
        let now = self.clock.now();
        let mut cache = self.cache.lock();
        match answer {
            Ok(accounts) => *cache = Cache { answer: Some((accounts, now)), failed: None },
            Err(reason) => {
                tracing::warn!(%reason, "the number of accounts is unknown");
                cache.failed = Some(now);
            }
        }
    }
}

async fn ask_url(http: &Client, url: &Url) -> Result<u32, QueryError> {
    let mut response = http.get(url.clone()).send().await.map_err(|_| QueryError::Request)?;
    if !response.status().is_success() {
        return Err(QueryError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| QueryError::Request)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(QueryError::NotANumber);
        }
    }
    read_count(&body).ok_or(QueryError::NotANumber)
}

async fn ask_command(words: &[String]) -> Result<u32, QueryError> {
    let [program, arguments @ ..] = words else { return Err(QueryError::NotANumber) };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(QueryError::NotRun)?;
    let mut group = ProcessGroup(child);
    let mut answer = Vec::new();
    if let Some(stdout) = group.0.stdout.take() {
        let one_too_many = MAX_ANSWER_BYTES as u64 + 1;
        stdout.take(one_too_many).read_to_end(&mut answer).await.map_err(QueryError::NotRun)?;
    }
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(QueryError::NotANumber);
    }
    let status = group.0.wait().await.map_err(QueryError::NotRun)?;
    if !status.success() {
        return Err(QueryError::Failed(status));
    }
    read_count(&answer).ok_or(QueryError::NotANumber)
}

/// A command and the processes that it started. Killed together if nobody waits for its end any more.
struct ProcessGroup(Child);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // After its end there is no id, which might be another process's by then.
        let leader = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// `12`, or `{"count": 12}` as the Pod Server answers.
fn read_count(answer: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Stats {
        count: u32,
    }

    let text = std::str::from_utf8(answer).ok()?.trim();
    text.parse().ok().or_else(|| serde_json::from_str(text).ok().map(|Stats { count }| count))
}

#[cfg(test)]
mod tests {
    use shared::clock::FixedClock;

    use super::*;

    fn accounts(command: &str, clock: Arc<FixedClock>) -> Arc<Accounts> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let words = ["sh", "-c", command].map(str::to_owned).to_vec();
        let queries = IntCounterVec::new(prometheus::Opts::new("queries", "x"), &["outcome"]).unwrap();
        let source = AccountSource::Command(words);
        Arc::new(Accounts::new(source, Duration::from_secs(3_600), clock, queries).unwrap())
    }

    fn clock() -> Arc<FixedClock> {
        Arc::new(FixedClock::new("2026-03-01T00:00:00Z".parse().unwrap()))
    }

    #[test]
    fn an_answer_is_a_number_or_an_object_with_a_count() {
        for (answer, expected) in [
            ("12\n", Some(12)),
            ("{\"count\": 12}", Some(12)),
            ("", None),
            ("-1", None),
            ("12 accounts", None),
            ("{\"count\": \"12\"}", None),
        ] {
            assert_eq!(read_count(answer.as_bytes()), expected, "{answer:?}");
        }
        assert_eq!(read_count(&[0xff]), None);
    }

    #[tokio::test]
    async fn the_source_is_asked_once_in_a_lifetime() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let clock = clock();
        let accounts = accounts(&format!("echo x >> {}; echo 12", asked.display()), clock.clone());
        let times = || std::fs::read_to_string(&asked).unwrap().len() / 2;
        assert_eq!(accounts.last_known(), None);
        let (one, two) = tokio::join!(accounts.fresh(), accounts.fresh());
        assert_eq!((one, two, times()), (Some(12), Some(12), 1));
        clock.advance(SignedDuration::from_mins(61));
        assert_eq!((accounts.last_known(), times()), (Some(12), 1));
        assert_eq!((accounts.fresh().await, times()), (Some(12), 2));
    }

    /// Waits for the query in the background.
    async fn heard(accounts: &Accounts) {
        drop(accounts.asking.lock().await);
    }

    #[tokio::test]
    async fn an_app_waits_for_a_source_that_hangs_for_a_second_and_only_until_it_has_failed_once() {
        let clock = clock();
        let accounts = accounts("sleep 600", clock.clone());
        let started = tokio::time::Instant::now();
        let apps = (0..50).map(|_| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move { accounts.without_delay().await })
        });
        for app in apps.collect::<Vec<_>>() {
            assert_eq!(app.await.unwrap(), None);
        }
        assert!(started.elapsed() < APP_TIMEOUT * 3, "{:?}", started.elapsed());
        heard(&accounts).await;
        for minutes in 0..3 {
            clock.advance(SignedDuration::from_mins(minutes));
            let started = tokio::time::Instant::now();
            assert_eq!(accounts.without_delay().await, None);
            assert!(started.elapsed() < APP_TIMEOUT, "{:?}", started.elapsed());
        }
    }

    #[tokio::test]
    async fn an_answer_is_valid_for_its_lifetime_while_the_source_fails_and_no_app_waits() {
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        std::fs::write(&answer, "echo 12").unwrap();
        let clock = clock();
        let accounts = accounts(&format!(". {}", answer.display()), clock.clone());
        assert_eq!(accounts.without_delay().await, Some(12));

        // In the second half of its lifetime it is refreshed in the background.
        std::fs::write(&answer, "echo 13").unwrap();
        clock.advance(SignedDuration::from_mins(29));
        assert_eq!(accounts.without_delay().await, Some(12));
        heard(&accounts).await;
        assert_eq!(accounts.last_known(), Some(12));
        clock.advance(SignedDuration::from_mins(2));
        assert_eq!(accounts.without_delay().await, Some(12));
        heard(&accounts).await;
        assert_eq!(accounts.without_delay().await, Some(13));

        // The source fails: the answer stays valid until its lifetime is over.
        std::fs::write(&answer, "exit 3").unwrap();
        for _ in 0..2 {
            clock.advance(SignedDuration::from_mins(29));
            assert_eq!(accounts.without_delay().await, Some(13));
            heard(&accounts).await;
            assert_eq!(accounts.without_delay().await, Some(13));
            assert_eq!(accounts.fresh().await, Some(13));
        }
        clock.advance(SignedDuration::from_mins(2));
        assert_eq!(accounts.without_delay().await, None);
        heard(&accounts).await;
        assert_eq!(accounts.without_delay().await, None);
        assert_eq!(accounts.fresh().await, None);

        // The source answers again, which a query in the background notices.
        std::fs::write(&answer, "echo 14").unwrap();
        clock.advance(SignedDuration::from_mins(2));
        assert_eq!(accounts.without_delay().await, None);
        heard(&accounts).await;
        assert_eq!(accounts.without_delay().await, Some(14));
    }

    /// Whether a process still runs. One that has ended may stay in the list as a zombie.
    fn is_at_work(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn a_command_that_prints_too_much_is_killed_with_the_processes_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let command = format!("sleep 600 & echo $! > {}; cat /dev/zero | cat", started.display());
        let accounts = accounts(&command, clock());
        let begun = tokio::time::Instant::now();
        assert_eq!(accounts.fresh().await, None);
        assert!(begun.elapsed() < QUERY_TIMEOUT, "it was read on until nobody waited any more");
        let id = std::fs::read_to_string(&started).unwrap();
        let deadline = begun + QUERY_TIMEOUT;
        while is_at_work(id.trim()) {
            assert!(tokio::time::Instant::now() < deadline, "it goes on");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_is_left_alone_for_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let clock = clock();
        let accounts = accounts(&format!("echo x >> {}; exit 3", asked.display()), clock.clone());
        let times = || std::fs::read_to_string(&asked).unwrap().len() / 2;
        assert_eq!(accounts.fresh().await, None);
        assert_eq!((accounts.fresh().await, times()), (None, 1));
        clock.advance(SignedDuration::from_secs(61));
        assert_eq!((accounts.fresh().await, times()), (None, 2));
    }
}
