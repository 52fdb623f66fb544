//! A configuration → what a reload replaces, all at once: the policy, the client, the source of the account count.

use std::sync::Arc;

use shared::domain::Domain;

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
    /// How many configurations were in force before this one.
    pub(crate) generation: u64,
}

impl Live {
    pub(crate) fn new(config: Config, accounts: Arc<Accounts>, generation: u64) -> anyhow::Result<Self> {
        let domain = config.require_domain()?;
        let client = Client::new(&config)?;
        Ok(Self { config, client, domain, accounts, generation })
    }

    /// What decides what leaves. The number of accounts is asked for if it decides something.
    pub(crate) async fn facts_for_sending(&self) -> PodFacts {
        let needed = self.config.policy.needs_account_count();
        self.facts(if needed { self.accounts.fresh().await } else { None })
    }

    /// What decides what is kept, and what apps are told. An app does not wait for the number of accounts: it is asked
    /// for in the background, and only if it decides whether anything is kept.
    pub(crate) async fn facts_for_keeping(&self) -> PodFacts {
        let policy = &self.config.policy;
        let decides = policy.is_enabled() && policy.min_cohort_size().is_some_and(|min| min > 0);
        self.facts(if decides { self.accounts.without_delay().await } else { self.accounts.last_told() })
    }

    fn facts(&self, accounts: Option<u32>) -> PodFacts {
        let facts = PodFacts::of(self.domain.clone()).with_version(self.config.pod_version);
        facts.with_accounts(accounts)
    }
}
