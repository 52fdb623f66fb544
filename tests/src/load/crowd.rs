//! A number → the event of that installation. The crowd may have any size; nothing of it is kept in memory.

use std::io::Write as _;
use std::num::NonZeroU64;

/// What the apps of the crowd report, most frequent first.
const APPS: [&str; 2] = ["prose-app-web", "prose-app-desktop"];
const VERSIONS: [&str; 8] = ["1.4.2", "1.4.1", "1.4.0", "1.3.3", "1.3.0", "1.2.7", "1.1.0", "1.0.1"];
const PLATFORMS: [&str; 6] =
    ["macos-aarch64", "windows-x86_64", "linux-x86_64", "macos-x86_64", "linux-aarch64", "windows-aarch64"];
const LOCALES: [&str; 10] =
    ["en-US", "de-DE", "fr-FR", "en-GB", "pt-BR", "es-ES", "de-CH", "it-IT", "nl-NL", "ja-JP"];

/// Installations in Pods of many sizes, as a Pod's proxy reports them.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    seed: u64,
    installations: NonZeroU64,
    pods: NonZeroU64,
}

impl Crowd {
    /// A crowd in at most `pods` Pods. Another seed makes other installations, with other identifiers.
    pub fn new(seed: u64, installations: NonZeroU64, pods: NonZeroU64) -> Self {
        Self { seed, installations, pods }
    }

    /// The number of installations.
    pub fn installations(&self) -> u64 {
        self.installations.get()
    }

    /// The installation for event `number`. As a rule, it belongs to another Pod than the one before it.
    pub fn scattered(&self, number: u64) -> u64 {
        /// The largest prime below 2^64. It has no common divisor with a smaller number, so everybody gets a
        /// turn.
        const STEP: u64 = 18_446_744_073_709_551_557;
        let place = u128::from(number % self.installations) * u128::from(STEP % self.installations);
        // Less than the number of installations.
        (place % u128::from(self.installations.get())) as u64
    }

    /// Appends event `number`. All installations take turns, Pod by Pod, and each reports the same every
    /// time.
    pub fn write_event(&self, number: u64, body: &mut Vec<u8>) {
        let installation = number % self.installations;
        let id = mix(self.seed ^ mix(installation));
        let pod = mix(self.seed ^ !self.pod(installation));
        let (app, version) = (pick(&APPS, id, 1), pick(&VERSIONS, id, 2));
        let (platform, locale) = (pick(&PLATFORMS, id, 3), pick(&LOCALES, id, 4));
        // Writing to a Vec cannot fail.
        let _ = write!(
            body,
            "{{\"name\":\"app:daily\",\"proxied\":true,\"origin\":{{\"app\":{{\"name\":\"{app}\",\
             \"version\":\"{version}\",\"platform\":\"{platform}\",\"user_preferred_locales\":[\"{locale}\",\"en\"]}},\
             \"pod\":{{\"domain_hash\":\"{pod:016x}\",\"user_hash\":\"{id:016x}\"}}}}}}"
        );
    }

    /// Most Pods are small. The largest has its share of installations to the power of two thirds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "where a Pod's installations begin may be off by one"
    )]
    fn pod(&self, installation: u64) -> u64 {
        let place = installation as f64 / self.installations.get() as f64;
        (place.powf(1.5) * self.pods.get() as f64) as u64
    }
}

/// One of the values, the first ones more often.
fn pick<'v>(values: &[&'v str], id: u64, question: u64) -> &'v str {
    let answer = mix(id ^ question);
    let (one, other) =
        ((answer & 0xffff_ffff) as usize % values.len(), (answer >> 32) as usize % values.len());
    values[one.min(other)]
}

/// Spreads numbers over all 64 bits, one to one (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators").
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use ingest_api::intake::ValidReport;

    use super::*;

    #[test]
    fn every_installation_reports_something_valid_and_always_the_same() {
        let crowd = Crowd::new(7, NonZeroU64::new(1_000).unwrap(), NonZeroU64::new(100).unwrap());
        let event = |number| {
            let mut body = Vec::new();
            crowd.write_event(number, &mut body);
            body
        };
        let mut pods: BTreeMap<[u8; 8], usize> = BTreeMap::new();
        let mut scattered: Vec<_> = (0..1_000).map(|number| crowd.scattered(number)).collect();
        scattered.sort_unstable();
        assert!(scattered.into_iter().eq(0..1_000), "all take turns, in another order, too");
        for number in 0..1_000 {
            let body = event(number);
            let report = ValidReport::from_json(&body).unwrap();
            *pods.entry(*report.pod().as_bytes()).or_default() += 1;
            assert_eq!(body, event(number + 1_000));
        }
        let mut sizes: Vec<_> = pods.into_values().collect();
        sizes.sort_unstable();
        let (smallest, largest) = (sizes[0], sizes[sizes.len() - 1]);
        assert!(sizes.len() > 90, "{} Pods", sizes.len());
        assert!(largest > 4 * smallest, "{smallest} to {largest} installations");
    }
}
