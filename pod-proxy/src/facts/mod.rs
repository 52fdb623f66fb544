//! What the Pod knows about itself, and where it comes from.

pub mod accounts;

use shared::domain::Domain;
use shared::event::Observed;
use shared::pseudonym::PodId;
use shared::version::Version;

/// What the Pod knows about itself at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    pub domain: Domain,
    /// The pseudonym of its domain.
    pub pod_id: PodId,
    /// If the configuration says it.
    pub version: Option<Observed<Version>>,
    /// The number of enabled accounts, if it is known.
    pub accounts: Option<u32>,
}

impl PodFacts {
    /// The facts that follow from the domain.
    pub fn of(domain: Domain) -> Self {
        Self { pod_id: PodId::of_domain(domain.as_str()), domain, version: None, accounts: None }
    }

    pub fn with_version(self, version: Option<Observed<Version>>) -> Self {
        Self { version, ..self }
    }

    pub fn with_accounts(self, accounts: Option<u32>) -> Self {
        Self { accounts, ..self }
    }
}
