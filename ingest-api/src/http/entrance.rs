//! What is decided by configuration about who comes in, and how often they may try.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use shared::clock::Clock;

use crate::config::{Config, PublicUrl};
use crate::insight::Insight;
use crate::limits::{Limiter, Rate, Source};

/// Attempts to log in from one network. A token has 256 random bits, so that this is not what keeps it from being
/// guessed; it keeps those who try from using up the database.
const ATTEMPTS: Rate = Rate::new(10, 120);
/// Attempts to log in from anywhere.
const ALL_ATTEMPTS: Rate = Rate::new(300, 36_000);

/// How many tokens and sessions are known to have been valid: a megabyte. They are forgotten when there are more.
const MAX_KNOWN: usize = 10_000;

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
    /// Digests of tokens and sessions that were valid when they were last looked up.
    known: Mutex<HashSet<[u8; 32]>>,
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

    /// Lets somebody try to log in.
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub(super) fn attempt(&self, source: Source) -> Result<(), Duration> {
        self.attempts.take(&source, 1)?;
        self.all_attempts.take(&(), 1)
    }

    /// Lets a token or a session be looked up. It costs an attempt only if it turns out not to be valid, as
    /// [`Self::looked_up`] is told; and what was valid before is looked up however many others are guessed from the same
    /// network, so that guesses keep out only those who have not been here since the start.
    ///
    /// # Errors
    /// How long to wait before the next attempt.
    pub(super) fn may_look_up(&self, source: Source, digest: &[u8; 32]) -> Result<(), Duration> {
        if self.known().contains(digest) {
            return Ok(());
        }
        self.attempts.peek(&source)?;
        self.all_attempts.peek(&())
    }

    /// Notes what a token or a session has turned out to be.
    pub(super) fn looked_up(&self, source: Source, digest: &[u8; 32], is_valid: bool) {
        let mut known = self.known();
        if is_valid {
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(*digest);
        } else {
            known.remove(digest);
            // The answer is no already, whether there was an attempt left or not.
            let _ = self.attempt(source);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
