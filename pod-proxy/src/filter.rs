//! Event + policy + facts of the Pod → [`FilteredEvent`], or [`Dropped`] with the reason. Pure; the only way out.
//!
//! What leaves is built field by field, and not by removing fields from the input. About the Pod it has what the Pod knows
//! about itself, and never what an app said. Filtering twice changes nothing.

use serde::{Serialize, Serializer};
use shared::event::{App, Event, EventName, Origin, Pod};
use shared::policy::{Policy, Withheld};
use shared::pseudonym::{Salt, SaltedHash};

use crate::facts::PodFacts;

/// An installation: its salted pseudonym, and what its app says about itself.
///
/// Made by [`pseudonymise`], or read back from the spool. It does not have the pseudonym that the app sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    installation: SaltedHash,
    app: App,
}

impl Sighting {
    /// A sighting that the spool stored.
    pub(crate) fn restore(installation: SaltedHash, app: App) -> Self {
        Self { installation, app }
    }

    pub(crate) fn installation(&self) -> SaltedHash {
        self.installation
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }
}

/// What the Pod reports about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodReport {
    Startup,
    Daily,
}

impl PodReport {
    pub fn name(self) -> EventName {
        match self {
            Self::Startup => EventName::PodStartup,
            Self::Daily => EventName::PodDaily,
        }
    }
}

/// What may leave the Pod if the policy lets it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Installation(Sighting),
    Pod(PodReport),
}

/// An event of an app → the sighting of an installation, without name, `data`, and everything about the Pod. An event
/// without `user_hash` is dropped, because there is nothing to count.
pub fn pseudonymise(salt: &Salt, event: Event) -> Result<Sighting, Dropped> {
    let Event { name: _, origin: Origin { app, pod }, proxied: _ } = event;
    let user_hash = pod.user_hash.ok_or(Dropped::NoUserHash)?;
    Ok(Sighting { installation: salt.apply(user_hash), app: app.unwrap_or_default() })
}

/// What the policy lets out of a report. Only [`filter`] makes one, and everything that is sent is made of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredEvent {
    report: Report,
    pod: Pod,
}

impl FilteredEvent {
    /// The event that the vendor gets.
    ///
    /// Its name does not depend on what an app calls its report, because the name is no data point.
    pub fn to_wire(&self) -> Event {
        let (name, app) = match &self.report {
            Report::Installation(sighting) => (EventName::AppDaily, Some(sighting.app.clone())),
            Report::Pod(report) => (report.name(), None),
        };
        Event { name, origin: Origin { app, pod: self.pod.clone() }, proxied: true }
    }

    /// What is stored until it is sent. The facts of the Pod are added when it leaves.
    pub fn into_report(self) -> Report {
        self.report
    }
}

impl Serialize for FilteredEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_wire().serialize(serializer)
    }
}

/// Why nothing of an event leaves the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    #[error("the event names no installation")]
    NoUserHash,
    #[error("analytics are off")]
    Disabled,
    #[error("the Pod has fewer accounts than `min_cohort_size`")]
    SmallCohort,
    #[error("`min_cohort_size` is set, and the number of accounts is unknown")]
    UnknownCohort,
}

impl Dropped {
    pub const ALL: [Self; 4] = [Self::NoUserHash, Self::Disabled, Self::SmallCohort, Self::UnknownCohort];

    /// The reason in metrics and in `preview`.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoUserHash => "no_user_hash",
            Self::Disabled => "disabled",
            Self::SmallCohort => "small_cohort",
            Self::UnknownCohort => "unknown_cohort",
        }
    }
}

impl From<Withheld> for Dropped {
    fn from(withheld: Withheld) -> Self {
        match withheld {
            Withheld::Disabled => Self::Disabled,
            Withheld::SmallCohort => Self::SmallCohort,
            Withheld::UnknownCohort => Self::UnknownCohort,
        }
    }
}

/// What `policy` lets out of a report of the Pod with these `facts`.
pub fn filter(policy: &Policy, facts: &PodFacts, report: Report) -> Result<FilteredEvent, Dropped> {
    let permitted = policy.permits(facts.accounts)?;
    let mut pod = Pod { domain_hash: Some(facts.pod_id), ..Pod::default() };
    let report = match report {
        Report::Pod(report) => {
            permitted.share(&facts.of_own_report(), &mut pod);
            Report::Pod(report)
        }
        Report::Installation(Sighting { installation, app: said }) => {
            permitted.share(&facts.of_every_report(), &mut pod);
            pod.user_hash = Some(installation.to_wire());
            let mut app = App::default();
            permitted.share(&said, &mut app);
            Report::Installation(Sighting { installation, app })
        }
    };
    Ok(FilteredEvent { report, pod })
}

/// An app's event → what the vendor gets: [`pseudonymise`], then [`filter`].
pub fn outgoing(
    policy: &Policy,
    facts: &PodFacts,
    salt: &Salt,
    event: Event,
) -> Result<FilteredEvent, Dropped> {
    filter(policy, facts, Report::Installation(pseudonymise(salt, event)?))
}

#[cfg(test)]
mod tests;
