//! Releases → answers. Pure: shares and bounds, never an exact count, and never a sum over windows.

mod adoption;
mod answer;
mod below;
mod domains;
mod period;
mod place;

pub use adoption::{Adoption, Reached, newest_version};
pub use answer::{Answer, AnsweredBlock, AnsweredWindow, Unknown, answer};
pub use below::{Below, Bounds, Cut, DEFAULT_APP};
pub use domains::{AnsweredDomain, DomainsAnswer, domains_answer};
pub use period::{MAX_DAYS, PeriodError, period};
pub use place::is_known;

use crate::release::Family;

/// A question that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insight {
    /// How many Pods there are at least.
    Pods,
    /// Which versions Pods run.
    PodVersions,
    /// How large the companies are.
    PodSizes,
    /// Which apps in which versions.
    AppVersions,
    /// On which platforms.
    Platforms,
    /// Which languages.
    Languages,
    /// How many use Prose without a Pod.
    Reach,
    /// Which companies told us their name.
    Domains,
}

impl Insight {
    /// Every insight.
    pub const ALL: [Self; 8] = [
        Self::Pods,
        Self::PodVersions,
        Self::PodSizes,
        Self::AppVersions,
        Self::Platforms,
        Self::Languages,
        Self::Reach,
        Self::Domains,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::PodVersions => "pod_versions",
            Self::PodSizes => "pod_sizes",
            Self::AppVersions => "app_versions",
            Self::Platforms => "platforms",
            Self::Languages => "languages",
            Self::Reach => "reach",
            Self::Domains => "domains",
        }
    }

    /// The insight of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|insight| insight.as_str() == name)
    }

    /// The question that it answers.
    pub fn question(self) -> &'static str {
        match self {
            Self::Pods => "How many Pods are there at least?",
            Self::PodVersions => "What versions of Pods run in the wild?",
            Self::PodSizes => "What size are the companies?",
            Self::AppVersions => "What versions of the apps run in the wild?",
            Self::Platforms => "What platforms is Prose used on?",
            Self::Languages => "What languages do users prefer?",
            Self::Reach => "How many use Prose without a Pod?",
            Self::Domains => "Which companies told us their name?",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Pods | Self::PodVersions | Self::PodSizes => "Pod",
            Self::AppVersions | Self::Platforms | Self::Languages | Self::Reach => "installation",
            Self::Domains => "domain",
        }
    }

    /// The family whose releases answer it; none for the domains, which are not counted.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Pods => Some(Family::Pods),
            Self::PodVersions => Some(Family::PodVersions),
            Self::PodSizes => Some(Family::PodSizes),
            Self::AppVersions => Some(Family::AppVersions),
            Self::Platforms => Some(Family::Platforms),
            Self::Languages => Some(Family::Languages),
            Self::Reach => Some(Family::Installations),
            Self::Domains => None,
        }
    }
}
