//! The configured database.

use std::path::PathBuf;

use shared::config::Section;
use sqlx::postgres::PgConnectOptions;

/// The database.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// A private Postgres of this service, in its data directory.
    Embedded,
    /// A server, as `postgres://user@host/database`. May hold a password.
    Url(String),
    /// A server whose URL is in this file, for example a secret of a container.
    UrlFile(PathBuf),
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded => "Embedded",
            Self::Url(_) => "Url[redacted]",
            Self::UrlFile(_) => "UrlFile",
        })
    }
}

/// An example of a database URL.
const DATABASE_URL: &str = "a URL such as \"postgres://ingest@localhost/ingest\"";

/// How to connect to the database of a URL.
///
/// # Errors
/// What is wrong with the URL, without a quote from it.
pub fn parse_database_url(url: &str) -> Result<PgConnectOptions, String> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(format!("must be {DATABASE_URL}; this one does not begin with `postgres://`"));
    }
    url.parse().map_err(|_| {
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let wrong = match address.parse::<PgConnectOptions>() {
            Ok(_) if !parameters.is_empty() => "what stands after the `?` cannot be read",
            _ => "host and port cannot be read (in a name or password, encode special characters, such as %40 for @)",
        };
        format!("must be {DATABASE_URL}; {wrong}")
    })
}

impl DatabaseConfig {
    /// Reads the URL of the database, or the file that holds it.
    pub(super) fn of(section: &mut Section<'_>) -> Self {
        let url = section.read_secret("database_url", DATABASE_URL);
        if let Some(Err(wrong)) = url.as_deref().map(parse_database_url) {
            section.mistake("database_url", wrong);
        }
        let file = section.path("database_url_file");
        if section.has("database_url") && section.has("database_url_file") {
            section.mistake("database_url_file", "`database_url` is set, too; only one of them can be right");
        }
        match (url, file) {
            (Some(url), _) => DatabaseConfig::Url(url),
            (None, Some(file)) => DatabaseConfig::UrlFile(file),
            (None, None) => DatabaseConfig::Embedded,
        }
    }
}
