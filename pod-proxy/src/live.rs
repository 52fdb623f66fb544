//! A configuration → what a reload replaces, all at once: the policy, the client, the source of the account count.

use std::sync::Arc;

use shared::event::Domain;

use crate::config::Config;
use crate::facts::PodFacts;
use crate::facts::accounts::Accounts;
use crate::forward::client::Client;

/// The configuration in force, and what is made of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) client: Client,
    domain: Domain,
    pub(crate) accounts: Arc<Accounts>,
}

impl Live {
    pub(crate) fn new(config: Config, accounts: Arc<Accounts>) -> anyhow::Result<Self> {
        let domain = config.require_domain()?;
        let client = Client::new(&config)?;
        Ok(Self { config, client, domain, accounts })
    }

    /// What decides what leaves. The number of accounts is asked for if it decides something.
    pub(crate) async fn facts_for_sending(&self) -> PodFacts {
        let needed = self.config.policy.needs_account_count();
        self.facts(if needed { self.accounts.fresh().await } else { None })
    }

    /// What decides what is kept. An app does not wait for the number of accounts, unless it was never told and
    /// decides whether anything is kept at all.
    pub(crate) async fn facts_for_keeping(&self) -> PodFacts {
        let policy = &self.config.policy;
        let decides = policy.enabled && policy.min_cohort_size.unwrap_or(0) > 0;
        self.facts(if decides { self.accounts.at_hand().await } else { self.accounts.last_told() })
    }

    fn facts(&self, accounts: Option<u32>) -> PodFacts {
        let facts = PodFacts::of(self.domain.clone()).with_version(self.config.pod_version);
        facts.with_accounts(accounts)
    }
}
