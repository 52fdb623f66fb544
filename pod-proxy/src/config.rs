//! The Pod's `prose.toml` and the environment → a checked [`Config`], or every mistake in them at once.
//!
//! It reads the sections `[vendor_analytics]` and `[pod_proxy]`, and the domain of `[server]`. The other sections belong to
//! the Pod Server, but a name that resembles one of ours is a mistake. The environment is read here and nowhere else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use shared::config::{
    KnownSection, Mistake, Mistakes, Section, near_sections, near_variables, overlay_environment, parse_toml,
};
use shared::domain::Domain;
use shared::event::Observed;
use shared::policy::Policy;
use shared::version::Version;
use toml::{Table, Value};
use tracing::Level;

use crate::facts::PodFacts;
use crate::facts::accounts::AccountSource;
use crate::spool::SpoolBounds;

/// Where Prose has its configuration.
pub const DEFAULT_PATH: &str = "/etc/prose/prose.toml";

const SECTION: &str = "pod_proxy";
const SERVER: &str = "server";
const PREFIX: &str = "PROSE_";

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The smallest log of what was sent, in bytes: each of its two files has room for a whole request.
pub(crate) const MIN_SENT_BYTES: u64 = 2 << 20;

#[derive(Clone, Debug)]
pub struct Config {
    /// What is shared, and which layer decided each key.
    pub policy: Policy,
    /// The Pod's domain. Its hash stands for the Pod; the domain itself is sent only where the operator opted in.
    /// By default that of `[server]`. Only `run` needs it.
    pub domain: Option<Domain>,
    /// The Pod's version, for its own reports. By default they have none.
    pub pod_version: Option<Observed<Version>>,
    pub accounts: AccountSource,
    /// How long a number of accounts is valid. An hour by default.
    pub accounts_lifetime: Duration,
    /// The vendor's API, without `/v1`.
    pub vendor_url: Url,
    /// More certificate authorities to trust, in PEM: for networks that inspect TLS.
    pub ca_file: Option<PathBuf>,
    /// Where apps reach the proxy. Loopback by default: the Pod's web server stands in front of it.
    pub listen: SocketAddr,
    /// Where metrics are served. Nowhere by default.
    pub metrics_listen: Option<SocketAddr>,
    /// What comes before `/v1` in the proxy's routes.
    pub base_path: String,
    /// The folder of the spool, the salt and the log of what was sent.
    pub data_dir: PathBuf,
    /// The salt. By default `salt` in `data_dir`.
    pub salt_file: PathBuf,
    /// How often events are sent. An hour by default: the longer, the less the time of sending tells.
    pub flush_interval: Duration,
    pub quota: SpoolBounds,
    /// How large the log of what was sent may grow before its older half is deleted. Zero turns it off.
    pub max_sent_bytes: u64,
    pub connect_timeout: Duration,
    /// How long a whole request to the vendor may take.
    pub request_timeout: Duration,
    pub log_level: Level,
}

