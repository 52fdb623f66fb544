//! File, environment and command line → [`Config`]; reports every mistake at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::config::{Mistakes, Section, overlay_environment, parse_toml};
use toml::Table;

use crate::release::{Threshold, UnderFloor};
use crate::window::WindowKind;

/// The section of the file, and the prefix of its environment variables (`INGEST_API__LISTEN`).
const SECTION: &str = "api";
const PREFIX: &str = "INGEST_";
const DAY: Duration = Duration::from_secs(86_400);

/// Where Postgres is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// A private Postgres of this service, in its data directory.
    Embedded,
    /// A server, as `postgres://user@host/database`. May hold a password.
    Url(String),
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded => "Embedded",
            Self::Url(_) => "Url[redacted]",
        })
    }
}

/// The threshold of each kind of window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    day: Threshold,
    week: Threshold,
    month: Threshold,
}

impl Thresholds {
    /// The threshold of that kind of window.
    pub fn of(&self, kind: WindowKind) -> &Threshold {
        match kind {
            WindowKind::Day => &self.day,
            WindowKind::Week => &self.week,
            WindowKind::Month => &self.month,
        }
    }
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where reports are taken and insights served. Default: 127.0.0.1:8280.
    pub listen: SocketAddr,
    /// Where metrics are served. Default: 127.0.0.1:8281.
    pub metrics_listen: SocketAddr,
    /// What stands before `/v1/analytics/event`. Default: `/_api/cloud`, where the apps of today send to.
    pub base_path: String,
    /// Where the private Postgres and, unless configured, the keys are. Default: `/var/lib/prose-ingest-api` for root,
    /// `$XDG_DATA_HOME/prose-ingest-api` or `~/.local/share/prose-ingest-api` for others.
    pub data_dir: PathBuf,
    /// The key directory, shared by all instances. Default: `keys` in the data directory.
    pub key_dir: PathBuf,
    /// Where Postgres is. Default: a private one.
    pub database: DatabaseConfig,
    /// What is safe to publish.
    pub thresholds: Thresholds,
    /// How often is looked for windows that are over. Default: one minute.
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
        let text = match file.map(|file| (file, std::fs::read_to_string(file))) {
            None => String::new(),
            Some((_, Ok(text))) => text,
            Some((file, Err(error))) => {
                let mistake = shared::config::Mistake::new(
                    file.display().to_string(),
                    format!("cannot be read: {error}"),
                );
                return Err(Mistakes(vec![mistake]));
            }
        };
        // What is not UTF-8 is none of ours.
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Self::read(&text, variables.collect())
    }

    /// Reads the text of a file, and the variables of an environment.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(text: &str, environment: Vec<(String, String)>) -> Result<Self, Mistakes> {
        let mut document = parse_toml(text)?;
        let variable =
            |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let default_dir = default_data_dir(variable("XDG_DATA_HOME"), variable("HOME"));
        // The usual variable first, so that ours is stronger; an empty one means that nothing is said.
        let usual = variable("DATABASE_URL").map(|url| (format!("{PREFIX}API__DATABASE_URL"), url));
        let said = |(_, value): &(String, String)| !value.is_empty();
        for variables in [usual.into_iter().collect(), environment] {
            let variables: Vec<_> = variables;
            overlay_environment(&mut document, PREFIX, &[SECTION], variables.into_iter().filter(said))?;
        }
        Self::of(&document, &default_dir)
    }

    fn of(document: &Table, default_dir: &Path) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        for key in document.keys().filter(|key| *key != SECTION) {
            mistakes.0.push(shared::config::Mistake::new(
                key,
                format!("unknown section; everything is in `[{SECTION}]`"),
            ));
        }
        let mut section = Section::of(document, SECTION);
        let data_dir = section.path("data_dir").unwrap_or_else(|| default_dir.to_owned());
        let defaults = Self::in_directory(&data_dir);
        let url = "a URL such as \"postgres://ingest@localhost/ingest\"";
        let database = section.read_secret("database_url", url);
        let mut thresholds = section.section("thresholds");
        let config = Self {
            listen: section.socket("listen").unwrap_or(defaults.listen),
            metrics_listen: section.socket("metrics_listen").unwrap_or(defaults.metrics_listen),
            base_path: section
                .read(
                    "base_path",
                    "a path such as \"/_api/cloud\", without a slash at its end, or \"\"",
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
            database: database.map_or(DatabaseConfig::Embedded, DatabaseConfig::Url),
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
        thresholds.finish(&mut mistakes);
        section.finish(&mut mistakes);
        mistakes.or(config)
    }
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
