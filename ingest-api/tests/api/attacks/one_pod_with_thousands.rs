//! The attack: one Pod invents ten thousand installations with a value, to make it look common.
//!
//! The defence holds if the Pod adds no more installations than its declared size allows, and if the value is
//! not published, because one Pod makes no cohort. In the case without an allowance, the database gives the
//! Pod so many accounts that the allowance covers everything. In the case without a threshold, the value is
//! published.

use shared::size::SizeBin;

use super::*;
use crate::support::{proxied, ten_pods};

/// Makes each Pod of a pack as large as possible.
const LARGE: &str = "CREATE FUNCTION public.large(records bytea) RETURNS bytea LANGUAGE plpgsql AS $$
    DECLARE
        at integer := 0;
        head integer;
    BEGIN
        WHILE at < length(records) AND get_byte(records, at) <> 0 LOOP
            head := get_byte(records, at);
            IF head >> 6 = 3 THEN
                records := overlay(records PLACING '\\x0186a1' FROM at + 17);
                at := at + 9 + (head & 63);
            ELSE
                at := at + 17 + (head & 63);
            END IF;
        END LOOP;
        RETURN records;
    END $$";

/// The total, and the number of the value if it is published.
async fn attack(allowance: Defence, threshold: Threshold) -> (u64, Option<u64>) {
    let service = service_with(threshold).await;
    service.report(&ten_pods(6)).await;
    // A Pod of 20 to 49 accounts; some of its inventions are reported twice.
    let invented: Vec<_> = (0..10_000).map(|n| proxied(1, n, "6.6.6", "web", "en")).collect();
    service.report(&invented).await;
    service.report(&invented[..500]).await;
    if allowance == Defence::Off {
        let window = service.database().open_window(first_day()).await.unwrap().unwrap();
        service.merge().await;
        service.query(LARGE).await.unwrap();
        let enlarge = format!(
            "DO $$ BEGIN
                 CREATE TABLE public.larger AS SELECT public.large(records) AS records FROM intake.w{id}_merged;
                 TRUNCATE intake.w{id}_merged;
                 INSERT INTO intake.w{id}_merged SELECT records FROM public.larger;
             END $$",
            id = window.id
        );
        service.query(&enlarge).await.unwrap();
        let largest = format!(
            "SELECT subject::text FROM intake.reporters({}) WHERE is_pod AND language_or_size = {}",
            window.id,
            1 + SizeBin::LAST_MIN
        );
        assert_eq!(service.query(&largest).await.unwrap().len(), 10);
    }
    let versions = published(&service, "app_versions").await;
    let total = published(&service, "installations").await["all"];
    service.app.shutdown().await;
    (total, versions.get("prose-app-web 6.6.6").copied())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_adds_no_more_than_its_size_allows() {
    // 490 of that Pod, and 6 of each of the nine others: 544, rounded.
    assert_eq!(attack(Defence::On, Threshold::default()).await, (545, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_allowance_it_drowns_the_others() {
    // 10,054, rounded.
    assert_eq!(attack(Defence::Off, Threshold::default()).await, (10_100, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_threshold_its_value_is_published() {
    let (total, of_value) = attack(Defence::On, no_threshold()).await;
    assert_eq!(total, 545);
    assert!(of_value.is_some_and(|number| number >= 480), "{of_value:?}");
}