impl Config {
    /// Reads the file at `path` and the environment, which overrides it. Returns every mistake in them.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let text = fs::read_to_string(path).map_err(|error| {
            Mistakes(vec![Mistake::new(path.display().to_string(), format!("cannot be read: {error}"))])
        })?;
        Self::of_document(
            parse_toml(&text).map_err(|mistakes| mistakes.in_file(path))?,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            }),
        )
    }

    /// Reads a document without an environment.
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        Self::read(text, [])
    }

    /// Reads a document and environment variables, which override it.
    pub fn read(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        Self::of_document(parse_toml(text)?, environment)
    }

    fn of_document(
        mut document: Table,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        // Of the Pod Server's own variables, only its domain is read.
        let server = format!("{PREFIX}{}__", SERVER.to_uppercase());
        let environment: Vec<_> = environment.into_iter().collect();
        let written = document.clone();
        let ours = environment
            .iter()
            .filter(|(name, _)| !name.starts_with(&server) || *name == format!("{server}DOMAIN"))
            .cloned();
        let sections = [shared::policy::SECTION, SECTION, SERVER];
        collect(overlay_environment(&mut document, PREFIX, &sections, ours), &mut mistakes);

        // The mistakes of the other section are wanted even if those of this one are enough to fail.
        let policy = collect(Policy::resolve(&document), &mut mistakes).unwrap_or_default();
        let server_domain = server_domain(&document);
        let mut section = Section::of(&document, SECTION);
        let mut config = Self::of_section(&mut section, policy, &mut mistakes);
        let own_domain = section.has("domain");
        let accounts = ACCOUNT_KEYS.map(|key| format!("accounts.{key}"));
        let known = [
            KnownSection { section: shared::policy::SECTION, keys: shared::policy::known_keys() },
            KnownSection {
                section: SECTION,
                keys: section.keys().map(str::to_owned).chain(accounts).collect(),
            },
        ];
        mistakes.0.extend(near_sections(&written, &known));
        mistakes.0.extend(near_variables(&environment, PREFIX, &known));
        section.finish(&mut mistakes);
        match server_domain {
            _ if own_domain => {}
            Some(Ok(domain)) => config.domain = Some(domain),
            Some(Err(mistake)) => mistakes.0.push(mistake),
            None => {}
        }
        mistakes.or(config)
    }

    fn of_section(section: &mut Section<'_>, policy: Policy, mistakes: &mut Mistakes) -> Self {
        let domain = section.read("domain", HOST_NAME, |value| Domain::parse(value.as_str()?));
        let pod_version = section.read("pod_version", "a version as in SemVer, such as \"0.5.0\"", |value| {
            Version::parse(value.as_str()?).map(Observed::Recognised)
        });
        let (accounts, accounts_lifetime) = read_accounts(section, mistakes);
        let data_dir = section.path("data_dir").unwrap_or_else(|| "/var/lib/prose-pod-proxy".into());
        Self {
            policy,
            domain,
            pod_version,
            accounts,
            accounts_lifetime,
            vendor_url: section.read("vendor_url", HTTP_URL, http_url).unwrap_or_else(default_vendor),
            ca_file: section.path("ca_file"),
            listen: section.socket("listen").unwrap_or((Ipv4Addr::LOCALHOST, 8290).into()),
            metrics_listen: section.socket("metrics_listen"),
            base_path: section
                .read(
                    "base_path",
                    "a path such as \"/cloud-api-proxy\", without a slash at its end",
                    base_path,
                )
                .unwrap_or_else(|| "/cloud-api-proxy".to_owned()),
            salt_file: section.path("salt_file").unwrap_or_else(|| data_dir.join("salt")),
            data_dir,
            flush_interval: section.duration("flush_interval", SECOND..=7 * DAY).unwrap_or(HOUR),
            quota: SpoolBounds {
                max_bytes: section.number("max_spool_bytes", 65_536..=1 << 40).unwrap_or(64 << 20),
                max_entries: section.number("max_spool_entries", 1..=100_000_000).unwrap_or(100_000),
                max_age: section.duration("max_spool_age", DAY..=365 * DAY).unwrap_or(30 * DAY),
            },
            max_sent_bytes: section.read("max_sent_bytes", SENT_BYTES, sent_bytes).unwrap_or(4 << 20),
            connect_timeout: section
                .duration("connect_timeout", SECOND / 10..=HOUR / 60)
                .unwrap_or(10 * SECOND),
            request_timeout: section
                .duration("request_timeout", SECOND / 10..=HOUR / 6)
                .unwrap_or(30 * SECOND),
            log_level: section
                .read("log_level", "\"error\", \"warn\", \"info\" or \"debug\"", |value| {
                    value.as_str()?.parse().ok().filter(|level| *level <= Level::DEBUG)
                })
                .unwrap_or(Level::INFO),
        }
    }

    /// What the Pod knows about itself from the configuration; `None` without a domain.
    pub fn facts(&self) -> Option<PodFacts> {
        let accounts = match self.accounts {
            AccountSource::Fixed(accounts) => Some(accounts),
            _ => None,
        };
        let facts = PodFacts::of(self.domain.clone()?).with_version(self.pod_version);
        Some(facts.with_accounts(accounts))
    }

    /// The domain, which only `run` needs.
    pub fn require_domain(&self) -> Result<Domain, Mistakes> {
        let missing = || {
            let problem = format!("must be set to the Pod's domain: its hash stands for the Pod. {NEEDED}");
            Mistakes(vec![Mistake::new(format!("{SECTION}.domain"), problem)])
        };
        self.domain.clone().ok_or_else(missing)
    }
}

const NEEDED: &str = "(`domain` of `[server]` will do.)";
const HOST_NAME: &str = "a host name in lower-case ASCII, such as \"example.org\"";
const SENT_BYTES: &str = "0, or from 2097152 to 1099511627776, so that a whole request has room";
const HTTP_URL: &str = "a URL with http or https, without query, fragment or user";

