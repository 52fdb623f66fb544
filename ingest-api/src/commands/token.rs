//! `ingest-api token create|list|revoke`.

use std::time::Duration;

use clap::Subcommand;
use comfy_table::Table;
use shared::clock::{Clock, SystemClock};
use shared::config::parse_duration;

use super::say;
use crate::access::{Token, expiry};
use crate::store::Database;
use crate::store::tokens::StoredToken;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token. It is printed once, and only its hash is kept.
    Create {
        /// What to call it, in lists and when it is revoked.
        name: String,
        /// How long it works, as an ISO 8601 duration [default: for ever].
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// Let it read the opt-in domains too.
        #[arg(long)]
        domains: bool,
    },
    /// List the tokens: names and rights.
    List,
    /// Revoke a token. It stops to work at once.
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
                anyhow::ensure!(!name.trim().is_empty(), "the name of a token is not empty");
                let now = SystemClock.now();
                let expires_at = match expires {
                    Some(lifetime) => Some(
                        expiry(now, lifetime)
                            .ok_or_else(|| anyhow::anyhow!("`--expires` is beyond the year 9999"))?,
                    ),
                    None => None,
                };
                let token = Token::generate();
                let stored = StoredToken { name: name.clone(), may_read_domains: domains, expires_at };
                let inserted = database.insert_token(&stored, &token.digest()).await?;
                anyhow::ensure!(
                    inserted,
                    "there is a token `{name}` already; revoke it first, or choose another name"
                );
                say(token.reveal());
            }
            Self::List => {
                let tokens = database.tokens().await?;
                if tokens.is_empty() {
                    say("There are no tokens.");
                    return Ok(());
                }
                let mut table = Table::new();
                table
                    .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
                    .set_header(["name", "expires", "domains"]);
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
                    "there is no token `{name}`; `ingest-api token list` shows those there are"
                );
                say(&format!("The token `{name}` no longer works."));
            }
        }
        Ok(())
    }
}
