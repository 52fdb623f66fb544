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

    /// The facts that go with every report, in the form of the wire: size and domain.
    pub fn of_every_report(&self) -> Pod {
        let identifiable = Some(Identifiable { domain: Some(self.domain.clone()) });
        let mut pod = Pod { identifiable, ..Pod::default() };
        if let Some(accounts) = self.accounts {
            pod.set_size(SizeBin::of(accounts));
        }
        pod
    }

    /// The facts that go with the Pod's own reports: all of them.
    pub fn of_own_report(&self) -> Pod {
        Pod { version: self.version, ..self.of_every_report() }
    }

    pub fn with_version(self, version: Option<Observed<Version>>) -> Self {
        Self { version, ..self }
    }

    pub fn with_accounts(self, accounts: Option<u32>) -> Self {
        Self { accounts, ..self }
    }
}
