//! The types of the answers and the parameters → the OpenAPI document for readers.
//!
//! `schemars` describes the types, as it does for the schema of an event. Everything else comes from the
//! lists that the handlers use. `shared/event.schema.json` describes what apps and Pods send.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use shared::app::AppName;
use shared::problem::{Problem, ProblemType};

use super::conditional::{self, Cache};
use super::insights::ListedInsight;
use super::query::parameters;
use super::services::Services;
use crate::insight::{Answer, DEFAULT_APP, DomainsAnswer, Insight};
use crate::window::WindowKind;

/// `GET /openapi.json`.
pub(super) async fn get_openapi(State(services): State<Arc<Services>>, headers: HeaderMap) -> Response {
    let document = document(&services.public_insights);
    let body = format!("{document:#}\n").into_bytes();
    conditional::answer(&headers, Cache::Public, "application/json", body.into())
}

/// The document. `public` insights need no token.
fn document(public: &BTreeSet<Insight>) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut types = settings.into_generator();
    let mut paths = Map::new();
    paths.insert("/v1/insights".to_owned(), json!({ "get": list(&mut types) }));
    for insight in Insight::ALL {
        let operation = insight_operation(insight, public.contains(&insight), &mut types);
        paths.insert(format!("/v1/insights/{}", insight.as_str()), json!({ "get": operation }));
    }
    for (path, id, summary) in [
        ("/healthz", "get_health", "Whether the process answers"),
        (
            "/readyz",
            "get_readiness",
            "Whether the database answers and the keys of the open windows are there",
        ),
    ] {
        let mut responses = problems(&[ProblemType::UNAVAILABLE], &mut types);
        responses.insert("204".to_owned(), json!({ "description": "Yes." }));
        let operation = json!({ "operationId": id, "summary": summary, "responses": responses });
        paths.insert(path.to_owned(), json!({ "get": operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Prose vendor analytics",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Numbers of distinct Pods and installations of Prose for each day, week and month, published \
                only for groups that are large enough, and rounded. Never add numbers of several windows.",
            "license": { "name": "MPL-2.0", "identifier": "MPL-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": types.take_definitions(true),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that `ingest-api token create NAME` made.",
                },
            },
        },
    })
}

fn list(types: &mut SchemaGenerator) -> Value {
    let mut responses = problems(&[ProblemType::UNAUTHENTICATED, ProblemType::UNAVAILABLE], types);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "The insights that may be read.",
            "content": { "application/json": { "schema": types.subschema_for::<Vec<ListedInsight>>() } },
        }),
    );
    json!({
        "operationId": "list_insights",
        "summary": "The insights that you may read",
        "security": [{ "token": [] }],
        "responses": responses,
    })
}

fn insight_operation(insight: Insight, is_public: bool, types: &mut SchemaGenerator) -> Value {
    let mut kinds = vec![ProblemType::INVALID_QUERY, ProblemType::UNAUTHENTICATED, ProblemType::UNAVAILABLE];
    let schema = match insight {
        Insight::Domains => {
            kinds.push(ProblemType::FORBIDDEN);
            types.subschema_for::<DomainsAnswer>()
        }
        _ => types.subschema_for::<Answer>(),
    };
    let mut responses = problems(&kinds, types);
    let etag = json!({ "description": "A digest of the body.", "schema": { "type": "string" } });
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "The answer.",
            "headers": { "ETag": etag },
            "content": {
                "application/json": { "schema": schema },
                "text/csv": { "schema": { "type": "string" } },
            },
        }),
    );
    responses.insert(
        "304".to_owned(),
        json!({ "description": "The body is one that `If-None-Match` names.", "headers": { "ETag": etag } }),
    );
    let parameters: Vec<_> = parameters(insight).iter().map(|name| parameter(name)).collect();
    let security = if is_public { json!([{ "token": [] }, {}]) } else { json!([{ "token": [] }]) };
    json!({
        "operationId": format!("get_{}", insight.as_str()),
        "summary": insight.question(),
        "description": format!("Counts each distinct {} once in each window.", insight.unit()),
        "security": security,
        "parameters": parameters,
        "responses": responses,
    })
}

fn parameter(name: &str) -> Value {
    let (description, schema) = match name {
        "window" => (
            "How long the windows are.",
            json!({ "type": "string", "enum": WindowKind::ALL.map(WindowKind::as_str), "default": "week" }),
        ),
        "from" => (
            "The first window starts on or after this day. A period has at most 400 days. Without `from` and `to`: \
             the newest window only.",
            date(),
        ),
        "to" => (
            "The last window starts on or before this day, which is not before `from`. Without `to`: up to the \
             newest. Without `from`: from 400 days before `to`.",
            date(),
        ),
        "below" => (
            "How many are below this version, at least and at most?",
            json!({ "type": "string", "pattern": VERSION, "maxLength": 40, "examples": ["0.4.0"] }),
        ),
        "app" => (
            "The app that `below` is about.",
            json!({
                "type": "string",
                "enum": AppName::ALL.map(AppName::as_str),
                "default": DEFAULT_APP.as_str(),
            }),
        ),
        _ => (
            "The format of the answer. A CSV has one line for each published number.",
            json!({ "type": "string", "enum": ["json", "csv"], "default": "json" }),
        ),
    };
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// What [`shared::version::Version::parse`] accepts.
const VERSION: &str =
    r"^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){2}(-(alpha|beta|rc)(\.(0|[1-9][0-9]?))?)?$";

fn date() -> Value {
    json!({
        "type": "string",
        "format": "date",
        "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
        "examples": ["2026-11-22"],
    })
}

/// An answer for each status that a request can fail with.
fn problems(kinds: &[ProblemType], types: &mut SchemaGenerator) -> Map<String, Value> {
    let schema = types.subschema_for::<Problem>();
    let mut responses = Map::new();
    for kind in kinds {
        let content = json!({ Problem::MEDIA_TYPE: { "schema": schema } });
        responses.insert(kind.status.to_string(), json!({ "description": kind.title, "content": content }));
    }
    responses
}

#[cfg(test)]
mod tests {
    use shared::version::Version;

    use super::*;

    /// `INSTA_UPDATE=always cargo test -p ingest-api the_document_is_as_committed` commits another one.
    #[test]
    fn the_document_is_as_committed() {
        // The order of keys depends on who else is built.
        insta::with_settings!({ sort_maps => true }, {
            insta::assert_json_snapshot!(document(&BTreeSet::new()));
        });
    }

    #[test]
    fn what_is_public_needs_no_token() {
        let document = document(&BTreeSet::from([Insight::Pods]));
        let security = |path: &str| document["paths"][path]["get"]["security"].clone();
        assert_eq!(security("/v1/insights/pods"), json!([{ "token": [] }, {}]));
        assert_eq!(security("/v1/insights/platforms"), json!([{ "token": [] }]));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&BTreeSet::new());
        let text = document.to_string();
        let references: Vec<_> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|at| at.split('"').next()).collect();
        assert!(references.len() > 10);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn versions_are_read_as_described() {
        for text in ["0.4.0", "999.0.12", "1.0.0-rc", "1.0.0-beta.12"] {
            assert!(Version::parse(text).is_some(), "{text}");
        }
        for text in ["1000.0.0", "0.4", "1.0.0-rc.100", "01.0.0"] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
    }
}
