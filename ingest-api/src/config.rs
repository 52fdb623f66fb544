//! File and environment → [`Config`], or every mistake in them.

mod database;
mod public_url;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use shared::config::{
    KnownSection, Mistake, Mistakes, Section, near_variables, overlay_environment, parse_toml,
};
use toml::Table;

use crate::insight::Insight;
use crate::intake::{IntakeRates, MAX_BATCH};
use crate::rates::Rate;
use crate::release::{Threshold, UnderFloor};
use crate::window::WindowKind;

pub use database::{DatabaseConfig, parse_database_url};
pub use public_url::PublicUrl;

/// The section of the file, and the prefix of its environment variables (`INGEST_API__LISTEN`).
const SECTION: &str = "api";
const PREFIX: &str = "INGEST_";
const DAY: Duration = Duration::from_secs(86_400);

/// The threshold of each kind of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    day: Threshold,
    week: Threshold,
    month: Threshold,
}

impl Thresholds {
    /// The threshold of a kind of window.
    pub fn of(&self, kind: WindowKind) -> &Threshold {
        match kind {
            WindowKind::Day => &self.day,
            WindowKind::Week => &self.week,
            WindowKind::Month => &self.month,
        }
    }
}

impl From<Threshold> for Thresholds {
    /// The same for each kind of window.
    fn from(threshold: Threshold) -> Self {
        Self { day: threshold, week: threshold, month: threshold }
    }
}

/// The configuration. `ingest.sample.toml` has every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The address for reports and insights. Default: 127.0.0.1:8280.
    pub listen: SocketAddr,
    /// The address for metrics. Default: 127.0.0.1:8281.
    pub metrics_listen: SocketAddr,
    /// The path before `/v1/analytics/event`. Default: `/_api/cloud`, which the apps of today use.
    pub base_path: String,
    /// The directory of the private Postgres and, unless configured, of the keys. Default:
    /// `/var/lib/prose-ingest-api` for root, `$XDG_DATA_HOME/prose-ingest-api` or
    /// `~/.local/share/prose-ingest-api` for others.
    pub data_dir: PathBuf,
    /// The key directory, which all instances share. Default: `keys` in the data directory.
    pub key_dir: PathBuf,
    /// The database. Default: a private Postgres.
    pub database: DatabaseConfig,
    /// The URL for readers. `https://…` makes the cookies of sessions `Secure`. Default: the address on which
    /// the service listens, without TLS.
    pub public_url: Option<PublicUrl>,
    /// Insights that everybody may read without a token. Never the domains. Default: none.
    pub public_insights: BTreeSet<Insight>,
    /// How long a browser stays logged in, but no longer than its token is valid. Default: a day.
    pub session_lifetime: Duration,
    /// Reverse proxies whose `X-Forwarded-For` we believe. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// What one network may send; `None` means everything. Default: see [`IntakeRates`].
    pub limits: Option<IntakeRates>,
    /// What is safe to publish.
    pub thresholds: Thresholds,
    /// How often the close job runs. Default: one minute.
    pub close_interval: Duration,
    /// How long releases are kept after the end of their window. Default: for ever.
    pub retention: Option<Duration>,
}

