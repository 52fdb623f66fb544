//! A service that is reached over HTTP → its answers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::civil::Date;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::app::AppName;
use shared::config::Mistake;

use crate::insight::{Answer, Cut, DomainsAnswer, Insight};
use crate::window::WindowKind;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The service to ask instead of the database.
#[derive(Args)]
pub(super) struct Remote {
    /// Ask the service at this URL, such as https://insights.example.org, instead of the database.
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// A file with the token for `--url`. Without it, INGEST_TOKEN may hold the token itself.
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
struct ProblemAnswer {
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
    /// What is wrong with `--url`.
    pub(super) fn mistake(&self) -> Option<Mistake> {
        let url = self.url.as_ref()?;
        let host = url.host_str().unwrap_or("");
        let is_here = host == "localhost"
            || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let is_private = url.scheme() == "https" || url.scheme() == "http" && is_here;
        let problem = "must begin with https://, because others could read the token on its way";
        (!is_private).then(|| Mistake::new("--url", problem))
    }

    /// The service of `--url`, if it is given.
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
        // An error says that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Some(Service { http, url, token }))
    }
}

impl Service {
    /// The answer about the windows that start in a period; about the newest one only, without a period.
    pub(super) async fn answer(
        &self,
        insight: Insight,
        kind: WindowKind,
        [from, to]: [Option<Date>; 2],
        below: Option<Cut>,
    ) -> anyhow::Result<Answer> {
        let mut query = vec![("window", kind.as_str().to_owned())];
        query.extend(from.map(|day| ("from", day.to_string())));
        query.extend(to.map(|day| ("to", day.to_string())));
        if let Some(Cut { app, version }) = below {
            query.push(("below", version.to_string()));
            query.extend(app.map(|app: AppName| ("app", app.as_str().to_owned())));
        }
        let answer: Answer = self.get(insight, &query).await?;
        Ok(Answer { asked_below: below.is_some(), ..answer })
    }

    /// The opt-in domains.
    pub(super) async fn domains(&self) -> anyhow::Result<DomainsAnswer> {
        self.get(Insight::Domains, &[]).await
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
            let Some(ProblemAnswer { title, detail }) = problem else {
                bail!("the service answered {status}")
            };
            bail!("{title}. {}", detail.unwrap_or_default());
        }
        serde_json::from_slice(&body).context("the service has another version, or is not ingest-api")
    }
}
