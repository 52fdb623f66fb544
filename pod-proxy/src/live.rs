//! A configuration → what a reload replaces as a whole: the policy, the vendor's client, the source of the account count.

use std::sync::Arc;

use prometheus::IntCounterVec;
use shared::clock::Clock;
use shared::domain::Domain;

use crate::config::Config;
use crate::facts::PodFacts;
use crate::facts::accounts::Accounts;
use crate::vendor::Client;

/// The configuration in force, and what is made of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) config: Config,
    pub(crate) client: Client,
    domain: Domain,
    accounts: Arc<Accounts>,
    /// How many configurations were in force before this one.
    pub(crate) generation: u64,
}

impl Live {
    /// The first configuration. `queries` counts how often the number of accounts is asked for.
    pub(crate) fn new(config: Config, clock: Arc<dyn Clock>, queries: IntCounterVec) -> anyhow::Result<Self> {
        let accounts = Accounts::new(config.accounts.clone(), config.accounts_lifetime, clock, queries)?;
        Self::with(config, Arc::new(accounts), 0)
    }

    /// The configuration after this one.
    pub(crate) fn replaced_by(&self, config: Config) -> anyhow::Result<Self> {
        let accounts = self.accounts.reconfigured(&config.accounts, config.accounts_lifetime);
        Self::with(config, accounts, self.generation + 1)
    }

    fn with(config: Config, accounts: Arc<Accounts>, generation: u64) -> anyhow::Result<Self> {
        let domain = config.require_domain()?;
        let client = Client::new(&config)?;
        Ok(Self { config, client, domain, accounts, generation })
    }

    /// The facts that decide what leaves. Asks for the number of accounts if it decides something.
    pub(crate) async fn facts_for_sending(&self) -> PodFacts {
        let needed = self.config.policy.needs_account_count();
        self.facts(if needed { self.accounts.fresh().await } else { None })
    }

    /// The facts that decide what is stored and what the policy route answers. If the number of accounts decides whether anything is
    /// stored, it is refreshed in the background, so that no app waits for it.
    pub(crate) async fn facts_for_spooling(&self) -> PodFacts {
        let policy = &self.config.policy;
        let decides = policy.is_enabled() && policy.min_cohort_size().is_some_and(|min| min > 0);
        self.facts(if decides { self.accounts.without_delay().await } else { self.accounts.last_known() })
    }

    fn facts(&self, accounts: Option<u32>) -> PodFacts {
        let facts = PodFacts::of(self.domain.clone()).with_version(self.config.pod_version);
        facts.with_accounts(accounts)
    }
}
