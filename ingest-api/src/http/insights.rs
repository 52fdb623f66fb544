//! `GET /v1/insights` and `/v1/insights/{insight}`, as JSON and CSV.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use shared::problem::ProblemType;

use super::conditional::{self, Cache};
use super::problem::Error;
use super::query::InsightQuery;
use super::reader::Visitor;
use super::services::Services;
use crate::insight::{Insight, answer, domains_answer, period};
use crate::table;

/// An insight, and where it is.
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

/// `GET /v1/insights`: the insights that the sender may read.
pub(super) async fn list_insights(visitor: Visitor, headers: HeaderMap) -> Result<Response, Error> {
    let listed = visitor.readable()?.into_iter().map(|insight| ListedInsight {
        insight: insight.as_str(),
        question: insight.question(),
        unit: insight.unit(),
        json: format!("/v1/insights/{}", insight.as_str()),
        csv: format!("/v1/insights/{}?format=csv", insight.as_str()),
    });
    let cache = if visitor.reader().is_none() { Cache::Public } else { Cache::Private };
    let body = body(None, &listed.collect::<Vec<_>>())?;
    Ok(conditional::answer(&headers, cache, "application/json", body.into()))
}

/// `GET /v1/insights/{insight}?window=day|week|month&from=DATE&to=DATE&below=VERSION&format=json|csv`: the
/// windows that start from `from` to `to`, both included. Without `to`, up to the newest; without both, the
/// newest one.
pub(super) async fn get_insight(
    State(services): State<Arc<Services>>,
    visitor: Visitor,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let insight = name.ok().and_then(|Path(name)| Insight::parse(&name)).ok_or_else(|| {
        let names: Vec<_> = Insight::ALL.iter().map(|insight| insight.as_str()).collect();
        Error::problem(ProblemType::NOT_FOUND, format!("The insights are: {}.", names.join(", ")))
    })?;
    visitor.admit(insight)?;
    let asked = InsightQuery::read(insight, query.as_deref().unwrap_or("")).map_err(Error::invalid_query)?;
    let (cache, body) = match insight.family() {
        None => {
            let digest = visitor.reader().map(|reader| reader.digest).unwrap_or_default();
            let now = services.clock.now();
            let answer = domains_answer(services.database.domains_for(&digest, now).await?);
            let csv = asked.as_csv.then(|| table::domains_csv(&answer));
            (Cache::Never, body(csv, &answer)?)
        }
        Some(_) => {
            let released = services.releases.released_windows().await?;
            let newest = released.newest(asked.kind).map(|window| window.start());
            let days = period(asked.from, asked.to, newest)
                .map_err(|error| Error::invalid_query(format!("{error}.")))?;
            let releases = services.releases.releases(released.in_period(asked.kind, days)).await?;
            let (kind, below, as_csv) = (asked.kind, asked.below, asked.as_csv);
            let rendered = services.render_queue.render(visitor.reader().is_none(), move || {
                let answer = answer(insight, kind, &releases, below);
                let csv = as_csv.then(|| table::csv(&answer));
                body(csv, &answer)
            });
            let cache = if visitor.reader().is_none() { Cache::Public } else { Cache::Private };
            (cache, rendered.await??)
        }
    };
    if !asked.as_csv {
        return Ok(conditional::answer(&headers, cache, "application/json", body.into()));
    }
    let disposition = format!("attachment; filename=\"{}.csv\"", insight.as_str());
    let answer = conditional::answer(&headers, cache, "text/csv; charset=utf-8", body.into());
    Ok(([(header::CONTENT_DISPOSITION, disposition)], answer).into_response())
}

/// A byte order mark. Without one, spreadsheets read a CSV in an encoding from before Unicode.
const BOM: &str = "\u{feff}";

fn body(csv: Option<Result<String, ::csv::Error>>, answer: &impl Serialize) -> Result<Vec<u8>, Error> {
    let fault = |error: String| Error::Fault(format!("an answer could not be written: {error}"));
    match csv {
        Some(text) => Ok([BOM, &text.map_err(|error| fault(error.to_string()))?].concat().into_bytes()),
        None => serde_json::to_vec(answer).map_err(|error| fault(error.to_string())),
    }
}
