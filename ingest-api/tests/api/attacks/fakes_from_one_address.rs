//! The attack: somebody with one address invents Pods, to enlarge a cohort or to shift a share.
//!
//! The defence holds if no more Pods count than the limit of new Pods allows in that time, however many are
//! sent, and however they are sent. It does *not* hold below that number: a handful of invented Pods is
//! enough to carry a small cohort over the threshold, and an attacker with many addresses has the limit many
//! times. `PRIVACY.md` says so.

use ingest_api::intake::IntakeRates;
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::*;

/// The number of real Pods, each in a network of its own.
const REAL: u32 = 60;
/// How many Pods the attacker invents in each hour.
const INVENTED: u32 = 200;
const HOURS: u32 = 4;

/// Plays the attack. Returns how many Pods count with the version that only the attacker has.
async fn attack(limits: Option<IntakeRates>) -> u64 {
    let service = Service::start_with(|config| {
        config.limits = limits;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let send = async |from: String, events: Vec<Value>| {
        let headers = [("content-type", "application/json"), ("x-forwarded-for", from.as_str())];
        let body = Value::from(events).to_string();
        service.send("POST", "/_api/cloud/v1/analytics/events", &headers, body.as_bytes()).await.status
    };
    for number in 0..REAL {
        assert_eq!(send(format!("198.51.{number}.1"), vec![pod(number, "0.4.0")]).await, 200);
    }
    for hour in 0..HOURS {
        let fakes: Vec<_> = (0..INVENTED).map(|n| pod(1_000 + hour * INVENTED + n, "9.9.9")).collect();
        // In one batch, in parts, and one by one; from every address of the network, with invented forwarded
        // addresses.
        send("192.0.2.7".to_owned(), fakes.clone()).await;
        for part in fakes.chunks(7) {
            send("203.0.113.5, 192.0.2.8".to_owned(), part.to_vec()).await;
        }
        for (n, fake) in fakes.into_iter().enumerate() {
            send(format!("10.0.0.{n}, 192.0.2.{n}"), vec![fake]).await;
        }
        if hour + 1 < HOURS {
            service.clock.advance(SignedDuration::from_hours(1));
        }
    }
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let released = service.released(ingest_api::window::WindowKind::Day, "2026-11-22").await;
    let count = |version: &str| {
        let of =
            released.iter().filter(|(_, family, label, _)| *family == "pod_versions" && label == version);
        of.map(|(.., published)| *published).sum::<u64>()
    };
    assert_eq!(count("0.4.0"), u64::from(REAL), "nobody else is held up");
    let fakes = count("9.9.9");
    service.app.shutdown().await;
    fakes
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_invents_no_more_pods_than_the_limit() {
    let rates = IntakeRates::default();
    let allowed = rates.new_pods.burst.get() + (HOURS - 1) * rates.new_pods.per_hour.get();
    let counted = attack(Some(rates)).await;
    // Published numbers are rounded to the nearest five.
    assert!(counted <= u64::from(allowed) + 2, "{counted} of {allowed}");
    assert!(counted > 0, "and the attack does send");
}

/// Without the limit, every invented Pod counts.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_limit_the_attack_succeeds() {
    assert_eq!(attack(None).await, u64::from(INVENTED * HOURS));
}
