//! The answers of the insights API → the published numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use ingest_api::access::{Token, expiry};
use ingest_api::app::App;
use ingest_api::insight::Insight;
use ingest_api::release::{Family, Population};
use ingest_api::store::tokens::StoredToken;
use ingest_api::window::{Window, WindowKind};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use crate::stack::client;
use crate::truth::Releases;

/// A reader of the insights API.
#[derive(Clone, Debug)]
pub struct Reader {
    http: reqwest::Client,
    /// The service, such as `http://127.0.0.1:8280`.
    base: String,
    token: String,
}

/// Everything that is served.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The numbers.
    pub releases: Releases,
    /// The released windows, also those without a published number.
    pub windows: BTreeSet<Window>,
    /// The domains of Pods that opted in, with the Monday of the week of their last report.
    pub domains: BTreeSet<(String, String)>,
}

impl Reader {
    /// A reader of that service, with a token that is valid for a day and may read domains.
    ///
    /// # Errors
    /// If no token or client can be made.
    pub async fn of(vendor: &App, now: Timestamp) -> anyhow::Result<Self> {
        let token = Token::generate();
        let expires_at = expiry(now, Duration::from_secs(86_400));
        let stored = StoredToken { name: "checker".to_owned(), may_read_domains: true, expires_at };
        let database = &vendor.database().database;
        database.delete_token(&stored.name).await?;
        database.insert_token(&stored, &token.digest()).await?;
        let base = format!("http://{}", vendor.address());
        Ok(Self { http: client()?, base, token: token.reveal().to_owned() })
    }

    /// A reader of the service at `base`, such as `http://127.0.0.1:8280`, with a given token.
    ///
    /// # Errors
    /// If no client can be made.
    pub fn with_token(base: &str, token: &str) -> anyhow::Result<Self> {
        Ok(Self { http: client()?, base: base.to_owned(), token: token.to_owned() })
    }

    /// The body of an answer, unchanged.
    ///
    /// # Errors
    /// If there is no successful answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(text)
    }

    /// Reads all insights of all windows that start in `[from, to]`.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub async fn everything(&self, from: Date, to: Date) -> anyhow::Result<Served> {
        let mut served = Served::default();
        for insight in Insight::ALL {
            let path = format!("/v1/insights/{}", insight.as_str());
            let Some(family) = insight.family() else {
                let answer: Value = serde_json::from_str(&self.get(&path).await?)?;
                for seen in answer["domains"].as_array().context("domains")? {
                    served.domains.insert((text(&seen["domain"])?, text(&seen["last_seen_week"])?));
                }
                continue;
            };
            for kind in WindowKind::ALL {
                let query = format!("{path}?window={}&from={from}&to={to}", kind.as_str());
                let answer: Value = serde_json::from_str(&self.get(&query).await?)?;
                for window in answer["windows"].as_array().context("windows")? {
                    served.read(kind, family, window)?;
                }
            }
        }
        served.releases.values_mut().for_each(|numbers| numbers.sort());
        Ok(served)
    }
}

impl Served {
    fn read(&mut self, kind: WindowKind, family: Family, answered: &Value) -> anyhow::Result<()> {
        let window = Window::of_day(kind, text(&answered["start"])?.parse()?);
        self.windows.insert(window);
        for block in answered["blocks"].as_array().context("blocks")? {
            let count = block["count"].as_u64().context("count")?;
            let mut label = text(&block["label"])?;
            let population = match (answered["population"].as_str(), label.as_str()) {
                (Some(population), _) => Population::parse(population).context("population")?,
                // Reach: both populations side by side.
                (None, "proxied") => Population::Pod,
                (None, _) => Population::Direct,
            };
            if family == Family::INSTALLATIONS {
                "all".clone_into(&mut label);
            }
            self.releases.entry((window, population, family)).or_default().push((label, count));
        }
        Ok(())
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("a text")
}
