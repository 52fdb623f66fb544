//! Both services in this process, on real sockets and disks, with a stopped clock: accepts what a fleet
//! sends.
//!
//! Each of the first Pods of the fleet has a proxy, to which its apps post one by one. For the other Pods,
//! the proxy's own filter processes the events, and they go to the vendor in batches that are already
//! proxied. Installations without a Pod post to the vendor.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use ingest_api::app::Schedule;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use pod_proxy::app::StartOptions;
use pod_proxy::facts::PodFacts;
use pod_proxy::filter::{self, FilteredEvent, PodReport, Report};
use pod_proxy::forward::Ended;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::header::CONTENT_TYPE;
use shared::clock::{Clock, FixedClock};
use shared::config::parse_toml;
use shared::event::{Event, Observed};
use shared::policy::Policy;

use crate::fleet::{Day, Fleet, Pod, PodDay, Sent, shuffle};
use crate::lanes::spread;
use crate::served::Reader;

/// How many requests run at a time.
const LANES: usize = 24;
/// How many events a batch of a Pod without a proxy has.
const BATCH: usize = 800;

/// Both services.
#[derive(Debug)]
pub struct Stack {
    clock: Arc<FixedClock>,
    vendor: ingest_api::app::App,
    proxies: Vec<Proxy>,
    /// The policies of all Pods, in the order of the fleet.
    policies: Vec<Policy>,
    http: reqwest::Client,
}

#[derive(Debug)]
struct Proxy {
    app: pod_proxy::app::App,
    /// The constant part of its configuration.
    base: String,
    /// Its current configuration file.
    config: String,
}

/// What passed through on a day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// Events of apps through a proxy, one request each.
    pub to_proxies: usize,
    /// Events in batches to the vendor.
    pub handed_over: usize,
    /// Events of apps without a Pod, one request each.
    pub direct: usize,
}

/// The configuration of the vendor's service with everything in `folder`, on free ports. It has no limits for
/// a network, because a whole fleet sends from this machine.
pub fn vendor_config(folder: &Path) -> ingest_api::config::Config {
    let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    ingest_api::config::Config {
        listen: anywhere,
        metrics_listen: anywhere,
        limits: None,
        ..ingest_api::config::Config::in_directory(folder)
    }
}

/// A temporary folder that other users can enter: Postgres runs as another user.
///
/// # Errors
/// If it cannot be created.
pub fn folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("prose-e2e-").permissions(fs::Permissions::from_mode(0o711)).tempdir()
}

/// A client that talks to this machine only.
///
/// # Errors
/// If it cannot be created.
pub fn client() -> anyhow::Result<reqwest::Client> {
    pod_proxy::app::install_crypto();
    Ok(reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(60)).build()?)
}

impl Stack {
    /// Starts the vendor's service, and a proxy for each Pod that gets one. Stores everything in `folder`.
    ///
    /// # Errors
    /// If one of them does not start.
    pub async fn start(fleet: &Fleet, folder: &Path) -> anyhow::Result<Self> {
        let clock = Arc::new(FixedClock::new(at(fleet.first_day(), 0)));
        let config = vendor_config(&folder.join("vendor"));
        let vendor = ingest_api::app::App::start(config, clock.clone(), Schedule::OnCall).await?;
        let mut stack = Self {
            clock,
            vendor,
            proxies: Vec::new(),
            policies: fleet.pods().iter().map(policy).collect::<anyhow::Result<_>>()?,
            http: client()?,
        };
        for (number, pod) in fleet.pods().iter().take(fleet.size().real_pods).enumerate() {
            let data_dir = folder.join(format!("pod-{number}"));
            match stack.start_proxy(pod, &data_dir).await {
                Ok(proxy) => stack.proxies.push(proxy),
                Err(error) => {
                    stack.shutdown().await;
                    return Err(error).context(format!("the proxy of the policy {}", pod.policy.name));
                }
            }
        }
        Ok(stack)
    }

    async fn start_proxy(&self, pod: &Pod, data_dir: &Path) -> anyhow::Result<Proxy> {
        // The fleet's salt, so that a test can search for what was made with it.
        fs::create_dir_all(data_dir)?;
        let mut salt = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(data_dir.join("salt"))?;
        std::io::Write::write_all(&mut salt, pod.salt.as_bytes())?;
        let base = format!(
            "{}\n[pod_proxy]\ndomain = '{}'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://{}/_api/cloud'\ndata_dir = '{}'\n",
            pod.policy.toml,
            pod.domain().as_str(),
            self.vendor.address(),
            data_dir.display(),
        );
        let clock: Arc<dyn Clock> = self.clock.clone();
        let config = pod_proxy::config::Config::from_toml(&base)?;
        let app = pod_proxy::app::App::start(config, StartOptions { clock, background: false }).await?;
        Ok(Proxy { app, config: base.clone(), base })
    }

    /// The vendor's service.
    pub fn vendor(&self) -> &ingest_api::app::App {
        &self.vendor
    }

    /// A reader of the vendor's insights.
    ///
    /// # Errors
    /// If no token or client can be made.
    pub async fn reader(&self) -> anyhow::Result<Reader> {
        Reader::of(&self.vendor, self.clock.now()).await
    }

    /// Advances the clock without any report to six o'clock of that day, and releases what is over then.
    ///
    /// # Errors
    /// If a window cannot be closed.
    pub async fn wait_until(&self, day: Date) -> anyhow::Result<()> {
        self.clock.set(at(day, 6));
        self.vendor.run_jobs().await?;
        Ok(())
    }