/// The value; or `None`, with its mistakes added to the others.
fn collect<T>(result: Result<T, Mistakes>, mistakes: &mut Mistakes) -> Option<T> {
    result.map_err(|Mistakes(mut more)| mistakes.0.append(&mut more)).ok()
}

/// `domain` of `[server]`, if it is set.
fn server_domain(document: &Table) -> Option<Result<Domain, Mistake>> {
    let value = document.get(SERVER)?.as_table()?.get("domain")?;
    let mistake = || Mistake::new(format!("{SERVER}.domain"), format!("must be {HOST_NAME}, not `{value}`"));
    Some(value.as_str().and_then(Domain::parse).ok_or_else(mistake))
}

/// The keys below `accounts`.
const ACCOUNT_KEYS: [&str; 4] = ["fixed", "url", "command", "lifetime"];

fn read_accounts(section: &mut Section<'_>, mistakes: &mut Mistakes) -> (AccountSource, Duration) {
    let mut inner = section.section("accounts");
    let fixed = inner.number("fixed", 0..=u64::from(u32::MAX));
    let url = inner.read("url", HTTP_URL, http_url);
    let command = inner.read("command", "a list of a program and its arguments", |value| {
        let words = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
        words.collect::<Option<Vec<_>>>().filter(|words| !words.is_empty())
    });
    let lifetime = inner.duration("lifetime", SECOND..=DAY).unwrap_or(HOUR);
    if ["fixed", "url", "command"].iter().filter(|key| inner.has(key)).count() > 1 {
        inner
            .mistake("fixed", "only one of `fixed`, `url` and `command` can say how many accounts there are");
    }
    inner.finish(mistakes);
    let source = match (fixed.and_then(|n| u32::try_from(n).ok()), url, command) {
        (Some(accounts), ..) => AccountSource::Fixed(accounts),
        (_, Some(url), _) => AccountSource::Url(url),
        (.., Some(command)) => AccountSource::Command(command),
        _ => AccountSource::Unknown,
    };
    (source, lifetime)
}

fn sent_bytes(value: &Value) -> Option<u64> {
    let bytes = u64::try_from(value.as_integer()?).ok()?;
    (bytes == 0 || (MIN_SENT_BYTES..=1 << 40).contains(&bytes)).then_some(bytes)
}

fn http_url(value: &Value) -> Option<Url> {
    let url = Url::parse(value.as_str()?).ok()?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(url)
}

fn default_vendor() -> Url {
    Url::parse("https://prose.org/_api/cloud").expect("it is a URL")
}

