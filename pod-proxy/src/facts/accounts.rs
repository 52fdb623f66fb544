//! A source of the number of enabled accounts → the number, remembered for its lifetime.
//!
//! Nobody waits for the source twice: one request at a time, an answer is taken for true as long as the operator
//! says, and a source that fails is left alone for a minute.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Url};
use serde::Deserialize;
use shared::clock::Clock;

use crate::config::AccountSource;
use crate::metrics::Metrics;

/// How long a source may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
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
    answer: Mutex<Option<Answer>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    accounts: Option<u32>,
    at: Timestamp,
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
        Ok(Self {
            source,
            lifetime,
            http,
            clock,
            metrics,
            answer: Mutex::new(None),
            asking: Default::default(),
        })
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
        let accounts = match self.ask().await {
            Ok(accounts) => accounts,
            Err(reason) => {
                tracing::warn!(%reason, "the number of accounts is not known");
                None
            }
        };
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Answer { accounts, at: self.clock.now() });
        accounts
    }

    /// The number of enabled accounts as it was last told. Never asks.
    pub fn last_told(&self) -> Option<u32> {
        match self.source {
            AccountSource::Fixed(accounts) => Some(accounts),
            _ => {
                self.answer.lock().unwrap_or_else(PoisonError::into_inner).and_then(|answer| answer.accounts)
            }
        }
    }

    /// What need not be asked for now.
    fn known(&self) -> Option<Option<u32>> {
        match self.source {
            AccountSource::Unknown => return Some(None),
            AccountSource::Fixed(accounts) => return Some(Some(accounts)),
            AccountSource::Url(_) | AccountSource::Command(_) => {}
        }
        let answer = (*self.answer.lock().unwrap_or_else(PoisonError::into_inner))?;
        let lifetime =
            if answer.accounts.is_some() { self.lifetime } else { AFTER_FAILURE.min(self.lifetime) };
        let age = self.clock.now().duration_since(answer.at);
        let fresh = age >= SignedDuration::ZERO && age.unsigned_abs() < lifetime;
        fresh.then_some(answer.accounts)
    }

    async fn ask(&self) -> Result<Option<u32>, NoAnswer> {
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
        answer
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
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(NoAnswer::NotRun)?;
    if !output.status.success() {
        return Err(NoAnswer::Failed(output.status));
    }
    read_count(&output.stdout).ok_or(NoAnswer::NotANumber)
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

    fn accounts(command: &str, clock: Arc<FixedClock>) -> Accounts {
        crate::app::install_crypto();
        let words = ["sh", "-c", command].map(str::to_owned).to_vec();
        let metrics = Arc::new(Metrics::new().unwrap());
        Accounts::new(AccountSource::Command(words), Duration::from_secs(3_600), clock, metrics).unwrap()
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