    /// Sends the events of a day, ends the day, and releases what is over. `times` is how often the Pods
    /// report on themselves.
    ///
    /// # Errors
    /// If anything is not accepted as it should be.
    pub async fn play(&mut self, fleet: &Fleet, day: &Day, times: usize) -> anyhow::Result<Passed> {
        self.clock.set(at(day.date, 10));
        let mut passed = Passed::default();
        let mut posts: Vec<(String, String)> = Vec::new();
        for today in &day.pods {
            let Some(proxy) = self.proxies.get_mut(today.pod) else { continue };
            proxy.upgrade(today).await?;
            let url = proxy.app.event_url();
            posts.extend(today.events.iter().map(|Sent { json, .. }| (url.clone(), json.clone())));
        }
        passed.to_proxies = posts.len();
        let url = self.vendor_url("event");
        posts.extend(day.direct.iter().map(|Sent { json, .. }| (url.clone(), json.clone())));
        passed.direct = day.direct.len();
        let mut rng = StdRng::seed_from_u64(u64::from(day.number));
        shuffle(&mut rng, &mut posts);
        let http = self.http.clone();
        spread(LANES, posts, move |(url, body)| {
            let http = http.clone();
            async move { post(&http, &url, body).await.map(drop) }
        })
        .await?;

        self.clock.set(at(day.date, 18));
        let mut events = self.filtered(fleet, day, times)?;
        passed.handed_over = events.len();
        shuffle(&mut rng, &mut events);
        let bodies: Vec<_> = events.chunks(BATCH).map(serde_json::to_string).collect::<Result<_, _>>()?;
        let (http, url) = (self.http.clone(), self.vendor_url("events"));
        spread(2, bodies, move |body| {
            let (http, url) = (http.clone(), url.clone());
            async move {
                let answer: serde_json::Value = serde_json::from_str(&post(&http, &url, body).await?)?;
                ensure!(
                    answer["rejected"].as_array().is_some_and(Vec::is_empty),
                    "the vendor rejected {answer}"
                );
                Ok(())
            }
        })
        .await?;

        self.clock.set(at(day.date, 22));
        for today in &day.pods {
            let Some(Proxy { app, .. }) = self.proxies.get(today.pod) else { continue };
            for _ in 0..times {
                app.proxy.report(report_of(today)).await.context("a Pod's own report")?;
            }
            let flushed = app.proxy.flush().await;
            ensure!(
                flushed.ended == Ended::Done && flushed.rejected == 0 && flushed.left == 0,
                "a proxy could not send what it had: {flushed:?}"
            );
        }
        self.wait_until(day.date.saturating_add(1.day())).await?;
        Ok(passed)
    }

    /// The events of Pods without a proxy, as the proxy's filter leaves them.
    fn filtered(&self, fleet: &Fleet, day: &Day, times: usize) -> anyhow::Result<Vec<FilteredEvent>> {
        let mut events = Vec::new();
        for today in day.pods.iter().filter(|today| today.pod >= self.proxies.len()) {
            let pod = &fleet.pods()[today.pod];
            let policy = &self.policies[today.pod];
            let facts =
                PodFacts::of(pod.domain().clone()).with_version(today.version).with_accounts(today.accounts);
            for sent in &today.events {
                let event = Event::from_json(sent.json.as_bytes())?;
                events.extend(filter::outgoing(policy, &facts, &pod.salt, event));
            }
            for _ in 0..times {
                events.extend(filter::filter(policy, &facts, Report::Pod(report_of(today))));
            }
        }
        Ok(events)
    }

    fn vendor_url(&self, route: &str) -> String {
        format!("http://{}/_api/cloud/v1/analytics/{route}", self.vendor.address())
    }

    /// Stops everything.
    pub async fn shutdown(self) {
        for proxy in self.proxies {
            proxy.app.shutdown().await;
        }
        self.vendor.shutdown().await;
    }
}

impl Proxy {
    /// Applies today's version and accounts, if they have changed.
    async fn upgrade(&mut self, today: &PodDay) -> anyhow::Result<()> {
        let mut config = self.base.clone();
        if let Some(accounts) = today.accounts {
            config += &format!("accounts.fixed = {accounts}\n");
        }
        if let Some(Observed::Recognised(version)) = today.version {
            config += &format!("pod_version = '{version}'\n");
        }
        if config != self.config {
            self.app.proxy.reload(pod_proxy::config::Config::from_toml(&config)?).await?;
            self.config = config;
        }
        Ok(())
    }
}

fn report_of(today: &PodDay) -> PodReport {
    if today.started { PodReport::Startup } else { PodReport::Daily }
}

fn policy(pod: &Pod) -> anyhow::Result<Policy> {
    Ok(Policy::resolve(&parse_toml(pod.policy.toml)?)?)
}

/// This many hours after the beginning of a day.
fn at(day: Date, hours: i64) -> Timestamp {
    let midnight = day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
    midnight.saturating_add(hours.hours()).unwrap_or(midnight)
}

/// Posts JSON, and returns the body of the answer.
///
/// # Errors
/// If the answer is not a success.
pub async fn post(http: &reqwest::Client, url: &str, body: String) -> anyhow::Result<String> {
    let answer = http.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{url} answered {status}: {text}");
    Ok(text)
}
