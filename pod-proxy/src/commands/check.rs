//! `pod-proxy check`: a configuration → nothing, or every mistake in it.

use std::io::Write;

use crate::commands::CommandError;
use crate::config::Config;
use crate::vendor::Client;

/// Prints what is shared, and on `notes` what `run` would still need.
pub fn check(config: &Config, out: &mut impl Write, notes: &mut impl Write) -> Result<(), CommandError> {
    crate::app::install_crypto();
    Client::new(config).map_err(anyhow::Error::from)?;
    if let Err(missing) = config.require_domain() {
        writeln!(notes, "note: `run` needs a domain. {missing}")?;
    }
    let local =
        config.vendor_url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127."));
    if config.vendor_url.scheme() == "http" && !local {
        writeln!(notes, "note: `pod_proxy.vendor_url` is not HTTPS, so the network can read what is sent")?;
    }
    writeln!(out, "{}", summary(config))?;
    Ok(())
}

/// What is shared under this configuration, and how to turn it off, in plain words and on one line.
pub fn summary(config: &Config) -> String {
    let policy = &config.policy;
    if !policy.is_enabled() {
        return "Analytics are off: nothing is stored, and nothing is sent.".to_owned();
    }
    let shared: Vec<_> = shared::data_point::REGISTRY
        .iter()
        .filter(|point| policy.in_force(point))
        .map(|point| point.key)
        .collect();
    let shared = if shared.is_empty() { "no data point".to_owned() } else { shared.join(", ") };
    let unless = match policy.min_cohort_size() {
        Some(min) if min > 0 => {
            format!(
                "; nothing at all while the Pod has fewer than {min} enabled accounts, or their number is unknown"
            )
        }
        _ => String::new(),
    };
    format!(
        "Shared with the vendor (preset `{}`): that this Pod and its installations exist, under pseudonyms, and {shared}{unless}. \
         To turn all of it off: `enabled = false` in `[vendor_analytics]`. To see it: `pod-proxy policy`, `pod-proxy sent`.",
        policy.preset()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(text: &str) -> String {
        summary(&Config::from_toml(&format!("[vendor_analytics]\n{text}")).unwrap())
    }

    #[test]
    fn the_summary_names_what_is_shared_and_how_to_turn_it_off() {
        let summary = summary_of("preset = 'gdpr'\nusage.user_lang.enabled = false");
        assert!(summary.contains("usage.user_platform"), "{summary}");
        assert!(!summary.contains("user_lang"), "{summary}");
        assert!(!summary.contains("pod_domain"), "{summary}");
        assert!(summary.contains("fewer than 20 enabled accounts"), "{summary}");
        assert!(summary.contains("`enabled = false` in `[vendor_analytics]`"), "{summary}");
        assert_eq!(summary.lines().count(), 1);
    }

    #[test]
    fn the_summary_says_if_nothing_is_shared() {
        assert!(summary_of("enabled = false").starts_with("Analytics are off"));
        assert!(summary_of("usage.enabled = false").contains("and no data point"));
    }
}
