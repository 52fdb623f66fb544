//! Opt-in domains → the answer that lists them.

use std::borrow::Cow;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Insight;

/// The domains that operators opted in to tell: no counts, and nothing that leads to a Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DomainsAnswer {
    /// `domains`.
    pub insight: Cow<'static, str>,
    /// The question that it answers.
    pub question: Cow<'static, str>,
    /// One item for each domain.
    pub domains: Vec<AnsweredDomain>,
}

/// One domain whose operator opted in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    DomainsAnswer {
        insight: Insight::Domains.as_str().into(),
        question: Insight::Domains.question().into(),
        domains,
    }
}
