//! What the handlers work with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use shared::clock::Clock;
use tokio::sync::Semaphore;

use super::login_throttle::LoginThrottle;
use super::page_cache::PageCache;
use super::readiness::Readiness;
use super::render_queue::RenderQueue;
use crate::config::PublicUrl;
use crate::insight::Insight;
use crate::intake::{IntakeLimits, Writer};
use crate::keys::KeyDirectory;
use crate::metrics::Metrics;
use crate::release_cache::ReleaseCache;
use crate::store::Database;

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) database: Database,
    pub(crate) releases: ReleaseCache,
    pub(crate) page_cache: PageCache,
    pub(crate) render_queue: RenderQueue,
    pub(crate) keys: KeyDirectory,
    pub(crate) writer: Writer,
    /// One permit for each of [`MAX_BATCHES`](super::MAX_BATCHES).
    pub(crate) places: Arc<Semaphore>,
    pub(crate) login_throttle: LoginThrottle,
    /// Insights that everybody may read without a token.
    pub(crate) public_insights: Arc<BTreeSet<Insight>>,
    /// How long a browser stays logged in.
    pub(crate) session_lifetime: Duration,
    /// Reverse proxies whose `X-Forwarded-For` we believe.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Where readers reach us.
    pub(crate) public_url: Option<PublicUrl>,
    /// What one network may send; `None` means everything.
    pub(crate) limits: Option<Arc<IntakeLimits>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Services {
    /// Whether readers reach us over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.public_url.as_ref().is_some_and(PublicUrl::is_secure)
    }
}
