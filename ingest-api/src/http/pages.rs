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
use crate::anomaly::overdue;
use crate::insight::{Answer, Insight, answer, domains_answer, newest_version, period};
use crate::pages::{
    Asked, Fresh, Guest, Overview, Page, Query as Chosen, View, asset, domains_page, insight_page,
    methodology_page, overview_page, problem_page,
};
use crate::release::Population;
use crate::release::Release;
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
    made_page(services, guest, view, make_overview).await
}

fn make_overview(recipe: &Recipe, releases: &[Release]) -> String {
    let Recipe { guest, view, fresh, .. } = recipe;
    let readable = |insights: &[Insight]| -> Vec<Insight> {
        insights.iter().copied().filter(|insight| guest.readable.contains(insight)).collect()
    };
    let over_time = answers(view.kind, releases, &readable(&[Insight::Pods, Insight::Reach]));
    // The period ends with the newest.
    let newest = releases.last().map(std::slice::from_ref).unwrap_or_default();
    let now = answers(view.kind, newest, &readable(&VALUES));
    overview_page(&Overview { guest, view, fresh, over_time, now })
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
    made_page(services, guest, view, move |recipe, releases| make_insight(insight, recipe, releases)).await
}

fn make_insight(insight: Insight, recipe: &Recipe, releases: &[Release]) -> String {
    let Recipe { guest, view, days, fresh, .. } = recipe;
    let population = if insight == Insight::AppVersions { view.population } else { Population::Pod };
    let app = (insight == Insight::AppVersions).then_some(view.app);
    let cut = view.cut(newest_version(releases, population, app));
    let answer = answer(insight, view.kind, releases, cut);
    let fresh = fresh[view.kind as usize];
    insight_page(insight, &Asked { guest, view, days: *days, fresh, cut, answer: &answer })
}

/// A page about releases: the one that was made before from the same, or else one that is made now.
async fn made_page(
    services: Arc<Services>,
    guest: Guest,
    view: View,
    make: impl FnOnce(&Recipe, &[Release]) -> String + Send + 'static,
) -> Result<Response, Error> {
    let released = services.archive.released_windows().await?;
    let now = services.clock.now();
    let fresh = WindowKind::ALL.map(|kind| {
        let newest = released.newest(kind);
        let is_late = newest.is_some_and(|newest| overdue(newest, now).is_some());
        Fresh { kind, newest, is_late }
    });
    let days = days(&view, released.newest(view.kind).map(|window| window.start()))?;
    let windows = released.in_period(view.kind, days).to_vec();
    let recipe = Recipe { guest, view, days, fresh, windows };
    if let Some(made) = services.made.get(&recipe) {
        return Ok(page(made));
    }
    let releases = services.archive.releases(&recipe.windows).await?;
    // Without those that have been purged meanwhile.
    let windows = releases.iter().map(|release| release.window).collect();
    let recipe = Recipe { windows, ..recipe };
    let kept = Arc::clone(&services);
    let made = services.making.make(recipe.guest.name.is_none(), move || {
        // Whoever asked for the same at once has waited for it.
        kept.made.get(&recipe).unwrap_or_else(|| {
            let made = Bytes::from(make(&recipe, &releases).into_boxed_str().into_boxed_bytes());
            kept.made.keep(recipe, made.clone());
            made
        })
    });
    Ok(page(made.await?))
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

/// Answers to several questions about the same windows.
fn answers(kind: WindowKind, releases: &[Release], insights: &[Insight]) -> Vec<(Insight, Answer)> {
    insights.iter().map(|insight| (*insight, answer(*insight, kind, releases, None))).collect()
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::problem(ProblemType::INVALID_QUERY, detail)
}
