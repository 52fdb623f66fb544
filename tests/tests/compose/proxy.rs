//! A pod-proxy of a compose file → what it takes, holds and sends.

use serde_json::Value;

use crate::docker::{Project, until};

impl Project {
    /// Where apps send an event to, which reach that proxy.
    pub(crate) fn event_url(&self, proxy: &str) -> anyhow::Result<String> {
        Ok(format!("{}/cloud-api-proxy/v1/analytics/event", self.url(proxy, 8290)?))
    }

    /// How it is.
    pub(crate) fn proxy_health(&self, proxy: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.exec(proxy, &["pod-proxy", "health"])?)?)
    }

    /// Waits until the vendor has everything that it holds.
    pub(crate) fn wait_until_sent(&self, proxy: &str) -> anyhow::Result<()> {
        until(&format!("{proxy} has sent everything"), || {
            let health = self.proxy_health(proxy)?;
            Ok((health["spool"]["entries"] == 0 && health["vendor"] != "away").then_some(()))
        })
    }

    /// What has left it, as its operator is shown it.
    pub(crate) fn sent(&self, proxy: &str) -> anyhow::Result<String> {
        self.exec(proxy, &["pod-proxy", "sent", "--format", "json"])
    }
}
