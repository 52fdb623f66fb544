//! The attack: record what a Pod sends, and send it a hundred times, before and after a restart of the
//! service, to make a small group look large.
//!
//! The defence holds if the same numbers are published as without the replays. In the case without the
//! defence, each merge finds other subjects than the previous one left. Then the service counts reports
//! instead of reporters.

use super::*;
use crate::support::ten_pods;

/// Changes each subject in a pack, without changing their order: adds one to the first byte, which is zero.
const OTHERS: &str = "CREATE FUNCTION public.others(records bytea) RETURNS bytea LANGUAGE plpgsql AS $$
    DECLARE at integer := 0;
    BEGIN
        WHILE at < length(records) AND get_byte(records, at) <> 0 LOOP
            records := set_byte(records, at + 1, get_byte(records, at + 1) + 1);
            at := at + CASE get_byte(records, at) >> 6 WHEN 3 THEN 9 ELSE 17 END + (get_byte(records, at) & 63);
        END LOOP;
        RETURN records;
    END $$";

/// How many installations are counted; sixty reported.
async fn attack(defence: Defence) -> u64 {
    let mut service = Service::start().await;
    if defence == Defence::Off {
        service.query(OTHERS).await.unwrap();
        let done = "PERFORM intake.end_part()";
        let others = format!(
            "{done};
             CREATE TABLE public.other AS SELECT public.others(records) AS records FROM intake.new_merged;
             TRUNCATE intake.new_merged;
             INSERT INTO intake.new_merged SELECT records FROM public.other;
             DROP TABLE public.other"
        );
        mutate(&service, "intake.finish_merging", &[(done, &others)]).await;
    }
    let once = ten_pods(6);
    for turn in 0..100 {
        service.report(&once).await;
        service.merge().await;
        if turn == 50 {
            let restarted = service.another().await;
            std::mem::replace(&mut service.app, restarted).shutdown().await;
        }
    }
    let published = published(&service, "installations").await["all"];
    service.app.shutdown().await;
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_counts_nothing() {
    assert_eq!(attack(Defence::On).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_reports_are_counted_a_replay_counts() {
    assert_eq!(attack(Defence::Off).await, 6_000);
}
