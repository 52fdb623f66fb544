//! `GET …/v1/analytics/policy`: the policy in force → what apps need to know about it.
//!
//! With it, an app does not send what would be stripped, and can show its user what is collected. The operator's lists of
//! platforms are not in it, because they may be confidential.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use headers::{HeaderMapExt, IfNoneMatch};
use serde::Serialize;
use shared::data_point::{DataPoint, Reporter, UserLang};
use shared::event::App;
use shared::policy::Policy;

use crate::proxy::Proxy;

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Collected {
    enabled: bool,
    /// The keys of the data points that apps may send.
    data_points: Vec<&'static str>,
    max_locales: Option<u32>,
}

impl Collected {
    fn of(policy: &Policy, accounts: Option<u32>) -> Self {
        if policy.permits(accounts).is_err() {
            return Self { enabled: false, data_points: Vec::new(), max_locales: None };
        }
        let of_apps = App::SHARED.iter().map(|point| &point.declaration);
        let data_points = of_apps.filter(|point| policy.in_force(point)).map(|point| point.key).collect();
        let locales = policy.options(&UserLang::DECLARATION);
        let max_locales = locales.and_then(|options| options.number(&UserLang::MAX_LOCALES));
        Self { enabled: true, data_points, max_locales }
    }
}

/// The answer may be cached for five minutes.
pub(super) async fn get_policy(State(proxy): State<Proxy>, headers: HeaderMap) -> Response {
    let live = proxy.live();
    let facts = live.facts_for_spooling().await;
    let collected = Collected::of(&live.config.policy, facts.accounts);
    let body = serde_json::to_vec(&collected).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let head = [(ETAG, etag.as_str()), (CACHE_CONTROL, "public, max-age=300")];
    let tag: headers::ETag = etag.parse().expect("hexadecimal digits in quotes are a tag");
    // Compares weakly (RFC 9110, section 13.1.2).
    if headers.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&tag)) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(CONTENT_TYPE, "application/json")], body).into_response()
}
