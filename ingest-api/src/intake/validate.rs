//! [`Event`] → [`ValidReport`], or the reason why it does not count. Pure.

use shared::data_point::{MetaUserCount, Reporter, Unfit, decode};
use shared::domain::Domain;
use shared::event::{App, Event, Pod};
use shared::problem::{Problem, ProblemType};
use shared::pseudonym::{PodId, UserHash};
use shared::size::SizeBin;

use crate::window::Population;
use crate::window::codes::{InstallationCodes, PodCodes, pack, unpack};

/// A report that counts. Only [`ValidReport::from_json`] and [`ValidReport::check`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidReport {
    pod: PodId,
    population: Population,
    installation: Option<Installation>,
    pod_codes: PodCodes,
    domain: Option<Domain>,
}

/// What a report says about an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its pseudonym.
    pub id: UserHash,
    /// The values of its data points.
    pub codes: InstallationCodes,
}

/// Why a report is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is not an event.
    #[error(transparent)]
    NotAnEvent(#[from] shared::event::Rejection),
    /// It does not name its Pod or server.
    #[error(
        "`origin.pod.domain_hash` is missing: the first 16 hexadecimal digits of the SHA-256 hash of the domain"
    )]
    NoDomainHash,
    /// It comes from an app without a Pod, and does not name the installation.
    #[error(
        "`origin.pod.user_hash` is missing: the first 16 hexadecimal digits of the SHA-256 hash of the full JID"
    )]
    NoUserHash,
    /// A data point has fields that hold none of its values.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The domain does not match the domain hash.
    #[error("`origin.pod.identifiable.domain` must be the domain that `domain_hash` was made from")]
    OtherDomain,
}

impl Rejection {
    /// The stable name of the reason, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAnEvent(rejection) => rejection.label(),
            Self::NoDomainHash => "no_domain_hash",
            Self::NoUserHash => "no_user_hash",
            Self::Unfit(unfit) => unfit.label,
            Self::OtherDomain => "other_domain",
        }
    }

    /// The problem type of the answer.
    pub fn problem(self) -> Problem {
        match self {
            Self::NotAnEvent(rejection) => rejection.problem(),
            _ => Problem::new(ProblemType::INVALID_EVENT, Some(format!("{self}."))),
        }
    }
}

impl ValidReport {
    /// Reads and checks one event.
    ///
    /// # Errors
    /// Why it is rejected.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Rejection> {
        Self::check(Event::from_json(bytes)?)
    }

    /// Checks one event.
    ///
    /// Of a report that did not come through a Pod, only what it says about the installation is used.
    ///
    /// # Errors
    /// Why it is rejected.
    pub fn check(event: Event) -> Result<Self, Rejection> {
        let said = event.origin.pod;
        let pod = said.domain_hash.ok_or(Rejection::NoDomainHash)?;
        let app = event.origin.app.unwrap_or_default();
        let installation = match said.user_hash {
            Some(id) => Some(Installation { id, codes: pack::<App, _>(&app.codes()?) }),
            None if event.proxied => None,
            None => return Err(Rejection::NoUserHash),
        };
        if !event.proxied {
            let (population, pod_codes) = (Population::Direct, PodCodes::default());
            return Ok(Self { pod, population, installation, pod_codes, domain: None });
        }
        let pod_codes = pack::<Pod, _>(&said.codes()?);
        let domain = said.identifiable.and_then(|identifiable| identifiable.domain);
        if domain.as_ref().is_some_and(|domain| PodId::of_domain(domain.as_str()) != pod) {
            return Err(Rejection::OtherDomain);
        }
        Ok(Self { pod, population: Population::Pod, installation, pod_codes, domain })
    }

    /// The Pod, or the XMPP server of a direct client.
    pub fn pod(&self) -> PodId {
        self.pod
    }

    /// What it says about an installation; `None` for a Pod's own report.
    pub fn installation(&self) -> Option<&Installation> {
        self.installation.as_ref()
    }

    /// The population that it belongs to.
    pub fn population(&self) -> Population {
        self.population
    }

    /// The values of the Pod's data points; for a direct report, all "not reported".
    pub fn pod_codes(&self) -> &PodCodes {
        &self.pod_codes
    }

    /// The Pod's size.
    pub fn pod_size(&self) -> Option<SizeBin> {
        decode::<MetaUserCount>(&unpack::<Pod>(&self.pod_codes))?
    }

    /// The Pod's domain, if its operator opted in.
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::data_point::{UserAppVersion, UserLang};

    use super::*;

    fn check(event: serde_json::Value) -> Result<ValidReport, Rejection> {
        ValidReport::from_json(event.to_string().as_bytes())
    }

    #[test]
    fn a_report_through_a_pod_tells_about_installation_and_pod() {
        let report = check(json!({
            "name": "app:daily", "proxied": true,
            "origin": {
                "app": { "name": "prose-app-web", "version": "1.0.1+x", "platform": "macos-aarch64",
                         "user_preferred_locales": ["de-CH", "en"] },
                "pod": { "domain_hash": "bfabc37432958b06", "user_hash": "19a124bd2f89edfe", "version": "0.4.0",
                         "user_count_min": 20, "user_count_max": 49, "user_count_range": "20–49",
                         "user_count_range_open": "20+", "identifiable": { "domain": "example.org" } }
            }
        }))
        .unwrap();
        let codes = unpack::<App>(&report.installation().unwrap().codes);
        assert_eq!(decode::<UserLang>(&codes).flatten().unwrap().to_string(), "de-CH");
        assert_eq!(decode::<UserAppVersion>(&codes).unwrap().version.unwrap().to_string(), "1.0.1");
        assert_eq!(report.population(), Population::Pod);
        assert_eq!(report.pod_size().map(SizeBin::least), Some(20));
        assert_eq!(report.domain().map(Domain::as_str), Some("example.org"));
    }

    #[test]
    fn a_direct_report_tells_about_the_installation_only() {
        let report = check(json!({
            "origin": { "pod": { "domain_hash": "bfabc37432958b06", "user_hash": "19a124bd2f89edfe", "version": "0.4.0",
                                 "user_count_min": 20, "user_count_max": 49,
                                 "identifiable": { "domain": "example.org" } } }
        }))
        .unwrap();
        assert_eq!(report.population(), Population::Direct);
        assert_eq!((report.pod_codes(), report.domain()), (&PodCodes::default(), None));
    }

    #[track_caller]
    fn rejected(event: serde_json::Value, expected: &str) {
        assert_eq!(check(event).unwrap_err().label(), expected);
    }

    #[test]
    fn what_cannot_be_counted_is_rejected_with_its_reason() {
        let pod = "bfabc37432958b06";
        rejected(json!({ "origin": {} }), "no_domain_hash");
        rejected(json!({ "origin": { "pod": { "domain_hash": pod } } }), "no_user_hash");
        rejected(json!({ "origin": { "pod": { "domain_hash": "x" } } }), "invalid_event");
        let proxied = |rest: serde_json::Value| {
            let mut event = json!({ "proxied": true, "origin": { "pod": { "domain_hash": pod } } });
            event["origin"]["pod"].as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            event
        };
        rejected(proxied(json!({ "user_count_min": 20, "user_count_max": 50 })), "not_a_bin");
        rejected(proxied(json!({ "user_count_min": 20 })), "not_a_bin");
        rejected(proxied(json!({ "identifiable": { "domain": "example.com" } })), "other_domain");
        assert!(check(proxied(json!({}))).is_ok());
    }
}