impl Config {
    /// The defaults, with everything in one directory.
    pub fn in_directory(data_dir: &Path) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8280)),
            metrics_listen: SocketAddr::from(([127, 0, 0, 1], 8281)),
            base_path: "/_api/cloud".to_owned(),
            data_dir: data_dir.to_owned(),
            key_dir: data_dir.join("keys"),
            database: DatabaseConfig::Embedded,
            public_url: None,
            public_insights: BTreeSet::new(),
            session_lifetime: DAY,
            trusted_proxies: Vec::new(),
            limits: Some(IntakeRates::default()),
            thresholds: Thresholds::default(),
            close_interval: Duration::from_secs(60),
            retention: None,
        }
    }

    /// Reads the file, if one is given, and the environment of this process.
    ///
    /// # Errors
    /// Every mistake in them.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        let document = match file.map(|file| (file, std::fs::read_to_string(file))) {
            None => Table::new(),
            Some((file, Ok(text))) => parse_toml(&text).map_err(|mistakes| mistakes.in_file(file))?,
            Some((file, Err(error))) => {
                let mistake = Mistake::new(file.display().to_string(), format!("cannot be read: {error}"));
                return Err(Mistakes(vec![mistake]));
            }
        };
        // A name that is not UTF-8 is not ours, and a value that is not is hardly right.
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.to_string_lossy().into_owned())));
        Self::of_document(document, variables.collect())
    }

    /// Reads the text of a file, and the variables of an environment.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(text: &str, environment: Vec<(String, String)>) -> Result<Self, Mistakes> {
        Self::of_document(parse_toml(text)?, environment)
    }

    fn of_document(mut document: Table, environment: Vec<(String, String)>) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let variable =
            |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let default_dir = default_data_dir(variable("XDG_DATA_HOME"), variable("HOME"));
        // The usual variables first, so that ours override them. An empty variable counts as unset.
        let usual = ["DATABASE_URL", "DATABASE_URL_FILE"];
        let usual = usual.iter().filter_map(|name| Some((format!("{PREFIX}API__{name}"), variable(name)?)));
        for variables in [usual.collect::<Vec<_>>(), environment.clone()] {
            if let Err(Mistakes(mut more)) = overlay_environment(&mut document, PREFIX, &[SECTION], variables)
            {
                mistakes.0.append(&mut more);
            }
        }
        Self::of(&document, &default_dir, &environment, mistakes)
    }

    fn of(
        document: &Table,
        default_dir: &Path,
        environment: &[(String, String)],
        mut mistakes: Mistakes,
    ) -> Result<Self, Mistakes> {
        for key in document.keys().filter(|key| *key != SECTION) {
            mistakes.0.push(Mistake::new(key, format!("unknown section; every key is in `[{SECTION}]`")));
        }
        let mut section = Section::of(document, SECTION);
        let data_dir = section.path("data_dir").unwrap_or_else(|| default_dir.to_owned());
        let defaults = Self::in_directory(&data_dir);
        let database = DatabaseConfig::of(&mut section);
        let limits = limits(section.section("limits"), &mut mistakes);
        let mut thresholds = section.section("thresholds");
        let config = Self {
            listen: section.socket("listen").unwrap_or(defaults.listen),
            metrics_listen: section.socket("metrics_listen").unwrap_or(defaults.metrics_listen),
            base_path: section
                .read(
                    "base_path",
                    "a path such as \"/_api/cloud\" without a slash at its end, or \"\"",
                    |value| {
                        let path = value.as_str()?;
                        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.~".contains(&b);
                        let right = path.is_empty()
                            || path.starts_with('/')
                                && !path.ends_with('/')
                                && !path.contains("//")
                                && path.bytes().all(plain);
                        right.then(|| path.to_owned())
                    },
                )
                .unwrap_or(defaults.base_path),
            key_dir: section.path("key_dir").unwrap_or(defaults.key_dir),
            database,
            public_url: section.read(
                "public_url",
                "a URL without a path, such as \"https://insights.example.org\"",
                |value| PublicUrl::parse(value.as_str()?),
            ),
            public_insights: public_insights(&mut section),
            session_lifetime: section
                .duration("session_lifetime", Duration::from_secs(60)..=DAY * 31)
                .unwrap_or(defaults.session_lifetime),
            trusted_proxies: section
                .read(
                    "trusted_proxies",
                    "a list of addresses and networks, such as [\"10.0.0.0/8\"]",
                    |value| value.as_array()?.iter().map(|item| network(item.as_str()?)).collect(),
                )
                .unwrap_or(defaults.trusted_proxies),
            limits,
            thresholds: Thresholds {
                day: threshold(thresholds.section("day"), &mut mistakes),
                week: threshold(thresholds.section("week"), &mut mistakes),
                month: threshold(thresholds.section("month"), &mut mistakes),
            },
            close_interval: section
                .duration("close_interval", Duration::from_secs(1)..=Duration::from_secs(3_600))
                .unwrap_or(defaults.close_interval),
            retention: section.duration("retention", DAY..=DAY * 36_500),
            data_dir,
        };
        let kinds = ["day", "week", "month"];
        let of_thresholds = ["installations", "pods", "without_largest", "pod_count"];
        let thresholds_of = |kind| of_thresholds.map(|key| format!("thresholds.{kind}.{key}"));
        let keys =
            section.keys().map(str::to_owned).chain(kinds.into_iter().flat_map(thresholds_of)).collect();
        mistakes.0.extend(near_variables(environment, PREFIX, &[KnownSection { section: SECTION, keys }]));
        thresholds.finish(&mut mistakes);
        section.finish(&mut mistakes);
        mistakes.or(config)
    }
}

/// The insights that everybody may read, never the names of companies.
fn public_insights(section: &mut Section<'_>) -> BTreeSet<Insight> {
    let names: Vec<_> = Insight::ALL.iter().filter(|insight| **insight != Insight::Domains).collect();
    let shown: Vec<_> = names.iter().map(|insight| insight.as_str()).collect();
    let expected = format!("a list of some of {}", shown.join(", "));
    let listed = section.read("public_insights", &expected, |value| {
        let insight = |item: &toml::Value| Insight::parse(item.as_str()?);
        value.as_array()?.iter().map(insight).collect::<Option<BTreeSet<_>>>()
    });
    let mut listed = listed.unwrap_or_default();
    if listed.remove(&Insight::Domains) {
        section.mistake("public_insights", "`domains` are names of companies and never public");
    }
    listed
}

