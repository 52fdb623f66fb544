//! How often a network may present tokens and sessions that are not valid.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use shared::clock::Clock;
use tokio::sync::Semaphore;

use super::problem::Error;
use crate::rates::{Limiter, Rate, Source};

/// Attempts of one network with tokens and sessions that are not valid. Guessing is hopeless anyway: a token
/// has 256 random bits. The throttle protects the database.
const ATTEMPTS: Rate = Rate::new(10, 120);
/// Attempts of all networks together.
const ALL_ATTEMPTS: Rate = Rate::new(3_000, 360_000);
/// How many unknown secrets are looked up at a time. If all come at once, so many may exceed the rates.
const CONCURRENT_LOOKUPS: usize = 2;

/// How many results are remembered: a megabyte.
const MAX_REMEMBERED: usize = 10_000;

/// For how long a secret that was not valid is not looked up again.
const NOT_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What the last lookup of a secret found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    Valid,
    /// At that time. It stays invalid, unless the clock was wrong.
    Invalid(Timestamp),
}

#[derive(Debug)]
pub(crate) struct LoginThrottle {
    attempts: Limiter<Source>,
    all_attempts: Limiter<()>,
    lookups: Semaphore,
    /// The last lookup of tokens and sessions, by their digests.
    remembered: Mutex<HashMap<[u8; 32], Lookup>>,
}

impl LoginThrottle {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            attempts: Limiter::new(ATTEMPTS, Arc::clone(clock)),
            all_attempts: Limiter::new(ALL_ATTEMPTS, Arc::clone(clock)),
            lookups: Semaphore::new(CONCURRENT_LOOKUPS),
            remembered: Mutex::default(),
        }
    }

    /// Looks up a token or a session with `find`.
    ///
    /// Only a secret that is not valid costs an attempt, and at most one a minute: a browser may keep sending
    /// the cookie of a session that has ended. A secret that was valid before is looked up even if its
    /// network has no attempts left, so guesses keep out only readers who have not been here since the start.
    ///
    /// # Errors
    /// 429 after too many attempts, and the errors of `find`.
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
        let last = self.remembered.lock().get(digest).copied();
        let _permit = match last {
            Some(Lookup::Invalid(at)) if (at..at + NOT_AGAIN).contains(&now) => return Ok(None),
            Some(Lookup::Valid) => None,
            _ => {
                let permit = self.lookups.acquire().await;
                let may_try = self.attempts.peek(&source).and_then(|()| self.all_attempts.peek(&()));
                may_try.map_err(Error::too_many_attempts)?;
                Some(permit)
            }
        };
        let found = find.await?;
        if found.is_some() {
            self.remember(digest, Lookup::Valid);
        } else {
            self.remember(digest, Lookup::Invalid(now));
            // The answer is no, whether an attempt was left or not.
            let _ = self.attempts.take(&source, 1).and_then(|()| self.all_attempts.take(&(), 1));
        }
        Ok(found)
    }

    pub(super) fn opened(&self, digest: &[u8; 32]) {
        self.remember(digest, Lookup::Valid);
    }

    fn remember(&self, digest: &[u8; 32], lookup: Lookup) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            // Guesses do not push out readers.
            remembered.retain(|_, lookup| *lookup == Lookup::Valid);
        }
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(*digest, lookup);
    }
}
