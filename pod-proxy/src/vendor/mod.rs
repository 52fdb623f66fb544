//! Filtered events → requests to the vendor, and what it answered → [`Answer`].
//!
//! There is one method, two routes, and always the same headers: `host`, `content-type`, `content-length` and `accept`.
//! No redirection is followed, no cookie is stored, and every request has a timeout.

mod answer;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Response, Url};
use serde::Deserialize;

pub use self::answer::{Answer, MAX_RETRY_AFTER, parse_retry_after};
use crate::config::Config;
use crate::filter::FilteredEvent;

/// The longest answer that is read, in bytes. One that rejects 500 events has some 150,000.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How long a connection stays open for the next batch.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot read `ca_file` {}: {reason}", path.display())]
    CaFile { path: PathBuf, reason: String },
    #[error("cannot set up HTTPS: {0}")]
    Tls(reqwest::Error),
}

/// How many events a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    One,
    Many,
}

/// A client of the vendor's API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    one: Url,
    many: Url,
}

#[derive(Default, Deserialize)]
struct BatchAnswer {
    #[serde(default)]
    rejected: Vec<RejectedEvent>,
}

#[derive(Deserialize)]
struct RejectedEvent {
    index: usize,
}

impl Client {
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .default_headers(HeaderMap::new());
        if is_loopback(&config.vendor_url) {
            // `HTTPS_PROXY` and the like are for destinations outside.
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

    /// Sends `events` in one request; over [`Route::One`] only the first of them.
    pub async fn send(&self, route: Route, events: &[FilteredEvent], now: Timestamp) -> Answer {
        let (url, body) = match route {
            Route::One => (&self.one, serde_json::to_vec(&events.first())),
            Route::Many => (&self.many, serde_json::to_vec(events)),
        };
        let Ok(body) = body else { return Answer::Refused };
        let request = self.http.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let reason = if error.is_timeout() { "timeout" } else { "unreachable" };
                return Answer::Later { reason, retry_after: None, left: !error.is_connect() };
            }
        };
        let header = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok());
        let retry_after = header.and_then(|header| parse_retry_after(header, now));
        match Answer::of_status(response.status().as_u16(), retry_after) {
            Answer::Taken { .. } => Answer::Taken { rejected: rejected(response).await },
            answer => answer,
        }
    }
}

/// The positions that the answer to a batch rejects. An answer without them rejects none: its status has already said
/// that the batch arrived.
async fn rejected(mut response: Response) -> Vec<usize> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Vec::new();
        }
    }
    let answer: BatchAnswer = serde_json::from_slice(&body).unwrap_or_default();
    answer.rejected.into_iter().map(|RejectedEvent { index }| index).collect()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
