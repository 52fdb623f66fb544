//! Event + policy + facts of the Pod → [`FilteredEvent`], or [`Dropped`] with the reason. Pure; the only way out.
//!
//! What leaves is built field by field, and not by removing fields from the input. About the Pod it has what the Pod knows
//! about itself, and never what an app said. Filtering twice changes nothing.

use serde::{Serialize, Serializer};
use shared::event::{App, Event, EventName, Identifiable, Origin, Pod};
use shared::locale::Locales;
use shared::platform::PlatformName;
use shared::policy::{Policy, Shares, UserLang, UserPlatform, Withheld};
use shared::pseudonym::{Salt, SaltedHash};
use shared::size::SizeBin;

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
    let Shares { pod_version, user_app_version, meta_user_count, user_platform, user_lang, pod_domain } =
        policy.shares(facts.accounts)?;

    let mut pod = Pod { domain_hash: Some(facts.pod_id), ..Pod::default() };
    if let Some(accounts) = facts.accounts.filter(|_| meta_user_count) {
        pod.set_size(SizeBin::of(accounts));
    }
    if pod_domain {
        pod.identifiable = Some(Identifiable { domain: Some(facts.domain.clone()) });
    }

    let report = match report {
        Report::Pod(report) => {
            pod.version = facts.version.filter(|_| pod_version);
            Report::Pod(report)
        }
        Report::Installation(Sighting { installation, app }) => {
            let App { name, version, platform, user_preferred_locales } = app;
            let app = App {
                name: name.filter(|_| user_app_version),
                version: version.filter(|_| user_app_version),
                platform: filter_platform(user_platform, platform),
                user_preferred_locales: filter_locales(user_lang, user_preferred_locales),
            };
            pod.user_hash = Some(installation.to_wire());
            Report::Installation(Sighting { installation, app })
        }
    };
    Ok(FilteredEvent { report, pod })
}

/// A platform in its normal form, if the operator's lists let it pass.
///
/// The deny list is compared with what the app wrote and with what would leave. The allow list is compared only with what
/// would leave: `unrecognised` stands for anything, so it must be allowed by that name.
fn filter_platform(shared: Option<&UserPlatform>, platform: Option<PlatformName>) -> Option<PlatformName> {
    let UserPlatform { enabled: _, allow_list, deny_list } = shared?;
    let written = platform?;
    let outgoing = PlatformName::from(written.observed());
    let denied =
        deny_list.iter().flatten().any(|entry| written.is_named_by(entry) || outgoing.is_named_by(entry));
    let allowed = allow_list.as_ref().is_none_or(|list| list.iter().any(|entry| outgoing.is_named_by(entry)));
    (allowed && !denied).then_some(outgoing)
}

/// The first locales, as many as the operator shares.
fn filter_locales(shared: Option<&UserLang>, locales: Option<Locales>) -> Option<Locales> {
    let UserLang { enabled: _, max_locales } = shared?;
    let locales = locales?;
    Some(max_locales.map_or_else(|| locales.clone(), |max| locales.truncated(max)))
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
