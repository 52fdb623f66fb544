//! Where Postgres is, by what an operator wrote.

use std::path::PathBuf;

use shared::config::Section;
use sqlx::postgres::PgConnectOptions;

/// Where Postgres is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// A private Postgres of this service, in its data directory.
    Embedded,
    /// A server, as `postgres://user@host/database`. May hold a password.
    Url(String),
    /// A server, whose URL is in this file: a secret of a container, for example.
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

/// What a URL of a database looks like.
const DATABASE_URL: &str = "a URL such as \"postgres://ingest@localhost/ingest\"";

/// How to connect to the database of a URL; or what is wrong with it, in words that quote nothing of it.
///
/// # Errors
/// What is wrong with it.
pub fn parse_database_url(url: &str) -> Result<PgConnectOptions, String> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(format!("must be {DATABASE_URL}; this one does not begin with `postgres://`"));
    }
    url.parse().map_err(|_| {
        let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
        let wrong = match address.parse::<PgConnectOptions>() {
            Ok(_) if !parameters.is_empty() => "what stands after the `?` cannot be read",
            _ => "host and port cannot be read (in a name or password, write what is not a letter or digit as %40 for @)",
        };
        format!("must be {DATABASE_URL}; {wrong}")
    })
}

impl DatabaseConfig {
    /// The database, by its URL or by the file that has it.
    pub(super) fn of(section: &mut Section<'_>) -> Self {
        let url = section.read_secret("database_url", DATABASE_URL);
        if let Some(Err(wrong)) = url.as_deref().map(parse_database_url) {
            section.mistake("database_url", wrong);
        }
        let file = section.path("database_url_file");
        if section.has("database_url") && section.has("database_url_file") {
            section
                .mistake("database_url_file", "`database_url` is written too; only one of them can be right");
        }
        match (url, file) {
            (Some(url), _) => DatabaseConfig::Url(url),
            (None, Some(file)) => DatabaseConfig::UrlFile(file),
            (None, None) => DatabaseConfig::Embedded,
        }
    }
}
