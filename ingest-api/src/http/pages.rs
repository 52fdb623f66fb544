//! Pages for browsers: what a reader chose → releases → an answer → HTML.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use jiff::civil::Date;
use shared::problem::{Problem, ProblemType};

use super::made::Recipe;
use super::reader::{Visitor, prefers_page};
use super::{Error, Services};
use crate::insight::{Answer, Insight, answer, domains_answer, newest_version, period};
use crate::oddity::overdue;
use crate::pages::{
    Asked, Fresh, Guest, Overview, Page, Query as Chosen, View, asset, domains_page, insight_page,
    methodology_page, overview_page, problem_page,
};
use crate::release::Population;
use crate::store::StoreError;
use crate::store::releases::Release;
use crate::window::WindowKind;

/// `GET /`: everything at a glance.
pub(super) async fn get_overview(
    State(services): State<Arc<Services>>,
    visitor: Visitor,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Error> {
    let guest = guest(&visitor);
    // Somebody to whom nothing is open has to log in.
    visitor.admit(guest.readable.first().copied().unwrap_or(Insight::Pods))?;
    let view = view(Page::Overview, query)?;
    if view.has_days() {
        return Err(invalid(
            "The overview is about the newest release; ask the page of an insight about other days.",
        ));
    }
    let mut fresh = Vec::new();
    for kind in WindowKind::ALL {
        fresh.push(freshness(&services, kind).await?);
    }
    let newest = fresh.iter().find(|fresh| fresh.kind == view.kind).and_then(|fresh| fresh.newest);
    let readable = |insights: &[Insight]| -> Vec<Insight> {
        insights.iter().copied().filter(|insight| visitor.may_read(*insight)).collect()
    };
    let days = days(&view, newest.map(|window| window.start()))?;
    let over_time = releases(&services, view.kind, days).await?;
    let now = newest.and_then(|newest| over_time.iter().find(|release| release.window == newest).cloned());
    let [asked_over_time, asked_now] = [readable(&[Insight::Pods, Insight::Reach]), readable(&VALUES)];
    let made = services.make(move || {
        let over_time = answers(view.kind, &over_time, &asked_over_time);
        let now = answers(view.kind, now.as_slice(), &asked_now);
        overview_page(&Overview { guest: &guest, view: &view, fresh: &fresh, over_time, now })
    });
    Ok(page(made.await?))
}

/// The insights of which the overview shows the newest window.
const VALUES: [Insight; 5] =
    [Insight::PodVersions, Insight::PodSizes, Insight::AppVersions, Insight::Platforms, Insight::Languages];

/// `GET /insights/{insight}`: one question.
pub(super) async fn get_insight_page(
    State(services): State<Arc<Services>>,
    visitor: Visitor,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Error> {
    let insight = name.ok().and_then(|Path(name)| Insight::parse(&name));
    let insight =
        insight.ok_or_else(|| Error::problem(ProblemType::NOT_FOUND, "There is no insight of that name."))?;
    visitor.admit(insight)?;
    let view = view(Page::Insight(insight), query)?;
    let guest = guest(&visitor);
    if insight.family().is_none() {
        return get_domains(&services, &visitor, &guest, &view).await;
    }
    let fresh = freshness(&services, view.kind).await?;
    let newest = fresh.newest.map(|window| window.start());
    let days = days(&view, newest)?;
    let releases = releases(&services, view.kind, days).await?;
    let windows = releases.iter().map(|release| release.window).collect();
    let recipe = Recipe { guest, view, days, fresh, windows };
    if let Some(made) = services.made.get(&recipe) {
        return Ok(page(made));
    }
    let kept = Arc::clone(&services);
    let made = services.make(move || {
        // Whoever asked for the same at once has waited for it.
        kept.made.get(&recipe).unwrap_or_else(|| {
            let made = make(insight, &recipe, &releases);
            kept.made.keep(recipe, made.clone());
            made
        })
    });
    Ok(page(made.await?))
}

fn make(insight: Insight, recipe: &Recipe, releases: &[Release]) -> Bytes {
    let Recipe { guest, view, days, fresh, .. } = recipe;
    let population = if insight == Insight::AppVersions { view.population } else { Population::Pod };
    let app = (insight == Insight::AppVersions).then_some(view.app);
    let cut = view.cut(newest_version(releases, population, app));
    let answer = answer(insight, view.kind, releases, cut);
    let html =
        insight_page(insight, &Asked { guest, view, days: *days, fresh: *fresh, cut, answer: &answer });
    Bytes::from(html.into_boxed_str().into_boxed_bytes())
}

async fn get_domains(
    services: &Services,
    visitor: &Visitor,
    guest: &Guest,
    view: &View,
) -> Result<Response, Error> {
    let digest = visitor.reader().map(|reader| reader.digest).unwrap_or_default();
    let domains = services.database.domains_for(&digest, services.clock.now()).await?;
    Ok(page(domains_page(guest, view, &domains_answer(domains))))
}

/// `GET /methodology`: what is counted and how, for everybody.
pub(super) async fn get_methodology(visitor: Result<Visitor, Error>) -> Response {
    let guest = visitor.map(|visitor| guest(&visitor)).unwrap_or_default();
    page(methodology_page(&guest))
}

/// `GET /assets/{file}`: what pages are dressed with. Its name changes with its content.
pub(super) async fn get_asset(headers: HeaderMap, request: Request) -> Result<Response, Error> {
    let asset = asset(request.uri().path())
        .ok_or_else(|| Error::problem(ProblemType::NOT_FOUND, "There is no file of that name."))?;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|etag| etag.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|etag| etag.trim() == asset.etag));
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::ETAG, asset.etag.as_str()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok(if is_known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, asset.content).into_response()
    })
}

