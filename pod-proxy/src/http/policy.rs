//! `GET …/v1/analytics/policy`: the policy in force → what apps need to know about it.
//!
//! With it, an app does not send what would be stripped, and can show its user what is collected. The operator's lists of
//! platforms are not in it, because they may be confidential.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::data_point::{REGISTRY, Unit};
use shared::policy::Policy;
use shared::settings::Settings;

use crate::proxy::Proxy;

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Collected {
    enabled: bool,
    /// The keys of the data points that apps may send.
    data_points: Vec<&'static str>,
    max_locales: Option<u32>,
}

impl Collected {
    fn of(settings: &Settings, policy: &Policy, accounts: Option<u32>) -> Self {
        let Ok(shares) = policy.shares(accounts) else {
            return Self { enabled: false, data_points: Vec::new(), max_locales: None };
        };
        let data_points = REGISTRY
            .iter()
            .filter(|point| point.unit == Unit::Installation && settings.in_force(point))
            .map(|point| point.key)
            .collect();
        let max_locales = shares.user_lang.and_then(|lang| lang.max_locales);
        Self { enabled: true, data_points, max_locales }
    }
}

/// The answer may be cached for five minutes.
pub(super) async fn get_policy(State(proxy): State<Proxy>, headers: HeaderMap) -> Response {
    let live = proxy.live();
    let facts = live.facts_for_spooling().await;
    let collected = Collected::of(&live.config.settings, &live.config.policy, facts.accounts);
    let body = serde_json::to_vec(&collected).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let cached = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let head = [(ETAG, etag.as_str()), (CACHE_CONTROL, "public, max-age=300")];
    if cached.split(',').any(|cached| cached.trim().trim_start_matches("W/") == etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(CONTENT_TYPE, "application/json")], body).into_response()
}
