//! A Pod: its domain, its operator's policy, how it grows and upgrades, and its installations.

use jiff::civil::Date;
use rand::{Rng, RngExt};
use shared::domain::Domain;
use shared::event::Observed;
use shared::pseudonym::Salt;
use shared::version::Version;

use super::catalogue;
use super::choice::{any, choose, heavy_tailed};
use super::installation::Installation;
use super::policy::PodPolicy;

/// A self-hosted server.
#[derive(Debug)]
pub struct Pod {
    domain: Domain,
    /// Its operator's policy.
    pub policy: &'static PodPolicy,
    /// The salt of its proxy.
    pub salt: Salt,
    accounts: Accounts,
    lag: i32,
    pre_releases: bool,
    /// Whether it reports its version at all; an operator may run a private build.
    version: VersionKnown,
    exists: std::ops::Range<i32>,
    /// Its installations.
    pub installations: Vec<Installation>,
}

#[derive(Clone, Copy, Debug)]
struct Accounts {
    known: bool,
    at_first: u32,
    at_last: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VersionKnown {
    Yes,
    OwnBuild,
    No,
}

/// The Pod to make.
pub(super) struct Plan {
    pub(super) number: usize,
    pub(super) days: u16,
    pub(super) largest: u32,
    pub(super) policy: &'static PodPolicy,
    /// Whether it has a real proxy. Then it exists on all days, and is small enough for a demo.
    pub(super) real: bool,
}

impl Pod {
    pub(super) fn new(rng: &mut impl Rng, plan: &Plan) -> Self {
        let Plan { number, days, largest, policy, real } = *plan;
        let name = format!("{}-{}", any(rng, catalogue::COLOURS), any(rng, catalogue::TRADES));
        let domain = format!("{name}-{number}.example");
        let home = *choose(rng, catalogue::HOMES);

        let at_first =
            if real { rng.random_range(6..45).min(largest) } else { heavy_tailed(rng, 3, largest) };
        let change = choose(rng, &[(60, 0.0), (30, 0.35), (10, -0.2)]) * rng.random::<f64>();
        let at_last = (f64::from(at_first) * (1.0 + change)).round() as u32;

        let mut installations = Vec::new();
        for account in 0..at_first.max(at_last) {
            let username = format!("{}.{account}", any(rng, catalogue::FIRST_NAMES));
            for _ in 0..*choose(rng, &[(12, 0), (60, 1), (22, 2), (6, 3)]) {
                installations.push(Installation::new(rng, username.clone(), &domain, home, days));
            }
        }
        let days = i32::from(days);
        let from = if real || rng.random_bool(0.85) { i32::MIN } else { rng.random_range(0..days) };
        let until = if real || rng.random_bool(0.94) { i32::MAX } else { rng.random_range(1..=days) };
        Self {
            domain: Domain::parse(&domain).expect("it is a host name"),
            policy,
            salt: Salt::generate(rng),
            accounts: Accounts { known: rng.random_bool(0.96), at_first, at_last },
            lag: *choose(rng, &[(20, 0), (45, 14), (20, 45), (10, 120), (5, 300)]) + rng.random_range(0..20),
            pre_releases: rng.random_bool(0.06),
            version: if real {
                VersionKnown::Yes
            } else {
                *choose(rng, &[(96, VersionKnown::Yes), (2, VersionKnown::OwnBuild), (2, VersionKnown::No)])
            },
            exists: from..until.max(from.saturating_add(1)),
            installations,
        }
    }

    /// Whether it runs on a day of the play. It is down on a few.
    pub(super) fn is_up(&self, rng: &mut impl Rng, day: i32) -> bool {
        rng.random_bool(0.985) && self.exists.contains(&day)
    }

    /// Its domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// How many accounts it has on a day of a play of `days`; `None` if it does not know.
    pub fn accounts(&self, day: i32, days: u16) -> Option<u32> {
        let Accounts { known, at_first, at_last } = self.accounts;
        let (first, last) = (i64::from(at_first), i64::from(at_last));
        let now = first + (last - first) * i64::from(day) / i64::from(days);
        u32::try_from(now).ok().filter(|_| known)
    }

    /// The version that it runs on a day, as it reports it.
    pub fn version(&self, day: i32) -> Option<Observed<Version>> {
        let running = catalogue::running(catalogue::POD_RELEASES, day, self.lag, self.pre_releases);
        match self.version {
            VersionKnown::Yes => Some(Observed::Recognised(catalogue::version(running))),
            VersionKnown::OwnBuild => Some(Observed::Unrecognised),
            VersionKnown::No => None,
        }
    }
}

/// A plain XMPP server: installations without a Pod.
#[derive(Debug)]
pub struct Server {
    /// Its installations.
    pub installations: Vec<Installation>,
}

impl Server {
    pub(super) fn new(rng: &mut impl Rng, number: usize, installations: usize, days: u16) -> Self {
        let domain = format!("jabber-{number}.example");
        let home = *choose(rng, catalogue::HOMES);
        let one = |_| {
            let username = format!("{}{}", any(rng, catalogue::FIRST_NAMES), rng.random::<u16>());
            Installation::new(rng, username, &domain, home, days)
        };
        Self { installations: (0..installations).map(one).collect() }
    }
}

/// The day of a play as a date.
pub(super) fn date(first_day: Date, day: u16) -> Date {
    first_day.saturating_add(jiff::Span::new().days(day))
}
