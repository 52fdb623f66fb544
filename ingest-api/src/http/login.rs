//! `/login` and `/logout`: a token → a session in a cookie of the browser → nothing.
//!
//! The token stays in no page, cookie or address: a link with a token is answered with a redirect, so that
//! neither the browser's history nor the next page learns it. Only our own pages start and end sessions: the
//! cookie is `SameSite=Lax`, and we refuse a request if the browser says that it comes from another site.

use std::sync::Arc;

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use shared::problem::ProblemType;

use super::problem::Error;
use super::reader::{prefers_page, token_not_valid};
use super::services::Services;
use super::session_cookie::{session, set_cookie};
use crate::access::{Session, Token, expiry};
use crate::pages::login::{Notice, login_page};
use crate::rates::Source;

pub(super) const MAX_FORM_BYTES: usize = 8 * 1024;

const START: &str = "/";

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    token: Option<String>,
    next: Option<String>,
    failed: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
    next: Option<String>,
}

/// The path of a link that logs a browser in.
pub fn login_path(token: &Token) -> String {
    format!("/login?token={}", token.reveal())
}

/// `GET /login`: the page with the form. `GET /login?token=…`: logs in, and redirects to a path without the
/// token.
pub(super) async fn get_login(
    State(services): State<Arc<Services>>,
    source: Source,
    headers: HeaderMap,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(LoginQuery { token, next, failed }) = query
        .map_err(|_| Error::problem(ProblemType::INVALID_QUERY, "The parameters are token and next."))?;
    let next = local(next);
    let Some(token) = token else {
        let notice = failed.map(|_| Notice::NotValid);
        return Ok(page(StatusCode::OK, &next, notice));
    };
    // No other site decides who a browser is logged in as. A link in a terminal or a mail program comes from
    // no site.
    if own_site(&services, &headers).is_err() {
        return Ok(page(StatusCode::FORBIDDEN, &next, Some(Notice::OtherSite)));
    }
    match log_in(&services, source, &headers, &token).await? {
        Some(cookie) => Ok(go(&next, Some(cookie))),
        None if prefers_page(&headers) => Ok(go("/login?failed=token", None)),
        None => Err(token_not_valid()),
    }
}

/// `POST /login`: logs in with the token in the form.
pub(super) async fn post_login(
    State(services): State<Arc<Services>>,
    source: Source,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Result<Response, Error> {
    own_site(&services, &headers)?;
    let Form(LoginForm { token, next }) = form.map_err(|_| {
        Error::problem(
            ProblemType::INVALID_QUERY,
            "Send a form with the fields token and, if you like, next.",
        )
    })?;
    let next = local(next);
    match log_in(&services, source, &headers, &token).await? {
        Some(cookie) => Ok(go(&next, Some(cookie))),
        None if prefers_page(&headers) => Ok(page(StatusCode::UNAUTHORIZED, &next, Some(Notice::NotValid))),
        None => Err(token_not_valid()),
    }
}

/// `POST /logout`: ends the session, and goes to the login page.
pub(super) async fn post_logout(
    State(services): State<Arc<Services>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    own_site(&services, &headers)?;
    if let Some(session) = session(&headers, &services) {
        services.database.end_session(&session).await?;
    }
    Ok(go("/login", Some(set_cookie(&services, "", 0))))
}

/// Opens a session, and returns its cookie; `None` if the token is not valid.
async fn log_in(
    services: &Services,
    source: Source,
    headers: &HeaderMap,
    token: &str,
) -> Result<Option<String>, Error> {
    let now = services.clock.now();
    let until = expiry(now, services.session_lifetime).unwrap_or(now);
    let (token, opened) = (Token::presented(token.trim()), Session::generate());
    let open = services.database.open_session(&token, &opened, now, until);
    let throttle = &services.login_throttle;
    let Some(ends) = throttle.look_up(source, &token.digest(), now, open).await? else { return Ok(None) };
    throttle.opened(&opened.digest());
    // The session of the browser before this login.
    if let Some(before) = session(headers, services) {
        services.database.end_session(&before).await?;
    }
    let seconds = ends.duration_since(now).as_secs().max(0);
    Ok(Some(set_cookie(services, opened.reveal(), seconds)))
}

/// Refuses a request that a page of another site made a browser send. No browser leaves out all of these
/// headers.
fn own_site(services: &Services, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_own = match (headers.get("sec-fetch-site"), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, None) => true,
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(header::HOST)
                || services.public_url.as_ref().is_some_and(|url| url.as_str() == origin)
        }
    };
    is_own.then_some(()).ok_or_else(|| {
        Error::problem(
            ProblemType::FORBIDDEN,
            "Only pages of this site may do this, and a page of another site tried.",
        )
    })
}

/// The path of this site to go to next: never another site, whatever the query says.
fn local(next: Option<String>) -> String {
    next.filter(|next| is_local(next)).unwrap_or_else(|| START.to_owned())
}

/// Browsers read `//host` and `/\host` as another site, and skip line breaks and tabs.
fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !path.starts_with("/login")
        && !path.starts_with("/logout")
}

fn page(status: StatusCode, next: &str, notice: Option<Notice>) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], login_page(next, notice)).into_response()
}

fn go(path: &str, cookie: Option<String>) -> Response {
    let headers = [(header::LOCATION, path), (header::CACHE_CONTROL, "no-store")];
    let cookies = AppendHeaders(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    (StatusCode::SEE_OTHER, headers, cookies).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for path in ["/", "/insights/pods?window=week&below=0.4.0", "/v1/insights/pods?format=csv"] {
            assert_eq!(local(Some(path.to_owned())), path);
        }
        for path in [
            "",
            "insights",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "/a\\b",
            "/login?next=/",
            "/logout",
            "/ä",
        ] {
            assert_eq!(local(Some(path.to_owned())), "/", "{path:?}");
        }
    }
}
