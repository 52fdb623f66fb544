//! A request → who asks: a reader with a token or a session, or a visitor to whom only public insights are
//! open.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use shared::problem::ProblemType;

use super::problem::Error;
use super::reports::take_request;
use super::services::Services;
use super::session_cookie::session;
use crate::access::{Reader, Token};
use crate::insight::Insight;
use crate::rates::Source;

#[derive(Debug)]
pub(crate) struct Visitor {
    reader: Option<Reader>,
    public: Arc<BTreeSet<Insight>>,
    way_in: WayIn,
}

/// How a visitor who is not logged in can log in.
#[derive(Clone, Debug)]
enum WayIn {
    /// A browser goes to the login page, and comes back to this path.
    LoginPage(String),
    Token,
}

impl Visitor {
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    /// The insights that the visitor may read.
    ///
    /// # Errors
    /// 401 or the login page, if there is none.
    pub(crate) fn readable(&self) -> Result<Vec<Insight>, Error> {
        let readable: Vec<_> = Insight::ALL.into_iter().filter(|insight| self.may_read(*insight)).collect();
        if readable.is_empty() { Err(self.way_in.clone().into()) } else { Ok(readable) }
    }

    /// Whether the visitor may read an insight.
    fn may_read(&self, insight: Insight) -> bool {
        match &self.reader {
            Some(reader) => insight != Insight::Domains || reader.may_read_domains,
            None => self.public.contains(&insight),
        }
    }

    /// Lets the visitor read an insight.
    ///
    /// # Errors
    /// 401 or the login page for a visitor who is not logged in, 403 for a reader without the right.
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

    /// Rejects a token that is not valid, but treats a session that is not valid as none. Rejects both unseen
    /// after too many attempts, and visitors who are not logged in if they ask too often.
    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let now = services.clock.now();
        let source = Source::from_request_parts(parts, services).await.unwrap_or_else(|never| match never {});
        let Services { login_throttle, database, .. } = &**services;
        let found = if let Some(token) = bearer(&parts.headers) {
            let digest = token.digest();
            let find = database.valid_token(&digest, now);
            let stored =
                login_throttle.look_up(source, &digest, now, find).await?.ok_or_else(token_not_valid)?;
            Some((digest, stored))
        } else if let Some(session) = session(&parts.headers, services) {
            let digest = session.digest();
            let find = database.valid_session(&digest, now);
            login_throttle.look_up(source, &digest, now, find).await?.map(|stored| (digest, stored))
        } else {
            None
        };
        let reader = found.map(|(digest, stored)| Reader {
            name: stored.name,
            digest,
            may_read_domains: stored.may_read_domains,
        });
        let public = Arc::clone(&services.public_insights);
        if reader.is_none() && !public.is_empty() {
            // Visitors without a token have the limits of senders.
            take_request(services, source)?;
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

/// 401 for a token that is not valid.
pub(super) fn token_not_valid() -> Error {
    Error::problem(ProblemType::UNAUTHENTICATED, "The token is unknown, revoked, or has expired.")
}

/// The token of `Authorization: Bearer …`. Other schemes are meant for a reverse proxy in front of us.
fn bearer(headers: &HeaderMap) -> Option<Token> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Token::presented(token.trim()))
}

/// Whether a person waits for the answer, in a browser.
pub(super) fn prefers_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    accepted.split([',', ';']).any(|media_type| media_type.trim().eq_ignore_ascii_case("text/html"))
}
