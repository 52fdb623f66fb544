//! The disk space of open windows and the duration of a close, for growing numbers of installations.

use std::io::Write;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::bench::{Goal, Server, Table, growth, median};
use e2e::load::{Crowd, Load, Measured};
use ingest_api::jobs::merge::{Which, merge, merged_reporters};
use ingest_api::open_windows::WindowError;
use ingest_api::store::StoreError;
use ingest_api::store::open_windows::StoredWindow;
use ingest_api::window::Population;
use ingest_api::window::codes::unpack;
use ingest_api::window::record::{Installation, Read, Record};
use ingest_api::window::{Window, WindowKind};
use shared::clock::{Clock, SystemClock};
use shared::event::App;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

use crate::intake::crowd;
use crate::service::{BASE_PATH, Service, send};

/// The numbers of installations.
pub(crate) const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 5_000_000];
/// How many installations a Pod has on average.
const PER_POD: u64 = 25;
/// Goals apply from this size on. Below it, a fixed cost of some milliseconds dominates.
const GOALS_FROM: u64 = 5_000_000;
/// Growth is measured from this size on.
const FIT_FROM: u64 = 100_000;

/// The pause after plain SQL, until the disk is idle.
const SETTLE: Duration = Duration::from_secs(3);
/// How long reports arrive at a steady rate.
const STEADY: Duration = Duration::from_secs(5);

pub(crate) async fn measure(binary: &Path, sizes: &[u64]) -> anyhow::Result<Table> {
    let mut table = Table::default();
    let mut took = Vec::new();
    for size in sizes {
        let one = one_size(binary, *size, &mut table).await;
        took.push(one.with_context(|| format!("{size} installations"))?);
    }
    for (what, of) in [("merging", 0), ("close", 1)] {
        // A fixed cost does not grow.
        let points = sizes.iter().zip(&took).filter(|(size, _)| **size >= FIT_FROM);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let points: Vec<_> = points.map(|(size, took)| (*size as f64, took[of].as_secs_f64())).collect();
        let what = format!("growth of {what}: to this power of the installations");
        table.row(what, "", growth(&points), None, Goal::None);
    }
    Ok(table)
}