/// What one network may send; `None` if the limits are turned off.
fn limits(mut section: Section<'_>, mistakes: &mut Mistakes) -> Option<IntakeRates> {
    let enabled = section.read("enabled", "true or false", toml::Value::as_bool).unwrap_or(true);
    let IntakeRates { requests, events, new_pods } = IntakeRates::default();
    let mut rate = |name, least: u64, default: Rate| {
        let mut of = section.section(name);
        let number = |n: Option<u64>, default| {
            n.and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new).unwrap_or(default)
        };
        let rate = Rate {
            burst: number(of.number("burst", least..=u64::from(u32::MAX)), default.burst),
            per_hour: number(of.number("per_hour", 1..=u64::from(u32::MAX)), default.per_hour),
        };
        of.finish(mistakes);
        rate
    };
    let rates = IntakeRates {
        requests: rate("requests", 1, requests),
        // A batch larger than the burst would never be accepted.
        events: rate("events", MAX_BATCH as u64, events),
        new_pods: rate("new_pods", 1, new_pods),
    };
    section.finish(mistakes);
    enabled.then_some(rates)
}

/// A network, or an address as a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

fn threshold(mut section: Section<'_>, mistakes: &mut Mistakes) -> Threshold {
    type Set = fn(Threshold, u32) -> Result<Threshold, UnderFloor>;
    let keys: [(&'static str, Set); 4] = [
        ("installations", Threshold::with_installations),
        ("pods", Threshold::with_pods),
        ("without_largest", Threshold::with_without_largest),
        ("pod_count", Threshold::with_pod_count),
    ];
    let mut threshold = Threshold::default();
    for (key, set) in keys {
        let Some(n) = section.number(key, 0..=u64::from(u32::MAX)) else { continue };
        match set(threshold, u32::try_from(n).unwrap_or(u32::MAX)) {
            Ok(set) => threshold = set,
            Err(under) => section.mistake(key, under.to_string()),
        }
    }
    section.finish(mistakes);
    threshold
}

fn default_data_dir(xdg_data_home: Option<String>, home: Option<String>) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/prose-ingest-api");
    }
    let data = xdg_data_home.filter(|dir| dir.starts_with('/')).map(PathBuf::from);
    let data = data.or_else(|| home.map(|home| Path::new(&home).join(".local/share")));
    data.unwrap_or_else(|| PathBuf::from(".")).join("prose-ingest-api")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::data_point::PodVersion;

    #[test]
    fn with_nothing_configured_everything_has_a_value() {
        let config = Config::read("", Vec::new()).unwrap();
        assert_eq!(config, Config::in_directory(&config.data_dir));
        assert!(config.listen.ip().is_loopback() && config.metrics_listen.ip().is_loopback());
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let variables =
            [("INGEST_API__LISTEN", "127.0.0.1:9"), ("DATABASE_URL", "postgres://x"), ("HOME", "/h")];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let config =
            Config::read("[api]\nlisten = '127.0.0.1:8'\n[api.thresholds.day]\npods = 7", variables).unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.database, DatabaseConfig::Url("postgres://x".to_owned()));
        assert_eq!(config.thresholds.of(WindowKind::Day).pods(), 7);
        assert_eq!(config.thresholds.of(WindowKind::Week).pods(), 5);
    }

    #[test]
    fn an_empty_variable_says_nothing_and_ours_is_stronger_than_the_usual_one() {
        let read = |variables: &[(&str, &str)]| {
            let variables =
                variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Config::read("", variables).unwrap().database
        };
        let url = |url: &str| DatabaseConfig::Url(url.to_owned());
        assert_eq!(read(&[("DATABASE_URL", "")]), DatabaseConfig::Embedded);
        assert_eq!(read(&[("DATABASE_URL", "postgres://a")]), url("postgres://a"));
        let both = [("DATABASE_URL", "postgres://a"), ("INGEST_API__DATABASE_URL", "postgres://b")];
        assert_eq!(read(&both), url("postgres://b"));
    }

    #[test]
    fn what_is_decided_about_readers_is_read() {
        let text = "[api]\npublic_url = 'https://insights.example/'\npublic_insights = ['pods', 'pod_versions']\n\
                    session_lifetime = 'PT8H'\ntrusted_proxies = ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32']";
        let config = Config::read(text, Vec::new()).unwrap();
        let url = config.public_url.unwrap();
        assert_eq!((url.as_str(), url.is_secure()), ("https://insights.example", true));
        assert_eq!(config.public_insights, BTreeSet::from([Insight::Pods, Insight::of::<PodVersion>()]));
        assert_eq!(config.trusted_proxies[0].to_string(), "127.0.0.1/32");
        assert_eq!(config.trusted_proxies.len(), 3);
    }

    #[test]
    fn limits_are_read_have_floors_and_can_be_turned_off() {
        let read = |text: &str| Config::read(text, Vec::new());
        let limits = read("[api.limits]\nnew_pods.burst = 500\nevents.per_hour = 9").unwrap().limits.unwrap();
        assert_eq!((limits.new_pods, limits.events), (Rate::new(500, 30), Rate::new(20_000, 9)));
        assert_eq!(read("[api.limits]\nenabled = false").unwrap().limits, None);
        let wrong = "[api.limits]\nenabled = 0\nevents.burst = 999\nrequests.burst = 0\nnew_pods.per_day = 1";
        let mistakes = read(wrong).unwrap_err().0;
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        let expected = [
            "api.limits.requests.burst",
            "api.limits.events.burst",
            "api.limits.new_pods.per_day",
            "api.limits.enabled",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn names_of_companies_are_never_public() {
        let text = "[api]\npublic_insights = ['pods', 'domains']\npublic_url = 'insights.example'\n\
                    trusted_proxies = ['here']\nsession_lifetime = 'P1Y'";
        let mistakes = Config::read(text, Vec::new()).unwrap_err().0;
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        let expected =
            ["api.public_url", "api.public_insights", "api.session_lifetime", "api.trusted_proxies"];
        assert_eq!(keys, expected);
        assert!(mistakes[1].problem.contains("never public"), "{}", mistakes[1]);
    }

    #[test]
    fn the_url_may_be_in_a_file_but_not_in_two_places() {
        let file = ("DATABASE_URL_FILE".to_owned(), "/run/secrets/database_url".to_owned());
        let config = Config::read("", vec![file.clone()]).unwrap();
        assert_eq!(config.database, DatabaseConfig::UrlFile("/run/secrets/database_url".into()));
        let both = Config::read("[api]\ndatabase_url = 'postgres://x:secret@y/z'", vec![file]);
        let both = both.unwrap_err().to_string();
        assert!(both.starts_with("api.database_url_file: ") && !both.contains("secret"), "{both}");
    }

    #[test]
    fn a_database_url_that_is_none_is_a_mistake_that_quotes_nothing() {
        let mistake = |url: &str| {
            let text = format!("[api]\nlisten = 'here'\ndatabase_url = '{url}'");
            let Mistakes(mistakes) = Config::read(&text, Vec::new()).unwrap_err();
            assert_eq!(mistakes.len(), 2, "{url}: {mistakes:?}");
            mistakes.into_iter().find(|mistake| mistake.key == "api.database_url").unwrap().problem
        };
        for (url, expected) in [
            ("localhost", "does not begin with `postgres://`"),
            ("mysql://ingest:secret@localhost/ingest", "does not begin with `postgres://`"),
            ("postgres://ingest:sec#ret@localhost/ingest", "host and port cannot be read"),
            ("postgres://ingest:secret@localhost:port/ingest", "host and port cannot be read"),
            ("postgres://ingest:secret@localhost/ingest?sslmode=secret", "after the `?` cannot be read"),
        ] {
            let problem = mistake(url);
            assert!(problem.contains(expected) && !problem.contains("sec"), "{url}: {problem}");
        }
        for url in
            ["postgres://x", "postgresql://a:b%40c@[::1]:1/d?sslmode=require", "postgres:///d?host=/run"]
        {
            assert!(parse_database_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn every_mistake_is_reported_and_nothing_under_a_floor_is_taken() {
        let text = "[api]\nlisten = 'here'\nbase_path = 'x/'\nlisen = 1\ndatabase_url = 7\n\
                    [api.thresholds.day]\ninstallations = 1\npods = 2\n[other]\n";
        let Mistakes(mistakes) = Config::read(text, Vec::new()).unwrap_err();
        let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        let expected = [
            "other",
            "api.thresholds.day.installations",
            "api.thresholds.day.pods",
            "api.database_url",
            "api.listen",
            "api.base_path",
            "api.lisen",
        ];
        assert_eq!(keys, expected);
        assert!(mistakes[1].problem.starts_with("must be at least 11"), "{}", mistakes[1]);
    }
}
