//! A source of the number of enabled accounts → the number, remembered for its lifetime.
//!
//! One question at a time; an answer is taken for true as long as the operator says, also while the source fails, and
//! a source that fails is left alone for a minute. From half of its lifetime on, an answer is asked for anew in the
//! background. An app waits for the source, for a second, only where it has not failed and its last answer is too old.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Url};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use shared::clock::Clock;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::config::AccountSource;
use crate::metrics::Metrics;

/// How long a source may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an app waits for a source that is being asked.
const PATIENCE_OF_APPS: Duration = Duration::from_secs(1);
/// How long a source that failed is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The number of enabled accounts, and where it comes from.
#[derive(Debug)]
pub struct Accounts {
    source: AccountSource,
    lifetime: Duration,
    http: Client,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    heard: Mutex<Heard>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What was heard of the source.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// What it last told, and when.
    told: Option<(u32, Timestamp)>,
    /// When it failed, if it has not told since.
    failed: Option<Timestamp>,
}

/// Why the source did not tell.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
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
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(
        source: AccountSource,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> reqwest::Result<Self> {
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { source, lifetime, http, clock, metrics, heard: Mutex::default(), asking: Arc::default() })
    }

    /// Whether this is the same source with the same lifetime, so that what it answered stays true.
    pub fn is_from(&self, source: &AccountSource, lifetime: Duration) -> bool {
        self.source == *source && self.lifetime == lifetime
    }

    /// The number of enabled accounts; asks if nothing is known, or what is known is past its lifetime.
    pub async fn fresh(&self) -> Option<u32> {
        if let Some(known) = self.known() {
            return known;
        }
        let _asking = self.asking.lock().await;
        // Somebody else may have asked while this waited.
        if let Some(known) = self.known() {
            return known;
        }
        self.ask_and_remember().await;
        self.known().flatten()
    }

    /// The number of enabled accounts for an app that waits for an answer. If it is time to ask, somebody else does; the
    /// app waits for that, for a second, only where there is no answer within its lifetime and the source has not failed.
    pub async fn without_delay(self: &Arc<Self>) -> Option<u32> {
        if self.is_due() {
            self.ask_in_background();
        }
        if self.is_worth_waiting_for() {
            // Who asks holds this until there is an answer.
            let _ = tokio::time::timeout(PATIENCE_OF_APPS, self.asking.lock()).await;
        }
        let heard = self.heard();
        match self.source {
            AccountSource::Unknown => None,
            AccountSource::Fixed(accounts) => Some(accounts),
            AccountSource::Url(_) | AccountSource::Command(_) => {
                let (accounts, at) = heard.told?;
                (self.is_younger(at, self.lifetime) || heard.failed.is_none()).then_some(accounts)
            }
        }
    }

    /// The number of enabled accounts as it was last told. Never asks.
    pub fn last_told(&self) -> Option<u32> {
        match self.source {
            AccountSource::Fixed(accounts) => Some(accounts),
            _ => self.heard().told.map(|(accounts, _)| accounts),
        }
    }

    /// What need not be asked for now.
    fn known(&self) -> Option<Option<u32>> {
        match self.source {
            AccountSource::Unknown => return Some(None),
            AccountSource::Fixed(accounts) => return Some(Some(accounts)),
            AccountSource::Url(_) | AccountSource::Command(_) => {}
        }
        let Heard { told, failed } = self.heard();
        if let Some((accounts, at)) = told
            && self.is_younger(at, self.lifetime)
        {
            return Some(Some(accounts));
        }
        failed.filter(|at| self.is_younger(*at, AFTER_FAILURE.min(self.lifetime))).map(|_| None)
    }

    /// Whether to ask, though what was told may still be true.
    fn is_due(&self) -> bool {
        let Heard { told, failed } = self.heard();
        self.can_be_asked()
            && !told.is_some_and(|(_, at)| self.is_younger(at, self.lifetime / 2))
            && !failed.is_some_and(|at| self.is_younger(at, AFTER_FAILURE.min(self.lifetime)))
    }

    /// Whether there is no answer within its lifetime, and the source has not failed since the last one.
    fn is_worth_waiting_for(&self) -> bool {
        let Heard { told, failed } = self.heard();
        let is_told = told.is_some_and(|(_, at)| self.is_younger(at, self.lifetime));
        self.can_be_asked() && !is_told && failed.is_none()
    }

    fn can_be_asked(&self) -> bool {
        matches!(self.source, AccountSource::Url(_) | AccountSource::Command(_))
    }

    fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether less than that has passed since. A clock that was set back tells nothing.
    fn is_younger(&self, at: Timestamp, than: Duration) -> bool {
        let age = self.clock.now().duration_since(at);
        age >= SignedDuration::ZERO && age.unsigned_abs() < than
    }

    /// Asks, if nobody does already.
    fn ask_in_background(self: &Arc<Self>) {
        let Ok(asking) = Arc::clone(&self.asking).try_lock_owned() else { return };
        let accounts = Arc::clone(self);
        tokio::spawn(async move {
            accounts.ask_and_remember().await;
            drop(asking);
        });
    }

    /// Asks. What was told before a failure is not forgotten.
    async fn ask_and_remember(&self) {
        let asked = async {
            match &self.source {
                AccountSource::Unknown => Ok(None),
                AccountSource::Fixed(accounts) => Ok(Some(*accounts)),
                AccountSource::Url(url) => ask_url(&self.http, url).await.map(Some),
                AccountSource::Command(words) => ask_command(words).await.map(Some),
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(NoAnswer::TooSlow));
        self.metrics.asked_for_accounts(if answer.is_ok() { "told" } else { "failed" });
        let now = self.clock.now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(accounts) => {
                *heard = Heard { told: accounts.map(|accounts| (accounts, now)), failed: None };
            }
            Err(reason) => {
                tracing::warn!(%reason, "the number of accounts is not told");
                heard.failed = Some(now);
            }
        }
    }
}