/// Segments of letters, digits and `-._~`, so that nothing in it is syntax to the router.
fn base_path(value: &Value) -> Option<String> {
    let path = value.as_str()?;
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let good = path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(segment));
    good.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn mistakes(text: &str, expected: &[&str]) {
        let Mistakes(found) = Config::from_toml(text).unwrap_err();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_file_is_a_configuration_without_a_domain() {
        let config = Config::from_toml("").unwrap();
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.domain, None);
        assert_eq!(config.vendor_url.as_str(), "https://prose.org/_api/cloud");
        assert_eq!(config.salt_file, Path::new("/var/lib/prose-pod-proxy/salt"));
        assert_eq!((config.flush_interval, config.base_path.as_str()), (HOUR, "/cloud-api-proxy"));
        assert!(
            config.require_domain().unwrap_err().to_string().starts_with("pod_proxy.domain: must be set")
        );
    }

    #[test]
    fn the_domain_is_the_proxys_own_or_that_of_the_server() {
        let domain = |text: &str| Config::from_toml(text).unwrap().domain.unwrap().as_str().to_owned();
        assert_eq!(domain("[server]\ndomain = 'a.example'\nother = 1"), "a.example");
        let both = "[server]\ndomain = 'Not A Host'\n[pod_proxy]\ndomain = 'b.example'";
        assert_eq!(domain(both), "b.example");
        mistakes(
            "[server]\ndomain = 'Example.org'",
            &[
                "server.domain: must be a host name in lower-case ASCII, such as \"example.org\", not `\"Example.org\"`",
            ],
        );
    }

    #[test]
    fn the_number_of_accounts_has_one_source() {
        let source = |text: &str| Config::from_toml(&format!("[pod_proxy]\n{text}")).unwrap().accounts;
        assert_eq!(source(""), AccountSource::Unknown);
        assert_eq!(source("accounts.fixed = 7"), AccountSource::Fixed(7));
        let command = vec!["prosodyctl".to_owned(), "x".to_owned()];
        assert_eq!(source("accounts.command = ['prosodyctl', 'x']"), AccountSource::Command(command));
        let url = Url::parse("http://127.0.0.1:8080/users-util/stats").unwrap();
        assert_eq!(source(&format!("accounts.url = '{url}'")), AccountSource::Url(url));
    }

    #[test]
    fn every_mistake_is_reported_those_of_the_policy_too() {
        let text = "
            [vendor_analytics]
            preset = 'gpdr'
            [pod_proxy]
            domain = 'example.org/'
            flush_interval = 'PT0S'
            vendor_url = 'ftp://prose.org'
            base_path = '/a/{b}'
            max_sent_bytes = 1
            listne = '127.0.0.1:1'
            accounts.fixed = -1
            accounts.command = []
            accounts.colour = 'red'
        ";
        let Mistakes(found) = Config::from_toml(text).unwrap_err();
        let keys: Vec<_> = found.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "vendor_analytics.preset",
                "pod_proxy.accounts.fixed",
                "pod_proxy.accounts.command",
                "pod_proxy.accounts.fixed",
                "pod_proxy.accounts.colour",
                "pod_proxy.domain",
                "pod_proxy.vendor_url",
                "pod_proxy.base_path",
                "pod_proxy.flush_interval",
                "pod_proxy.max_sent_bytes",
                "pod_proxy.listne",
            ]
        );
        mistakes("pod_proxy.accounts = 7", &["pod_proxy.accounts: must be a section, not `7`"]);
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let variables = [
            ("PROSE_VENDOR_ANALYTICS__ENABLED", "false"),
            ("PROSE_POD_PROXY__FLUSH_INTERVAL", "PT1S"),
            ("PROSE_POD_PROXY__ACCOUNTS__FIXED", "9"),
            ("PROSE_SERVER__DOMAIN", "a.example"),
            ("PROSE_SERVER__HTTP__PORT", "80"),
            // Says nothing.
            ("PROSE_POD_PROXY__MAX_SENT_BYTES", ""),
            ("PROSE_VENDOR_ANALYTICS__PRESET", ""),
        ];
        let text = "[server]\nhttp = 'of the Pod Server'\n[pod_proxy]\nflush_interval = 'PT1H'";
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::read(text, variables).unwrap();
        assert!(!config.policy.is_enabled());
        assert_eq!(config.flush_interval, SECOND);
        assert_eq!(config.accounts, AccountSource::Fixed(9));
        assert_eq!(config.domain.unwrap().as_str(), "a.example");
    }

    #[test]
    fn what_is_almost_ours_is_a_mistake_in_the_file_and_in_the_environment() {
        mistakes(
            "[vendor_analytic]\nenabled = false",
            &["vendor_analytic: unknown section; did you mean `[vendor_analytics]`?"],
        );
        let variable = |name: &str| Config::read("", [(name.to_owned(), "false".to_owned())]);
        let refused = variable("PROSE_VENDOR_ANALYTICS_ENABLED").unwrap_err().to_string();
        assert!(refused.ends_with("did you mean `PROSE_VENDOR_ANALYTICS__ENABLED`?"), "{refused}");
        // What others may have set for themselves is none of it.
        assert!(variable("PROSE_SERVER_DOMAIN").is_ok() && variable("PROSE_POD_PROXY_PORT").is_ok());
    }

    #[test]
    fn each_key_of_the_sample_is_known_as_a_variable_with_one_underscore_too_few() {
        let sample = include_str!("../prose.sample.toml");
        let mut section = "";
        let mut found = 0;
        for line in sample.lines() {
            let line = line.trim_start_matches('#');
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            }
            let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) else {
                continue;
            };
            if !["vendor_analytics", "pod_proxy"].contains(&section) {
                continue;
            }
            let name = format!("PROSE_{section}_{}", key.replace('.', "_")).to_ascii_uppercase();
            let refused = Config::read("", [(name.clone(), "x".to_owned())]).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{name}: unknown variable; did you mean")), "{refused}");
            found += 1;
        }
        assert!(found > 25, "{found}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_with_the_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"[pod_proxy]\ndomain = =\n").unwrap();
        let error = Config::load(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}, line 2: not valid TOML: ", file.path().display())),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = Config::load(Path::new("/nonexistent/prose.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/prose.toml: cannot be read: "), "{error}");
    }
}
