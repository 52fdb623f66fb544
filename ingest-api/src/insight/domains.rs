//! Opt-in domains → the answer that lists them.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Serialize;

use super::Insight;

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

/// Lists the opt-in domains, each with the Monday of the week in which it was last reported.
pub fn domains_answer(domains: Vec<(String, Date)>) -> DomainsAnswer {
    let domains = domains
        .into_iter()
        .map(|(domain, week)| AnsweredDomain { domain, last_seen_week: week.to_string() })
        .collect();
    DomainsAnswer { insight: Insight::Domains.as_str(), question: Insight::Domains.question(), domains }
}