async fn ask_url(http: &Client, url: &Url) -> Result<u32, NoAnswer> {
    let mut response = http.get(url.clone()).send().await.map_err(|_| NoAnswer::Request)?;
    if !response.status().is_success() {
        return Err(NoAnswer::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| NoAnswer::Request)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(NoAnswer::NotANumber);
        }
    }
    read_count(&body).ok_or(NoAnswer::NotANumber)
}

async fn ask_command(words: &[String]) -> Result<u32, NoAnswer> {
    let [program, arguments @ ..] = words else { return Err(NoAnswer::NotANumber) };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(NoAnswer::NotRun)?;
    let mut group = Group(child);
    let mut answer = Vec::new();
    if let Some(stdout) = group.0.stdout.take() {
        let one_too_many = MAX_ANSWER_BYTES as u64 + 1;
        stdout.take(one_too_many).read_to_end(&mut answer).await.map_err(NoAnswer::NotRun)?;
    }
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(NoAnswer::NotANumber);
    }
    let status = group.0.wait().await.map_err(NoAnswer::NotRun)?;
    if !status.success() {
        return Err(NoAnswer::Failed(status));
    }
    read_count(&answer).ok_or(NoAnswer::NotANumber)
}

/// A command and whatever it has started, killed together if nobody waits for its end any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Once its end is known there is no id, which might be somebody else's by then.
        let leader = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(leader) = leader {
            // It may just have ended.
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
        crate::app::install_crypto();
        let words = ["sh", "-c", command].map(str::to_owned).to_vec();
        let metrics = Arc::new(Metrics::new().unwrap());
        let source = AccountSource::Command(words);
        Arc::new(Accounts::new(source, Duration::from_secs(3_600), clock, metrics).unwrap())
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
        assert_eq!(accounts.last_told(), None);
        let (one, two) = tokio::join!(accounts.fresh(), accounts.fresh());
        assert_eq!((one, two, times()), (Some(12), Some(12), 1));
        clock.advance(SignedDuration::from_mins(61));
        assert_eq!((accounts.last_told(), times()), (Some(12), 1));
        assert_eq!((accounts.fresh().await, times()), (Some(12), 2));
    }

    /// Until whoever asks in the background has heard.
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
        assert!(started.elapsed() < PATIENCE_OF_APPS * 3, "{:?}", started.elapsed());
        heard(&accounts).await;
        for minutes in 0..3 {
            clock.advance(SignedDuration::from_mins(minutes));
            let started = tokio::time::Instant::now();
            assert_eq!(accounts.without_delay().await, None);
            assert!(started.elapsed() < PATIENCE_OF_APPS, "{:?}", started.elapsed());
        }
    }

    #[tokio::test]
    async fn what_was_told_is_true_for_its_lifetime_while_the_source_fails_and_no_app_waits() {
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        std::fs::write(&answer, "echo 12").unwrap();
        let clock = clock();
        let accounts = accounts(&format!(". {}", answer.display()), clock.clone());
        assert_eq!(accounts.without_delay().await, Some(12));

        // In the second half of its lifetime it is asked for in the background.
        std::fs::write(&answer, "echo 13").unwrap();
        clock.advance(SignedDuration::from_mins(29));
        assert_eq!(accounts.without_delay().await, Some(12));
        heard(&accounts).await;
        assert_eq!(accounts.last_told(), Some(12));
        clock.advance(SignedDuration::from_mins(2));
        assert_eq!(accounts.without_delay().await, Some(12));
        heard(&accounts).await;
        assert_eq!(accounts.without_delay().await, Some(13));

        // It fails: what was told stays true until its lifetime is over.
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

        // It answers again, which is heard in the background.
        std::fs::write(&answer, "echo 14").unwrap();
        clock.advance(SignedDuration::from_mins(2));
        assert_eq!(accounts.without_delay().await, None);
        heard(&accounts).await;
        assert_eq!(accounts.without_delay().await, Some(14));
    }

    /// Whether a process does something still. One that has ended may stay in the list until somebody asks for it.
    fn is_at_work(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn a_command_that_says_too_much_is_ended_with_whatever_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let started = folder.path().join("started");
        let command = format!("sleep 600 & echo $! > {}; cat /dev/zero | cat", started.display());
        let accounts = accounts(&command, clock());
        let begun = tokio::time::Instant::now();
        assert_eq!(accounts.fresh().await, None);
        assert!(begun.elapsed() < PATIENCE, "it was read on until nobody waited any more");
        let id = std::fs::read_to_string(&started).unwrap();
        let deadline = begun + PATIENCE;
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
