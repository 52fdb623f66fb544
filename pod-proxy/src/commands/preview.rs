//! `pod-proxy preview`: one event on each line → what the vendor would get for each, byte for byte.
//!
//! It is made by the code of the service; nothing is stored or sent.

use std::io::{BufRead, Write};

use serde::Serialize;
use shared::domain::Domain;
use shared::event::Event;
use shared::problem::Problem;
use shared::pseudonym::Salt;

use crate::commands::CommandError;
use crate::config::Config;
use crate::facts::PodFacts;
use crate::filter::{Dropped, FilteredEvent, PodReport, Report, filter, outgoing};
use crate::salt;

/// The domain if the configuration has none.
const PLACEHOLDER: &str = "pod.example";

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Sent { event: Box<FilteredEvent> },
    Dropped { reason: &'static str },
    Rejected { problem: Problem },
}

impl From<Result<FilteredEvent, Dropped>> for Outcome {
    fn from(filtered: Result<FilteredEvent, Dropped>) -> Self {
        match filtered {
            Ok(event) => Self::Sent { event: Box::new(event) },
            Err(reason) => Self::Dropped { reason: reason.label() },
        }
    }
}

#[derive(Debug)]
pub struct Preview {
    facts: PodFacts,
    salt: Salt,
}

impl Preview {
    /// Takes the salt from `salt_file` or from the Pod, and the number of accounts from `user_count` or from the
    /// configuration. What is missing is replaced, with a note on `notes`.
    pub fn new(
        config: &Config,
        user_count: Option<u32>,
        salt_file: Option<&std::path::Path>,
        notes: &mut impl Write,
    ) -> Result<Self, CommandError> {
        let facts = match config.facts() {
            Some(facts) => facts,
            None => {
                writeln!(notes, "note: the configuration has no domain; this is for `{PLACEHOLDER}`")?;
                let domain = Domain::parse(PLACEHOLDER).ok_or_else(|| anyhow::anyhow!("not a domain"))?;
                PodFacts::of(domain).with_version(config.pod_version)
            }
        };
        let facts = match user_count {
            Some(count) => facts.with_accounts(Some(count)),
            None => facts,
        };
        if facts.accounts.is_none() && config.policy.needs_account_count() {
            writeln!(notes, "note: the number of accounts is unknown here; `--user-count N` sets it")?;
        }
        let salt = match salt_file {
            Some(path) => salt::load(path)
                .map_err(anyhow::Error::from)?
                .ok_or_else(|| anyhow::anyhow!("there is no salt file {}", path.display()))?,
            None => match salt::load(&config.salt_file) {
                Ok(Some(salt)) => salt,
                Ok(None) | Err(_) => {
                    let path = config.salt_file.display();
                    writeln!(
                        notes,
                        "note: the salt file {path} cannot be read; a random salt is used, so `user_hash` differs from what would be sent"
                    )?;
                    Salt::generate(&mut rand::rng())
                }
            },
        };
        Ok(Self { facts, salt })
    }

    /// Answers each line of `events`.
    pub fn events(
        &self,
        config: &Config,
        events: impl BufRead,
        out: &mut impl Write,
    ) -> Result<(), CommandError> {
        for line in events.split(b'\n') {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let outcome = match Event::from_json(&line) {
                Ok(event) => outgoing(&config.policy, &self.facts, &self.salt, event).into(),
                Err(rejection) => Outcome::Rejected { problem: rejection.problem() },
            };
            write_line(&outcome, out)?;
        }
        Ok(())
    }

    /// Answers for the Pod's own report.
    pub fn own_report(&self, config: &Config, out: &mut impl Write) -> Result<(), CommandError> {
        let report = filter(&config.policy, &self.facts, Report::Pod(PodReport::Daily));
        write_line(&report.into(), out)
    }
}

fn write_line(outcome: &Outcome, out: &mut impl Write) -> Result<(), CommandError> {
    let line = serde_json::to_string(outcome).map_err(anyhow::Error::from)?;
    writeln!(out, "{line}")?;
    // If events are typed by hand, each answer has to show at once.
    out.flush()?;
    Ok(())
}
