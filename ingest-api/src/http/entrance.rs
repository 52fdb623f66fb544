//! What is decided by configuration about who comes in, and how often they may try.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use shared::clock::Clock;
use tokio::sync::Semaphore;

use super::Error;
use crate::config::{Config, PublicUrl};
use crate::insight::Insight;
use crate::rates::{Limiter, Rate, Source};

/// Tokens and sessions from one network that turn out not to be valid. A token has 256 random bits, so that this is not
/// what keeps it from being guessed; it keeps those who try from using up the database.
const ATTEMPTS: Rate = Rate::new(10, 120);
/// From anywhere.
const ALL_ATTEMPTS: Rate = Rate::new(3_000, 360_000);
/// How many that are not known are looked up at a time: so many more than the rates allow may be, when all come at once.
const LOOKED_UP_AT_ONCE: usize = 2;

/// Of how many tokens and sessions it is known what they are: a megabyte. They are forgotten when there are more.
const MAX_KNOWN: usize = 10_000;

/// For how long nobody looks again at what was not valid.
const NOT_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What a token or a session turned out to be when it was last looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Valid,
    /// At that time. It is so for ever, unless the clock was wrong.
    Invalid(Timestamp),
}

/// The way in for readers.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Insights that are read without a token.
    pub(super) public_insights: Arc<BTreeSet<Insight>>,
    /// How long a browser stays logged in.
    pub(super) session_lifetime: Duration,
    /// Reverse proxies that are believed about where a request comes from.
    pub(super) trusted_proxies: Vec<IpNet>,
    public_url: Option<PublicUrl>,
    attempts: Limiter<Source>,
    all_attempts: Limiter<()>,
    places: Semaphore,
    /// Tokens and sessions by their digests.
    known: Mutex<HashMap<[u8; 32], Known>>,
}

impl Entrance {
    pub(crate) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        Self {
            public_insights: Arc::new(config.public_insights.clone()),
            session_lifetime: config.session_lifetime,
            trusted_proxies: config.trusted_proxies.clone(),
            public_url: config.public_url.clone(),
            attempts: Limiter::new(ATTEMPTS, Arc::clone(clock)),
            all_attempts: Limiter::new(ALL_ATTEMPTS, Arc::clone(clock)),
            places: Semaphore::new(LOOKED_UP_AT_ONCE),
            known: Mutex::default(),
        }
    }

    /// Whether readers come over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.public_url.as_ref().is_some_and(PublicUrl::is_secure)
    }

    /// Whether that is where readers reach us.
    pub(super) fn is_at(&self, origin: &str) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.as_str() == origin)
    }

    /// Looks up a token or a session with `find`.
    ///
    /// It costs an attempt only if it turns out not to be valid, and at most one a minute: a browser may go on to send
    /// the cookie of a session that has ended. What was valid before is looked up however many others are guessed from the same
    /// network, so that guesses keep out only those who have not been here since the start.
    ///
    /// # Errors
    /// 429 where there were too many attempts, and those of `find`.
    pub(super) async fn look_up<T, E>(
        &self,
        source: Source,
        digest: &[u8; 32],
        now: Timestamp,
        find: impl Future<Output = Result<Option<T>, E>>,
    ) -> Result<Option<T>, Error>
    where
        Error: From<E>,
    {
        let known = self.known().get(digest).copied();
        let _place = match known {
            Some(Known::Invalid(at)) if (at..at + NOT_AGAIN).contains(&now) => return Ok(None),
            Some(Known::Valid) => None,
            _ => {
                let place = self.places.acquire().await;
                let may_try = self.attempts.peek(&source).and_then(|()| self.all_attempts.peek(&()));
                may_try.map_err(Error::too_many_attempts)?;
                Some(place)
            }
        };
        let found = find.await?;
        if found.is_some() {
            self.note(digest, Known::Valid);
        } else {
            self.note(digest, Known::Invalid(now));
            // The answer is no already, whether there was an attempt left or not.
            let _ = self.attempts.take(&source, 1).and_then(|()| self.all_attempts.take(&(), 1));
        }
        Ok(found)
    }

    /// Notes a session that was just opened.
    pub(super) fn opened(&self, digest: &[u8; 32]) {
        self.note(digest, Known::Valid);
    }

    fn note(&self, digest: &[u8; 32], what: Known) {
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            // Guesses do not push out who was in.
            known.retain(|_, what| *what == Known::Valid);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(*digest, what);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
