//! `ingest-api token create|list|revoke`.

use std::time::Duration;

use clap::Subcommand;
use shared::clock::{Clock, SystemClock};
use shared::config::parse_duration;

use super::say;
use crate::access::{Token, expiry};
use crate::store::Database;
use crate::store::tokens::StoredToken;
use crate::table::ruled;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token. It is printed once, and only its hash is stored.
    #[command(after_help = "Example:\n  ingest-api token create grafana --expires P90D")]
    Create {
        /// Its name, for `list` and `revoke`.
        name: String,
        /// How long it is valid, as an ISO 8601 duration such as P90D [default: for ever].
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// Let it read the opt-in domains, too.
        #[arg(long)]
        domains: bool,
    },
    /// List the names and rights of all tokens.
    List,
    /// Revoke a token. It stops working at once.
    Revoke {
        /// Its name.
        name: String,
    },
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("a duration looks like P90D or PT12H")
}

impl TokenCommand {
    pub(super) async fn run(self, database: &Database) -> anyhow::Result<()> {
        match self {
            Self::Create { name, expires, domains } => {
                anyhow::ensure!(!name.trim().is_empty(), "the name of a token must not be empty");
                let now = SystemClock.now();
                let expires_at = match expires {
                    Some(lifetime) => Some(
                        expiry(now, lifetime)
                            .ok_or_else(|| anyhow::anyhow!("`--expires` goes beyond the year 9999"))?,
                    ),
                    None => None,
                };
                let token = Token::generate();
                let stored = StoredToken { name: name.clone(), may_read_domains: domains, expires_at };
                let inserted = database.insert_token(&stored, &token.digest()).await?;
                anyhow::ensure!(
                    inserted,
                    "a token `{name}` exists already; revoke it first, or choose another name"
                );
                say(token.reveal());
            }
            Self::List => {
                let tokens = database.tokens().await?;
                if tokens.is_empty() {
                    say("There are no tokens.");
                    return Ok(());
                }
                let mut table = ruled(["name", "expires", "domains"]);
                for token in tokens {
                    let expires = token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
                    table.add_row([
                        token.name,
                        expires,
                        if token.may_read_domains { "yes" } else { "no" }.to_owned(),
                    ]);
                }
                say(&table.to_string());
            }
            Self::Revoke { name } => {
                let deleted = database.delete_token(&name).await?;
                anyhow::ensure!(
                    deleted,
                    "there is no token `{name}`; `ingest-api token list` lists all tokens"
                );
                say(&format!("The token `{name}` no longer works."));
            }
        }
        Ok(())
    }
}
