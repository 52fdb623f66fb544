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

use shared::data_point::{Counted, CountedPoint, Family as DeclaredFamily, Shape, Unit};

use crate::release::Family;

/// A question that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insight {
    /// At least how many Pods exist.
    Pods,
    /// What reporters say about a data point.
    Point(PointFamily),
    /// How many use Prose without a Pod.
    Reach,
    /// Which domains opted in to being named.
    Domains,
}

/// A family that is about a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PointFamily(Family);

impl PointFamily {
    /// How the data point is published.
    pub fn family(self) -> &'static DeclaredFamily {
        &self.point().family
    }

    /// The data point.
    pub fn point(self) -> &'static CountedPoint {
        self.0.point().expect("made of a family with a data point only")
    }
}

impl Insight {
    /// Every insight.
    pub const ALL: [Self; Family::ALL.len() + 1] = {
        let mut all = [Self::Domains; Family::ALL.len() + 1];
        let (mut next, mut family) = (0, 0);
        while family < Family::ALL.len() {
            // The number of installations is part of [`Self::Reach`], which comes last with the domains.
            if family != Family::INSTALLATIONS.place() {
                let of = Family::ALL[family];
                all[next] =
                    if family == Family::PODS.place() { Self::Pods } else { Self::Point(PointFamily(of)) };
                next += 1;
            }
            family += 1;
        }
        all[next] = Self::Reach;
        all
    };

    /// The insight of a data point.
    ///
    /// # Panics
    /// If the registry does not name it.
    pub fn of<P: Counted>() -> Self {
        Self::Point(PointFamily(Family::of::<P>()))
    }

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Point(family) => family.family().name,
            Self::Reach => "reach",
            Self::Domains => "domains",
        }
    }

    /// The insight of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|insight| insight.as_str() == name)
    }

    /// The title of its page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pods => "Pods",
            Self::Point(family) => family.family().title,
            Self::Reach => "With and without a Pod",
            Self::Domains => "Domains",
        }
    }

    /// The question that it answers.
    pub fn question(self) -> &'static str {
        match self {
            Self::Pods => "How many Pods are there at least?",
            Self::Point(family) => family.point().declaration.question,
            Self::Reach => "How many use Prose without a Pod?",
            Self::Domains => "Which companies told us their name?",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        self.family().map_or(Unit::Domain, Family::unit).as_str()
    }

    /// The family whose releases answer it; `None` for domains, which are not counted.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Pods => Some(Family::PODS),
            Self::Point(PointFamily(family)) => Some(family),
            Self::Reach => Some(Family::INSTALLATIONS),
            Self::Domains => None,
        }
    }

    /// The layout of its page, if it is about a data point.
    pub fn shape(self) -> Option<Shape> {
        match self {
            Self::Point(family) => Some(family.family().shape),
            Self::Pods | Self::Reach | Self::Domains => None,
        }
    }

    /// Whether its answer has values, not only a total.
    pub fn has_values(self) -> bool {
        self.shape().is_some()
    }

    /// Whether it is about versions, so that a reader may ask how many are below one.
    pub fn has_versions(self) -> bool {
        matches!(self.shape(), Some(Shape::Versions { .. }))
    }

    /// Whether it has versions of each app.
    pub fn has_versions_of_each_app(self) -> bool {
        self.shape() == Some(Shape::Versions { of_each_app: true })
    }
}
