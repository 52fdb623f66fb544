//! Reading: `GET /v1/insights` and `/v1/insights/{insight}`, as JSON and CSV.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use shared::problem::ProblemType;
use shared::version::Version;

use super::{Error, Services};
use crate::access::Reader;
use crate::insight::{Insight, answer, domains_answer, period};
use crate::table;
use crate::window::WindowKind;

/// What there is, and where.
#[derive(Serialize)]
pub(super) struct ListedInsight {
    insight: &'static str,
    question: &'static str,
    unit: &'static str,
    json: String,
    csv: String,
}

/// `GET /v1/insights`: what there is.
pub(super) async fn list_insights(_: Reader) -> Json<Vec<ListedInsight>> {
    let listed = Insight::ALL.map(|insight| ListedInsight {
        insight: insight.as_str(),
        question: insight.question(),
        unit: insight.unit(),
        json: format!("/v1/insights/{}", insight.as_str()),
        csv: format!("/v1/insights/{}?format=csv", insight.as_str()),
    });
    Json(listed.into())
}

/// `GET /`: the same as a page.
pub(super) async fn get_index(_: Reader) -> Html<String> {
    let rows: String = Insight::ALL
        .iter()
        .map(|insight| {
            let name = insight.as_str();
            format!(
                "<li>{} – <a href=\"/v1/insights/{name}?window=week\">JSON</a>, \
                 <a href=\"/v1/insights/{name}?window=week&amp;format=csv\">CSV</a></li>",
                insight.question()
            )
        })
        .collect();
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Prose vendor analytics</title>\
         <h1>Prose vendor analytics</h1><p>The newest released week:</p><ul>{rows}</ul>"
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InsightQuery {
    window: Option<String>,
    from: Option<String>,
    to: Option<String>,
    format: Option<String>,
    below: Option<String>,
}

/// `GET /v1/insights/{insight}?window=day|week|month&from=DATE&to=DATE&below=VERSION&format=json|csv`: the windows that
/// start from `from` to `to`, both included; without `to`, up to the newest; without both, the newest one.
pub(super) async fn get_insight(
    State(services): State<Services>,
    reader: Reader,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<InsightQuery>, QueryRejection>,
) -> Result<Response, Error> {
    let insight = name.ok().and_then(|Path(name)| Insight::parse(&name)).ok_or_else(|| {
        let names: Vec<_> = Insight::ALL.iter().map(|insight| insight.as_str()).collect();
        Error::problem(ProblemType::NOT_FOUND, format!("There are these insights: {}.", names.join(", ")))
    })?;
    let Query(query) =
        query.map_err(|_| invalid("The parameters are window, from, to, below and format, each once."))?;
    let as_csv = match query.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(invalid("`format` is json or csv.")),
    };
    let Some(family) = insight.family() else {
        if !reader.may_read_domains {
            return Err(Error::problem(
                ProblemType::FORBIDDEN,
                "Domains need a token that was made with `ingest-api token create NAME --domains`.",
            ));
        }
        let answer = domains_answer(
            services.database.domains_for(&reader.token.digest(), services.clock.now()).await?,
        );
        return Ok(if as_csv {
            csv(insight, table::domains_csv(&answer))
        } else {
            Json(answer).into_response()
        });
    };
    let kind = match query.window.as_deref() {
        None => WindowKind::Week,
        Some(name) => WindowKind::parse(name).ok_or_else(|| invalid("`window` is day, week or month."))?,
    };
    let below = match query.below.as_deref() {
        None => None,
        Some(_) if insight != Insight::PodVersions => return Err(invalid("`below` is for pod_versions.")),
        Some(text) => Some(
            Version::parse(text)
                .ok_or_else(|| invalid("`below` is a version such as 0.4.0 or 0.4.0-rc.1."))?,
        ),
    };
    let date = |text: &Option<String>, name: &str| {
        let parsed = text.as_deref().map(str::parse::<Date>).transpose();
        parsed.map_err(|_| invalid(format!("`{name}` is a date such as 2026-11-22.")))
    };
    let (from, to) = (date(&query.from, "from")?, date(&query.to, "to")?);
    let newest = services.database.newest_release(kind).await?.map(|window| window.start());
    let releases = match period(from, to, newest).map_err(|error| invalid(format!("{error}.")))? {
        Some((from, to)) => services.database.releases(kind, from, to, &[family]).await?,
        None => Vec::new(),
    };
    let answer = answer(insight, kind, &releases, below);
    Ok(if as_csv { csv(insight, table::csv(&answer)) } else { Json(answer).into_response() })
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::problem(ProblemType::INVALID_QUERY, detail)
}

fn csv(insight: Insight, text: Result<String, ::csv::Error>) -> Response {
    let disposition = format!("attachment; filename=\"{}.csv\"", insight.as_str());
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text.unwrap_or_default()).into_response()
}