/// Turns a problem into a page for those who come with a browser.
pub(super) async fn show_problems(request: Request, next: Next) -> Response {
    let wants_page = prefers_page(request.headers());
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| wants_page).cloned() else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, page(problem_page(&problem))).into_response()
}

fn page(html: impl Into<Bytes>) -> Response {
    let headers = [
        // What is shown depends on who asks; and nobody else's cache is to hold it.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::VARY, HeaderValue::from_static("Accept, Authorization, Cookie")),
    ];
    (headers, Html(html.into())).into_response()
}

fn guest(visitor: &Visitor) -> Guest {
    Guest {
        name: visitor.reader().map(|reader| reader.name.clone()),
        readable: Insight::ALL.into_iter().filter(|insight| visitor.may_read(*insight)).collect(),
    }
}

fn view(page: Page, query: Result<Query<Chosen>, QueryRejection>) -> Result<View, Error> {
    let Query(query) =
        query.map_err(|_| invalid("The address has a parameter that this page does not know."))?;
    View::of(page, &query).map_err(invalid)
}

fn days(view: &View, newest: Option<Date>) -> Result<Option<(Date, Date)>, Error> {
    let (from, to) = view.days(newest);
    period(from, to, newest).map_err(|error| invalid(format!("{error}.")))
}

async fn freshness(services: &Services, kind: WindowKind) -> Result<Fresh, StoreError> {
    let newest = services.database.newest_release(kind).await?;
    let is_late = newest.is_some_and(|newest| overdue(newest, services.clock.now()).is_some());
    Ok(Fresh { kind, newest, is_late })
}

async fn releases(
    services: &Services,
    kind: WindowKind,
    days: Option<(Date, Date)>,
) -> Result<Vec<Release>, StoreError> {
    match days {
        Some((from, to)) => services.archive.releases(kind, from, to).await,
        None => Ok(Vec::new()),
    }
}

/// Answers to several questions about the same windows.
fn answers(kind: WindowKind, releases: &[Release], insights: &[Insight]) -> Vec<(Insight, Answer)> {
    insights.iter().map(|insight| (*insight, answer(*insight, kind, releases, None))).collect()
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::problem(ProblemType::INVALID_QUERY, detail)
}
