//! Who is asking: a bearer token, or the cookie that a login link leaves in a browser.

use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::problem::ProblemType;

use super::{Error, Services};
use crate::access::{Reader, Token};

const COOKIE: &str = "reader";

impl FromRequestParts<Services> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Error> {
        let token = presented(&parts.headers).ok_or_else(|| {
            Error::problem(
                ProblemType::UNAUTHENTICATED,
                "Send a token as `Authorization: Bearer …`. `ingest-api token create NAME` makes one.",
            )
        })?;
        read(services, token).await
    }
}

async fn read(services: &Services, token: Token) -> Result<Reader, Error> {
    let stored = services.database.valid_token(&token.digest(), services.clock.now()).await?;
    let stored = stored.ok_or_else(|| {
        Error::problem(ProblemType::UNAUTHENTICATED, "The token is unknown, revoked, or has expired.")
    })?;
    Ok(Reader { token, may_read_domains: stored.may_read_domains })
}

fn presented(headers: &HeaderMap) -> Option<Token> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    // Other schemes are for somebody before us, such as a reverse proxy.
    let bearer = text(header::AUTHORIZATION).and_then(|authorization| authorization.split_once(' '));
    if let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
        return Some(Token::presented(token.trim()));
    }
    let cookies = text(header::COOKIE)?.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    cookies.into_iter().find(|(name, _)| *name == COOKIE).map(|(_, token)| Token::presented(token))
}

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    token: String,
}

/// The path of a link that logs a browser in.
pub fn login_path(token: &Token) -> String {
    format!("/login?token={}", token.reveal())
}

/// `GET /login?token=…`: keeps the token in a cookie of the browser, and goes on to the start page.
pub(super) async fn get_login(
    State(services): State<Services>,
    query: Result<Query<LoginQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    let Query(LoginQuery { token }) =
        query.map_err(|_| Error::problem(ProblemType::INVALID_QUERY, "The link must end in `?token=…`."))?;
    let token = Token::presented(&token);
    let Reader { token, .. } = read(&services, token).await?;
    let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400", token.reveal());
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::LOCATION, "/".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