/// Returns how long a merge of all reports took, and the close.
async fn one_size(binary: &Path, size: u64, table: &mut Table) -> anyhow::Result<[Duration; 2]> {
    let service = Service::start(binary).await?;
    let installations = NonZeroU64::new(size).context("installations")?;
    let pods = NonZeroU64::new(size.div_ceil(PER_POD)).context("Pods")?;
    let load = Load {
        address: service.address,
        base_path: BASE_PATH.to_owned(),
        crowd: Crowd::new(1, installations, pods),
        first: 0,
        events: size,
        time: Duration::from_secs(600),
        connections: NonZeroU32::new(8).context("connections")?,
        batch: NonZeroU32::new(500),
        rate: None,
    };
    let measured = send(&load).await?;
    ensure!(measured.events == size, "not all events were acknowledged");
    let named = |what: &str| format!("{size} installations: {what}");
    table.row(
        named("all of them reported, in batches"),
        "s",
        measured.elapsed.as_secs_f64(),
        None,
        Goal::None,
    );

    let window = Window::containing(WindowKind::Day, SystemClock.now());
    let stored = service.database.open_window(window).await?.context("the day is open")?;
    let start = Instant::now();
    merge_all(&service, &stored).await?;
    let merged = start.elapsed();
    table.row(named("merging all of them"), "s", merged.as_secs_f64(), None, Goal::None);
    let mut connection = service.options.clone().connect().await?;
    let bytes: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT pg_total_relation_size('intake.w{id}_merged') + coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint
         FROM pg_inherits WHERE inhparent = 'intake.w{id}_merged'::regclass",
        id = stored.id
    )))
    .fetch_one(&mut connection)
    .await?;
    let (installations, pods) = merged_reporters(&service.database, &stored).await?;
    ensure!(u64::try_from(installations)? == size, "{installations} installations are counted");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    table.row(
        named("disk for each reporter (installation or Pod) in one window"),
        "bytes",
        bytes as f64 / (installations + pods) as f64,
        None,
        Goal::AtMost(60.0),
    );
    // Now, or the service would do it during another measurement.
    for other in service.database.open_windows().await?.iter().filter(|window| window.id != stored.id) {
        merge_all(&service, other).await?;
    }
    let goal = |goal| if size >= GOALS_FROM { goal } else { Goal::None };
    let (drop, step) = drop_copy(&mut connection, &stored).await?;
    table.row(
        named("dropping all of its parts, one after the other"),
        "ms",
        drop.as_secs_f64() * 1e3,
        None,
        Goal::None,
    );
    table.row(named("… the longest step of that"), "ms", step.as_secs_f64() * 1e3, None, Goal::AtMost(50.0));
    let bare = Bare::measure(&mut connection, &stored).await?;
    ensure!(bare.rows == size, "{} rows are counted", bare.rows);
    // Writes that plain SQL left to the disk are not part of the close.
    run(&mut connection, "CHECKPOINT").await?;
    tokio::time::sleep(SETTLE).await;

    // The windows of the other kinds are as large. Repetition reduces chance where goals apply.
    let kinds = if size >= GOALS_FROM { &WindowKind::ALL[..] } else { &[WindowKind::Day] };
    let mut closes = Vec::new();
    for kind in kinds {
        let window = Window::containing(*kind, SystemClock.now());
        let usual = reports_at_a_steady_rate(&service).await?.wait_ms(0.99);
        let (close, meanwhile) =
            tokio::join!(Close::measure(binary, &service, window), reports_at_a_steady_rate(&service));
        closes.push((close?, meanwhile?.wait_ms(0.99), usual));
    }
    let peak_mb = closes.iter().map(|(close, ..)| close.peak_mb).fold(0.0, f64::max);
    let waits = closes.iter().map(|(_, meanwhile, usual)| (*meanwhile, *usual)).collect();
    let (meanwhile, usual) = median(waits, |(meanwhile, usual)| meanwhile / usual).context("a close")?;
    let (Close { released, dropped, .. }, ..) =
        median(closes, |(close, ..)| close.released.as_secs_f64()).context("a close")?;
    let mut seconds = |what: &str, took: Duration, limit: Option<Duration>, goal| {
        table.row(named(what), "s", took.as_secs_f64(), limit.map(|limit| limit.as_secs_f64()), goal);
    };
    let beside_sql = goal(Goal::RatioAtMost(2.0));
    seconds("close, beside distinct and one family in plain SQL", released, Some(bare.sql), beside_sql);
    seconds("close, beside a bare count(*)", released, Some(bare.scan), goal(Goal::RatioAtMost(10.0)));
    seconds("close, until what was counted is dropped, too", dropped, None, Goal::None);
    table.row(named("peak memory of the close"), "MB", peak_mb, None, Goal::AtMost(200.0));
    let what = named("a report waits while the window is closed, p99");
    table.row(what, "ms", meanwhile, Some(usual), goal(Goal::RatioAtMost(2.0)));
    Ok([merged, released])
}

