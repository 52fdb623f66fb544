//! Pages for browsers: the choices of a reader → releases → an answer → HTML.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use jiff::civil::Date;
use shared::problem::{Problem, ProblemType};

use super::conditional::{self, Cache, VARY};
use super::page_cache::PageKey;
use super::problem::Error;
use super::reader::{Visitor, prefers_page};
use super::services::Services;
use crate::anomaly::overdue;
use crate::insight::{Insight, answer, domains_answer, newest_version, period};
use crate::pages::{
    Fresh, Guest, InsightPage, Overview, Page, Query as Chosen, View, asset, domains_page, insight_page,
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
    visitor.readable()?;
    let guest = guest(&visitor);
    let view = view(Page::Overview, query)?;
    if view.has_days() {
        return Err(Error::invalid_query(
            "The overview is about the newest release; the page of an insight shows other days.",
        ));
    }
    cached_page(services, guest, view, render_overview).await
}

fn render_overview(key: &PageKey, releases: &[Release]) -> String {
    let PageKey { guest, view, fresh, .. } = key;
    let answers = |releases, is_shown: fn(Insight) -> bool| {
        let shown = guest.readable.iter().filter(|insight| is_shown(**insight));
        shown.map(|insight| (*insight, answer(*insight, view.kind, releases, None))).collect()
    };
    let over_time = answers(releases, |insight| matches!(insight, Insight::Pods | Insight::Reach));
    // The period ends with the newest.
    let now = answers(releases.last().map(std::slice::from_ref).unwrap_or_default(), Insight::has_values);
    overview_page(&Overview { guest, view, fresh, over_time, now })
}

/// `GET /insights/{insight}`: one question.
pub(super) async fn get_insight_page(
    State(services): State<Arc<Services>>,
    visitor: Visitor,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Error> {
    let insight = name.ok().and_then(|Path(name)| Insight::parse(&name));
    let insight =
        insight.ok_or_else(|| Error::problem(ProblemType::NOT_FOUND, "There is no insight of this name."))?;
    visitor.admit(insight)?;
    let view = view(Page::Insight(insight), query)?;
    let guest = guest(&visitor);
    if insight.family().is_none() {
        return get_domains(&services, &visitor, &guest, &view).await;
    }
    cached_page(services, guest, view, move |key, releases| render_insight(insight, key, releases)).await
}

fn render_insight(insight: Insight, key: &PageKey, releases: &[Release]) -> String {
    let PageKey { guest, view, days, fresh, .. } = key;
    let of_each_app = insight.has_versions_of_each_app();
    let population = if of_each_app { view.population } else { Population::Pod };
    let app = of_each_app.then_some(view.app);
    let newest = insight.family().and_then(|family| newest_version(releases, population, family, app));
    let cut = view.cut(newest);
    let answer = answer(insight, view.kind, releases, cut);
    let fresh = fresh[view.kind as usize];
    insight_page(insight, &InsightPage { guest, view, days: *days, fresh, cut, answer: &answer })
}

/// A page about releases, from the cache or rendered now.
async fn cached_page(
    services: Arc<Services>,
    guest: Guest,
    view: View,
    render: impl FnOnce(&PageKey, &[Release]) -> String + Send + 'static,
) -> Result<Response, Error> {
    let released = services.releases.released_windows().await?;
    let now = services.clock.now();
    let fresh = WindowKind::ALL.map(|kind| {
        let newest = released.newest(kind);
        let is_late = newest.is_some_and(|newest| overdue(newest, now).is_some());
        Fresh { kind, newest, is_late }
    });
    let days = days(&view, released.newest(view.kind).map(|window| window.start()))?;
    let windows = released.in_period(view.kind, days).to_vec();
    let key = PageKey { guest, view, days, fresh, windows };
    if let Some(cached) = services.page_cache.get(&key) {
        return Ok(page(cached));
    }
    let releases = services.releases.releases(&key.windows).await?;
    // Without those that have been purged meanwhile.
    let windows = releases.iter().map(|release| release.window).collect();
    let key = PageKey { windows, ..key };
    let cache = Arc::clone(&services);
    let rendered = services.render_queue.render(key.guest.name.is_none(), move || {
        // Another request for the same page may have been ahead in the queue.
        cache.page_cache.get(&key).unwrap_or_else(|| {
            let rendered = Bytes::from(render(&key, &releases).into_boxed_str().into_boxed_bytes());
            cache.page_cache.insert(key, rendered.clone());
            rendered
        })
    });
    Ok(page(rendered.await?))
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

/// `GET /methodology`: what is counted and how. Open to everybody.
pub(super) async fn get_methodology(visitor: Result<Visitor, Error>) -> Response {
    let guest = visitor.map(|visitor| guest(&visitor)).unwrap_or_default();
    page(methodology_page(&guest))
}

/// `GET /assets/{file}`: style sheet and icon. Their names change with their content.
pub(super) async fn get_asset(headers: HeaderMap, request: Request) -> Result<Response, Error> {
    let asset = asset(request.uri().path())
        .ok_or_else(|| Error::problem(ProblemType::NOT_FOUND, "There is no file of this name."))?;
    let content = Bytes::from_static(asset.content.as_bytes());
    Ok(conditional::answer(&headers, Cache::Forever, asset.media_type, content))
}

/// Turns a problem into a page for browsers.
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
    // No shared cache may keep it: it depends on who asks.
    ([(header::CACHE_CONTROL, "private, no-cache")], [VARY], Html(html.into())).into_response()
}

fn guest(visitor: &Visitor) -> Guest {
    Guest {
        name: visitor.reader().map(|reader| reader.name.clone()),
        readable: visitor.readable().unwrap_or_default(),
    }
}

fn view(page: Page, query: Result<Query<Chosen>, QueryRejection>) -> Result<View, Error> {
    let Query(query) = query
        .map_err(|_| Error::invalid_query("The address has a parameter that this page does not have."))?;
    View::of(page, &query).map_err(Error::invalid_query)
}

fn days(view: &View, newest: Option<Date>) -> Result<Option<(Date, Date)>, Error> {
    let (from, to) = view.days(newest);
    period(from, to, newest).map_err(|error| Error::invalid_query(format!("{error}.")))
}
