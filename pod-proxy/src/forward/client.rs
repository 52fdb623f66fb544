//! Filtered events → requests to the vendor, and the answers → [`Answer`].
//!
//! One method, two routes, and always the same headers: `host`, `content-type`, `content-length` and `accept`.
//! No redirection is followed, no cookie kept, no answer waited for without end.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Response, Url};
use serde::Deserialize;

use super::retry::{self, Verdict};
use crate::config::Config;
use crate::filter::FilteredEvent;

/// The longest answer that is read, in bytes. One for 500 events that are all rejected has some 150,000.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How long a connection stays open for the next batch.
const IDLE: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `ca_file` cannot be read.
    #[error("cannot read `ca_file` {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up HTTPS: {0}")]
    Tls(reqwest::Error),
}

/// What the vendor made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The vendor has it, but for the events with these indices, which it will never take.
    Taken {
        /// Positions in the batch.
        rejected: Vec<usize>,
    },
    /// The vendor does not know the route.
    NoSuchRoute,
    /// The batch was too large.
    TooLarge,
    /// The vendor will never take it.
    Refused,
    /// Not now.
    Later {
        /// What happened, as a metric label.
        reason: &'static str,
        /// How long the vendor asked to wait.
        asked: Option<Duration>,
        /// Whether anything may have left at all.
        left: bool,
    },
}

impl Answer {
    /// The outcome as a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::NoSuchRoute => "no_such_route",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Later { reason, .. } => reason,
        }
    }
}

/// A client of the vendor's API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    one: Url,
    many: Url,
}

/// What a vendor answers to a batch.
#[derive(Deserialize)]
struct BatchAnswer {
    #[serde(default)]
    rejected: Vec<RejectedEvent>,
}

#[derive(Deserialize)]
struct RejectedEvent {
    index: usize,
}

impl Client {
    /// # Errors
    /// If the certificates cannot be read, or TLS cannot be set up.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .default_headers(HeaderMap::new());
        if is_loopback(&config.vendor_url) {
            // `HTTPS_PROXY` and its like are for what is outside.
            builder = builder.no_proxy();
        }
        if let Some(path) = &config.ca_file {
            let unreadable = |reason: String| ClientError::CaFile { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unreadable("there is no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let route = |name: &str| {
            let mut url = config.vendor_url.clone();
            url.set_path(&format!("{}/v1/analytics/{name}", url.path().trim_end_matches('/')));
            url
        };
        let http = builder.build().map_err(ClientError::Tls)?;
        Ok(Self { http, one: route("event"), many: route("events") })
    }

    /// Sends many events in one request.
    pub async fn send_many(&self, events: &[FilteredEvent], now: Timestamp) -> Answer {
        match serde_json::to_vec(events) {
            Ok(body) => self.post(&self.many, body, now).await,
            Err(_) => Answer::Refused,
        }
    }

    /// Sends one event, to a vendor who does not take many.
    pub async fn send_one(&self, event: &FilteredEvent, now: Timestamp) -> Answer {
        match serde_json::to_vec(event) {
            Ok(body) => self.post(&self.one, body, now).await,
            Err(_) => Answer::Refused,
        }
    }

    async fn post(&self, url: &Url, body: Vec<u8>, now: Timestamp) -> Answer {
        let request = self.http.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let reason = if error.is_timeout() { "timeout" } else { "unreachable" };
                return Answer::Later { reason, asked: None, left: !error.is_connect() };
            }
        };
        let status = response.status().as_u16();
        match retry::verdict(status) {
            Verdict::Settled => Answer::Taken { rejected: rejected(response).await },
            Verdict::NoSuchRoute => Answer::NoSuchRoute,
            Verdict::TooLarge => Answer::TooLarge,
            Verdict::Discard => Answer::Refused,
            Verdict::Later => {
                let asked = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok());
                let asked = asked.and_then(|header| retry::retry_after(header, now));
                let reason = if status == 429 { "too_many_requests" } else { "vendor_failure" };
                Answer::Later { reason, asked, left: true }
            }
        }
    }
}

/// The indices that a batch's answer rejects. An answer that says something else, or nothing, rejects none: the
/// status has already said that the batch arrived.
async fn rejected(mut response: Response) -> Vec<usize> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Vec::new();
        }
    }
    let answer = serde_json::from_slice(&body).unwrap_or(BatchAnswer { rejected: Vec::new() });
    answer.rejected.into_iter().map(|RejectedEvent { index }| index).collect()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
