//! A request → who is asking: a reader with a token or a session, or somebody to whom only public insights are open.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use shared::problem::ProblemType;

use super::{Error, Services, login, reports};
use crate::access::{Reader, Session, Token};
use crate::insight::Insight;
use crate::rates::Source;

/// Whoever asks, with or without a name.
#[derive(Debug)]
pub(crate) struct Visitor {
    reader: Option<Reader>,
    public: Arc<BTreeSet<Insight>>,
    way_in: WayIn,
}

/// What somebody who has to log in is told.
#[derive(Clone, Debug)]
enum WayIn {
    /// A browser: goes to the login page, and comes back to this path.
    LoginPage(String),
    /// Another program: needs a token.
    Token,
}

impl Visitor {
    /// The reader, if somebody is logged in.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    /// Whether the visitor may read an insight. [`Self::admit`] says what to answer if not.
    pub(crate) fn may_read(&self, insight: Insight) -> bool {
        match &self.reader {
            Some(reader) => insight != Insight::Domains || reader.may_read_domains,
            None => self.public.contains(&insight),
        }
    }

    /// Lets the visitor read an insight.
    ///
    /// # Errors
    /// 401 or the login page for somebody without a name, 403 for a reader without the right.
    pub(crate) fn admit(&self, insight: Insight) -> Result<(), Error> {
        if self.may_read(insight) {
            return Ok(());
        }
        Err(match &self.reader {
            None => self.way_in.clone().into(),
            Some(_) => Error::problem(
                ProblemType::FORBIDDEN,
                "Domains need a token that was made with `ingest-api token create NAME --domains`.",
            ),
        })
    }
}

impl From<WayIn> for Error {
    fn from(way_in: WayIn) -> Self {
        match way_in {
            WayIn::LoginPage(next) => Self::LogIn(next),
            WayIn::Token => Self::problem(
                ProblemType::UNAUTHENTICATED,
                "Send a token as `Authorization: Bearer …`. `ingest-api token create NAME` makes one.",
            ),
        }
    }
}

impl FromRequestParts<Arc<Services>> for Visitor {
    type Rejection = Error;

    /// Rejects a token that is not valid, and takes a session that is not valid for none. Rejects both unseen where too
    /// many were not valid, and those without a name where they ask too often.
    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let now = services.clock.now();
        let entrance = &services.entrance;
        let source = Source::from_request_parts(parts, services).await.unwrap_or_else(|never| match never {});
        let found = if let Some(token) = bearer(&parts.headers) {
            let digest = token.digest();
            let stored =
                entrance.look_up(source, &digest, now, services.database.valid_token(&digest, now)).await?;
            let stored = stored.ok_or_else(|| {
                Error::problem(ProblemType::UNAUTHENTICATED, "The token is unknown, revoked, or has expired.")
            })?;
            Some((digest, stored))
        } else if let Some(session) = session(&parts.headers, services) {
            let digest = session.digest();
            let stored =
                entrance.look_up(source, &digest, now, services.database.valid_session(&digest, now)).await?;
            stored.map(|stored| (digest, stored))
        } else {
            None
        };
        let reader = found.map(|(digest, stored)| Reader {
            name: stored.name,
            digest,
            may_read_domains: stored.may_read_domains,
        });
        let public = Arc::clone(&entrance.public_insights);
        if reader.is_none() && !public.is_empty() {
            // Whoever needs no token is held back as senders are.
            reports::take_request(services, source)?;
        }
        let is_page = matches!(parts.method, Method::GET | Method::HEAD) && prefers_page(&parts.headers);
        let way_in = match parts.uri.path_and_query() {
            Some(path) if is_page => WayIn::LoginPage(path.as_str().to_owned()),
            _ => WayIn::Token,
        };
        Ok(Self { reader, public, way_in })
    }
}

impl FromRequestParts<Arc<Services>> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let visitor = Visitor::from_request_parts(parts, services).await?;
        visitor.reader.ok_or_else(|| visitor.way_in.into())
    }
}

/// The token of `Authorization: Bearer …`. Other schemes are for somebody before us, such as a reverse proxy.
fn bearer(headers: &HeaderMap) -> Option<Token> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token::presented(token.trim()))
}

/// The session that a browser's cookie carries.
pub(super) fn session(headers: &HeaderMap, services: &Services) -> Option<Session> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies =
        lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let name = login::cookie_name(services);
    cookies.find(|(found, _)| *found == name).map(|(_, secret)| Session::presented(secret))
}

/// Whether a person waits for the answer, in a browser.
pub(super) fn prefers_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    accepted.split([',', ';']).any(|media_type| media_type.trim().eq_ignore_ascii_case("text/html"))
}
