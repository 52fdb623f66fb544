//! How long readers wait while reports arrive: pages and insights of a year of releases.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::bench::{Goal, Table};
use e2e::load::Load;
use e2e::stack::client;
use e2e::year;
use hdrhistogram::Histogram;
use ingest_api::access::{Token, expiry};
use ingest_api::store::tokens::StoredToken;
use jiff::tz::TimeZone;
use shared::clock::{Clock, SystemClock};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::intake::crowd;
use crate::service::{BASE_PATH, Service, send};

/// What readers request in turn.
const PATHS: [&str; 8] = [
    "/",
    "/insights/pods",
    "/insights/pod_versions?window=day&period=1y",
    "/insights/app_versions",
    "/insights/platforms?window=day&period=1y",
    "/insights/languages",
    "/v1/insights/platforms?window=week",
    "/v1/insights/app_versions?window=month&format=csv",
];
/// So many readers that the page cache (32 pages) holds nothing of a reader who returns.
const READERS: usize = 8;
/// The requests of readers.
const A_SECOND: u32 = 50;
const TIME: Duration = Duration::from_secs(10);
/// How long the highest rate of the intake is measured.
const FIND_OUT: Duration = Duration::from_secs(3);

pub(crate) async fn measure(binary: &Path) -> anyhow::Result<Table> {
    let service = Service::start(binary).await?;
    let now = SystemClock.now();
    year::write(&service.url(), now.to_zoned(TimeZone::UTC).date()).await?;
    let mut tokens = Vec::new();
    for reader in 0..READERS {
        let token = Token::generate();
        let stored = StoredToken {
            name: format!("reader {reader}"),
            may_read_domains: false,
            expires_at: expiry(now, Duration::from_secs(86_400)),
        };
        service.database.insert_token(&stored, &token.digest()).await?;
        tokens.push(token);
    }
    let base = format!("http://{}", service.address);
    // Releases are read from the database once, then cached.
    for path in PATHS {
        get(&client()?, &base, path, &tokens[0]).await?;
    }

    let load = |time, rate| -> anyhow::Result<Load> {
        Ok(Load {
            address: service.address,
            base_path: BASE_PATH.to_owned(),
            crowd: crowd(1_000_000_000)?,
            first: 0,
            events: u64::MAX / 2,
            time,
            connections: NonZeroU32::new(64).context("connections")?,
            batch: None,
            rate,
        })
    };
    let (one, many) = (&tokens[..1], &tokens[..]);
    let (kept_alone, made_alone) = (read(&base, one).await?, read(&base, many).await?);
    let most = send(&load(FIND_OUT, None)?).await?.rate();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands a second")]
    let half = NonZeroU32::new((most / 2.0) as u32);
    let intake = load(TIME, half)?;
    let (kept, sent) = tokio::join!(read(&base, one), send(&intake));
    let (made, sent_again) = tokio::join!(read(&base, many), send(&intake));
    let (kept, made) = (kept?, made?);
    let sent = sent?.rate().min(sent_again?.rate());

    let mut table = Table::default();
    let p99 = |waits: &Histogram<u64>| waits.value_at_quantile(0.99) as f64 / 1e3;
    for (of, alone, beside) in [
        ("that were made before", kept_alone, kept),
        ("of so many readers that each page is made again", made_alone, made),
    ] {
        let what = format!("{A_SECOND} pages and insights a second {of}: a reader waits, p99");
        table.row(&what, "ms", p99(&alone), None, Goal::None);
        let what = format!("{what}, while half of what the intake can take comes in");
        table.row(what, "ms", p99(&beside), Some(p99(&alone)), Goal::AtMost(10.0));
    }
    table.row("events taken meanwhile", "events/s", sent, Some(most), Goal::RatioAtLeast(0.45));
    Ok(table)
}

/// How long readers wait in turn, in microseconds, from the moment when a request was due.
async fn read(base: &str, readers: &[Token]) -> anyhow::Result<Histogram<u64>> {
    let http = client()?;
    let start = Instant::now();
    let mut requests = JoinSet::new();
    let turns = readers.iter().cycle().flat_map(|reader| PATHS.iter().map(move |path| (reader, path)));
    for (number, (token, path)) in (0..).zip(turns) {
        let due = start + Duration::from_secs(1) / A_SECOND * number;
        if due >= start + TIME {
            break;
        }
        tokio::time::sleep_until(due).await;
        let (http, base, token) = (http.clone(), base.to_owned(), token.clone());
        requests.spawn(async move { get(&http, &base, path, &token).await.map(|()| due.elapsed()) });
    }
    let mut waits = Histogram::new_with_max(60_000_000, 3)?;
    while let Some(wait) = requests.join_next().await {
        waits.record(u64::try_from(wait??.as_micros())?.max(1))?;
    }
    Ok(waits)
}

async fn get(http: &reqwest::Client, base: &str, path: &str, token: &Token) -> anyhow::Result<()> {
    let answer =
        http.get(format!("{base}{path}")).header("accept", "text/html, */*").bearer_auth(token.reveal());
    let answer = answer.send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "{path} answered {status}");
    answer.bytes().await?;
    Ok(())
}