/// Merges all arrivals of a window.
async fn merge_all(service: &Service, window: &StoredWindow) -> anyhow::Result<()> {
    // The service may be merging it already.
    while let Err(error) = merge(&service.database, &service.keys()?, window, Which::All).await {
        ensure!(matches!(error, WindowError::Store(StoreError::Busy)), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Reports of known installations, at a rate that a small machine can sustain meanwhile.
async fn reports_at_a_steady_rate(service: &Service) -> anyhow::Result<Measured> {
    let load = Load {
        address: service.address,
        base_path: BASE_PATH.to_owned(),
        crowd: crowd(1_000)?,
        first: 0,
        events: u64::MAX / 2,
        time: STEADY,
        connections: NonZeroU32::new(16).context("connections")?,
        batch: None,
        rate: NonZeroU32::new(500),
    };
    send(&load).await
}

/// What Postgres alone needs, with a row for each reporter.
struct Bare {
    rows: u64,
    scan: Duration,
    sql: Duration,
}

/// Rows with named values.
const ROWS: &str =
    "subject bigint, pod bigint, app_version bigint, language integer, platform smallint, proxied boolean";
/// How many bytes of rows are sent at once.
const CHUNK: usize = 1 << 20;

impl Bare {
    async fn measure(connection: &mut PgConnection, window: &StoredWindow) -> anyhow::Result<Self> {
        run(connection, &format!("CREATE TABLE intake.plain ({ROWS})")).await?;
        let packs = format!("SELECT records FROM intake.w{}_merged", window.id);
        let packs: Vec<Vec<u8>> =
            sqlx::query_scalar(AssertSqlSafe(packs)).fetch_all(&mut *connection).await?;
        let mut rows = connection.copy_in_raw("COPY intake.plain FROM STDIN").await?;
        let mut text = Vec::new();
        for pack in packs {
            for record in Read(&pack) {
                let Record::Installation(Installation { subject, population, pod, codes }) = record? else {
                    continue;
                };
                let (subject, pod, proxied) = (subject.as_i64(), pod.as_i64(), population == Population::Pod);
                let [version, platform, language, ..] = unpack::<App>(&codes);
                writeln!(text, "{subject}\t{pod}\t{version}\t{language}\t{platform}\t{proxied}")?;
            }
            if text.len() > CHUNK {
                rows.send(std::mem::take(&mut text)).await?;
            }
        }
        rows.send(text).await?;
        rows.finish().await?;

        run(connection, "VACUUM ANALYZE intake.plain").await?;
        let start = Instant::now();
        let count = sqlx::query("SELECT count(*) AS n FROM intake.plain");
        let rows: i64 = count.fetch_one(&mut *connection).await?.try_get("n")?;
        let scan = start.elapsed();
        let start = Instant::now();
        run(
            connection,
            "CREATE TABLE intake.distinct AS SELECT subject, proxied, max(pod) AS pod, max(app_version) AS app_version,
                    max(language) AS language, max(platform) AS platform FROM intake.plain GROUP BY subject, proxied",
        )
        .await?;
        run(
            connection,
            "SELECT count(*) FROM (SELECT platform, pod, count(*) FROM intake.distinct GROUP BY platform, pod) AS counted",
        )
        .await?;
        let sql = start.elapsed();
        run(connection, "DROP TABLE intake.plain, intake.distinct").await?;
        Ok(Self { rows: u64::try_from(rows)?, scan, sql })
    }
}

/// How long it takes to drop the tables of a window, and the longest step of it. Uses a copy, because the
/// window is still needed.
async fn drop_copy(
    connection: &mut PgConnection,
    window: &StoredWindow,
) -> anyhow::Result<(Duration, Duration)> {
    let copy = format!(
        "CREATE TABLE intake.copy (LIKE intake.w{id}_merged INCLUDING ALL);
         DO $$
         DECLARE
             part regclass;
         BEGIN
             FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'intake.w{id}_merged'::regclass LOOP
                 EXECUTE format('CREATE TABLE intake.copy_%s () INHERITS (intake.copy)', part::oid);
                 EXECUTE format('INSERT INTO intake.copy_%s SELECT * FROM %s', part::oid, part);
             END LOOP;
         END $$",
        id = window.id
    );
    run(connection, &copy).await?;
    let parts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'intake.copy'::regclass")
            .fetch_one(&mut *connection)
            .await?;
    run(connection, "CHECKPOINT").await?;
    run(connection, "ALTER TABLE intake.copy RENAME TO gone_copy").await?;
    let (mut all, mut longest, mut steps) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let start = Instant::now();
        let dropped: bool =
            sqlx::query_scalar("SELECT intake.drop_part()").fetch_one(&mut *connection).await?;
        if !dropped {
            break;
        }
        (all, longest, steps) = (all + start.elapsed(), longest.max(start.elapsed()), steps + 1);
    }
    ensure!(steps == parts + 1, "the service has dropped some of {parts} parts itself; try again");
    Ok((all, longest))
}

async fn run(connection: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
    Ok(())
}

/// The costs of a close as an operator runs it.
struct Close {
    /// Until the release was visible.
    released: Duration,
    /// Until the counted tables were dropped, too.
    dropped: Duration,
    /// The peak of its memory.
    peak_mb: f64,
}

impl Close {
    async fn measure(binary: &Path, service: &Service, window: Window) -> anyhow::Result<Self> {
        let start = Instant::now();
        let [kind, day] = [window.kind().as_str().to_owned(), window.start().to_string()];
        let mut arguments: Vec<std::ffi::OsString> =
            ["windows", "close", &kind, &day, "--data-dir"].iter().map(Into::into).collect();
        arguments.push(service.data_dir().into());
        let closing = Server::start(binary, None, &arguments)?;
        let (mut released, mut peak_mb) = (None, 0.0_f64);
        // Its last peak is lost with the process.
        while let Ok(now) = closing.peak_mb() {
            peak_mb = peak_mb.max(now);
            if released.is_none() && service.database.is_released(window).await? {
                released = Some(start.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let dropped = start.elapsed();
        ensure!(service.database.is_released(window).await?, "the window is not released");
        Ok(Self { released: released.unwrap_or(dropped), dropped, peak_mb })
    }
}
