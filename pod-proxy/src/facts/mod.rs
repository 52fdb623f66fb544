//! What the Pod knows about itself, and where it comes from.

pub mod accounts;

use shared::domain::Domain;
use shared::event::{Identifiable, Observed, Pod};
use shared::pseudonym::PodId;
use shared::size::SizeBin;
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

    /// All of them, in the form of the wire.
    pub fn to_wire(&self) -> Pod {
        let identifiable = Some(Identifiable { domain: Some(self.domain.clone()) });
        let mut pod = Pod { version: self.version, identifiable, ..Pod::default() };
        if let Some(accounts) = self.accounts {
            pod.set_size(SizeBin::of(accounts));
        }
        pod
    }

    pub fn with_version(self, version: Option<Observed<Version>>) -> Self {
        Self { version, ..self }
    }

    pub fn with_accounts(self, accounts: Option<u32>) -> Self {
        Self { accounts, ..self }
    }
}
