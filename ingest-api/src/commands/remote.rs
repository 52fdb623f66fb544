//! A service that is reached over HTTP → the releases and domains that its answers are made of.
//!
//! They are answered from again here, by the code that the service has: what is printed is the same as next to the
//! database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::civil::Date;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::config::Mistake;

use crate::insight::Insight;
use crate::release::{Family, Population};
use crate::release::{Release, ReleasedBlock};
use crate::window::{Window, WindowKind};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where to ask, instead of the database.
#[derive(Args)]
pub(super) struct Remote {
    /// Ask the service there, such as https://insights.example.org, instead of the database.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// A file with the token for it. Without one, INGEST_TOKEN may hold the token itself.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    #[arg(long, env = "INGEST_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url.is_some()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answered {
    windows: Vec<AnsweredWindow>,
}

#[derive(Deserialize)]
struct AnsweredWindow {
    start: String,
    population: Option<String>,
    blocks: Vec<AnsweredBlock>,
}

#[derive(Deserialize)]
struct AnsweredBlock {
    label: String,
    count: u64,
}

#[derive(Deserialize)]
struct AnsweredDomains {
    domains: Vec<AnsweredDomain>,
}

#[derive(Deserialize)]
struct AnsweredDomain {
    domain: String,
    last_seen_week: String,
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: Option<String>,
}

/// A service, and the token for it.
#[derive(Debug)]
pub(super) struct Service {
    http: Client,
    url: Url,
    token: Option<String>,
}

impl Remote {
    /// What is wrong with where to ask.
    pub(super) fn mistake(&self) -> Option<Mistake> {
        let url = self.url.as_ref()?;
        let host = url.host_str().unwrap_or("");
        let is_here = host == "localhost"
            || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let is_private = url.scheme() == "https" || url.scheme() == "http" && is_here;
        let problem = "must begin with https://, or the token would be read on its way";
        (!is_private).then(|| Mistake::new("--url", problem))
    }

    /// The service that is named, if one is.
    pub(super) fn service(&self) -> anyhow::Result<Option<Service>> {
        let Some(url) = self.url.clone() else { return Ok(None) };
        if let Some(wrong) = self.mistake() {
            bail!("{wrong}");
        }
        let token = match &self.token_file {
            Some(file) => Some(
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
            ),
            None => self.token.clone(),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        // The error says that somebody else was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Some(Service { http, url, token }))
    }
}

impl Service {
    /// The releases of the windows that start in a period, oldest first; the newest one only, if no end is given.
    pub(super) async fn releases(
        &self,
        insight: Insight,
        family: Family,
        kind: WindowKind,
        [from, to]: [Option<Date>; 2],
    ) -> anyhow::Result<Vec<Release>> {
        let mut query = vec![("window", kind.as_str().to_owned())];
        query.extend(from.map(|day| ("from", day.to_string())));
        query.extend(to.map(|day| ("to", day.to_string())));
        let Answered { windows } = self.get(insight, &query).await?;
        let mut releases: BTreeMap<Window, Vec<ReleasedBlock>> = BTreeMap::new();
        for answered in windows {
            let blocks = releases.entry(Window::of_day(kind, day(&answered.start)?)).or_default();
            for block in answered.blocks {
                blocks.push(released(insight, family, answered.population.as_deref(), block)?);
            }
        }
        Ok(releases.into_iter().map(|(window, blocks)| Release::restored(window, blocks)).collect())
    }

    /// The opt-in domains.
    pub(super) async fn domains(&self) -> anyhow::Result<Vec<(String, Date)>> {
        let AnsweredDomains { domains } = self.get(Insight::Domains, &[]).await?;
        domains.into_iter().map(|seen| Ok((seen.domain, day(&seen.last_seen_week)?))).collect()
    }

    async fn get<T: DeserializeOwned>(
        &self,
        insight: Insight,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/v1/insights/{}", url.path().trim_end_matches('/'), insight.as_str()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.get(url).header(reqwest::header::ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.without_url())?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.without_url())?;
        if status != StatusCode::OK {
            let problem = serde_json::from_slice(&body).ok();
            let Some(Problem { title, detail }) = problem else { bail!("the service answered {status}") };
            bail!("{title}. {}", detail.unwrap_or_default());
        }
        serde_json::from_slice(&body).context("the service is of another version, or none of ours")
    }
}

fn day(text: &str) -> anyhow::Result<Date> {
    text.parse().context("the service is of another version: it writes days otherwise")
}

/// A block as it was released, from how it is answered.
fn released(
    insight: Insight,
    family: Family,
    population: Option<&str>,
    AnsweredBlock { label, count }: AnsweredBlock,
) -> anyhow::Result<ReleasedBlock> {
    // How many use Prose without a Pod: both populations side by side.
    let (population, label) = match (insight, label.as_str()) {
        (Insight::Reach, "proxied") => (Some(Population::Pod), "all".to_owned()),
        (Insight::Reach, "direct") => (Some(Population::Direct), "all".to_owned()),
        _ => (population.and_then(Population::parse), label),
    };
    let population = population.context("the service is of another version: it knows another population")?;
    Ok(ReleasedBlock { population, family, label, published: count })
}
