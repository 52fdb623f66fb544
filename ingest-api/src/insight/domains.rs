//! Opt-in domains → the answer that lists them.

use schemars::JsonSchema;
use serde::Serialize;

use super::Insight;
use crate::store::domains::SeenDomain;

/// What operators told us: no counts, and nothing that leads to a Pod.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DomainsAnswer {
    /// `domains`.
    pub insight: &'static str,
    /// The question that it answers.
    pub question: &'static str,
    /// One item a domain.
    pub domains: Vec<AnsweredDomain>,
}

/// One domain whose operator opted in.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AnsweredDomain {
    /// The domain.
    pub domain: String,
    /// Monday of the week in which it was last reported.
    pub last_seen_week: String,
}

/// Lists the opt-in domains.
pub fn domains_answer(domains: Vec<SeenDomain>) -> DomainsAnswer {
    let domains = domains
        .into_iter()
        .map(|seen| AnsweredDomain { domain: seen.domain, last_seen_week: seen.last_seen_week.to_string() })
        .collect();
    DomainsAnswer { insight: Insight::Domains.as_str(), question: Insight::Domains.question(), domains }
}
