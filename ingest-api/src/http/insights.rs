//! Reading: `GET /v1/insights` and `/v1/insights/{insight}`, as JSON and CSV.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ProblemType;

use super::caching::{Keep, answered};
use super::query::Asked;
use super::reader::Visitor;
use super::{Error, Services};
use crate::insight::{Insight, answer, domains_answer, period};
use crate::table;

/// What there is, and where.
#[derive(Serialize, JsonSchema)]
pub(super) struct ListedInsight {
    /// Its name.
    insight: &'static str,
    /// The question that it answers.
    question: &'static str,
    /// What is counted.
    unit: &'static str,
    /// The path of the answer as JSON.
    json: String,
    /// The path of the answer as CSV.
    csv: String,
}

/// `GET /v1/insights`: what there is for whoever asks.
pub(super) async fn list_insights(visitor: Visitor, headers: HeaderMap) -> Result<Response, Error> {
    let readable: Vec<_> = Insight::ALL.into_iter().filter(|insight| visitor.may_read(*insight)).collect();
    // Somebody to whom nothing is open has to log in.
    visitor.admit(readable.first().copied().unwrap_or(Insight::Pods))?;
    let listed = readable.into_iter().map(|insight| ListedInsight {
        insight: insight.as_str(),
        question: insight.question(),
        unit: insight.unit(),
        json: format!("/v1/insights/{}", insight.as_str()),
        csv: format!("/v1/insights/{}?format=csv", insight.as_str()),
    });
    let keep = if visitor.reader().is_none() { Keep::Public } else { Keep::Private };
    let body = body(None, &listed.collect::<Vec<_>>())?;
    Ok(answered(&headers, keep, "application/json", body.into()))
}

/// `GET /v1/insights/{insight}?window=day|week|month&from=DATE&to=DATE&below=VERSION&format=json|csv`: the windows that
/// start from `from` to `to`, both included; without `to`, up to the newest; without both, the newest one.
pub(super) async fn get_insight(
    State(services): State<Arc<Services>>,
    visitor: Visitor,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let insight = name.ok().and_then(|Path(name)| Insight::parse(&name)).ok_or_else(|| {
        let names: Vec<_> = Insight::ALL.iter().map(|insight| insight.as_str()).collect();
        Error::problem(ProblemType::NOT_FOUND, format!("There are these insights: {}.", names.join(", ")))
    })?;
    visitor.admit(insight)?;
    let asked = Asked::read(insight, query.as_deref().unwrap_or("")).map_err(invalid)?;
    let (keep, body) = match insight.family() {
        None => {
            let digest = visitor.reader().map(|reader| reader.digest).unwrap_or_default();
            let now = services.clock.now();
            let answer = domains_answer(services.database.domains_for(&digest, now).await?);
            let csv = asked.as_csv.then(|| table::domains_csv(&answer));
            (Keep::Never, body(csv, &answer)?)
        }
        Some(_) => {
            let released = services.archive.released_windows().await?;
            let newest = released.newest(asked.kind).map(|window| window.start());
            let days = period(asked.from, asked.to, newest).map_err(|error| invalid(format!("{error}.")))?;
            let releases = services.archive.releases(released.in_period(asked.kind, days)).await?;
            let (kind, below, as_csv) = (asked.kind, asked.below, asked.as_csv);
            let made = services.making.make(visitor.reader().is_none(), move || {
                let answer = answer(insight, kind, &releases, below);
                let csv = as_csv.then(|| table::csv(&answer));
                body(csv, &answer)
            });
            let keep = if visitor.reader().is_none() { Keep::Public } else { Keep::Private };
            (keep, made.await??)
        }
    };
    if !asked.as_csv {
        return Ok(answered(&headers, keep, "application/json", body.into()));
    }
    let disposition = format!("attachment; filename=\"{}.csv\"", insight.as_str());
    let answer = answered(&headers, keep, "text/csv; charset=utf-8", body.into());
    Ok(([(header::CONTENT_DISPOSITION, disposition)], answer).into_response())
}

/// A byte order mark: spreadsheets take a CSV without one for whatever their language was written in before Unicode.
const BOM: &str = "\u{feff}";

fn body(csv: Option<Result<String, ::csv::Error>>, answer: &impl Serialize) -> Result<Vec<u8>, Error> {
    let fault = |error: String| Error::Fault(format!("an answer could not be written: {error}"));
    match csv {
        Some(text) => Ok([BOM, &text.map_err(|error| fault(error.to_string()))?].concat().into_bytes()),
        None => serde_json::to_vec(answer).map_err(|error| fault(error.to_string())),
    }
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::problem(ProblemType::INVALID_QUERY, detail)
}
