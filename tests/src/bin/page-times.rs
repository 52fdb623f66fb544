//! A year of releases of all families → a table of the response times of all pages.
//!
//! ```text
//! cargo run --release --package e2e --bin page-times
//! ```

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use e2e::stack::{client, folder, vendor_config};
use e2e::year;
use ingest_api::access::Token;
use ingest_api::app::{App, Schedule};
use ingest_api::store::tokens::StoredToken;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shared::clock::FixedClock;

/// Measures how long each page takes with a year of daily releases of all families: from a request over
/// loopback to its last byte. This includes routing, login, database, answer and HTML.
///
/// One reader after the other requests each page, so that none comes from the page cache. Then each reader
/// requests it again and gets the cached one. The service runs in this process, on its own Postgres in a
/// temporary folder. Prints a Markdown table, and exits with 1 if rendering a page takes more than 20 ms in
/// the median.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often to request each page
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Continue serving, and print a link to the pages
    #[arg(long)]
    serve: bool,
}

/// More than the page cache holds: 32.
const READERS: u32 = 40;
const GOAL: Duration = Duration::from_millis(20);

/// The day after the last release.
const TODAY: Date = Date::constant(2026, 11, 23);

/// Each page by default, and with the most that it can show.
const PAGES: [&str; 21] = [
    "/",
    "/?window=day&period=1y",
    "/insights/pods",
    "/insights/pods?window=day&period=1y",
    "/insights/pod_versions",
    "/insights/pod_versions?window=day&period=1y&below=0.5.0",
    "/insights/pod_sizes",
    "/insights/pod_sizes?window=day&period=1y",
    "/insights/app_versions",
    "/insights/app_versions?window=day&period=1y&below=1.2.0",
    "/insights/app_versions?window=day&period=1y&population=direct",
    "/insights/platforms",
    "/insights/platforms?window=day&period=1y",
    "/insights/languages",
    "/insights/languages?window=day&period=1y&guide=10",
    "/insights/languages?window=day&period=1y&population=direct",
    "/insights/reach",
    "/insights/reach?window=day&period=1y",
    "/insights/domains",
    "/methodology",
    "/login",
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = tokio::runtime::Runtime::new()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("It failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let folder = folder()?;
    let now = TODAY.to_zoned(TimeZone::UTC)?.timestamp();
    let clock = Arc::new(FixedClock::new(now));
    let vendor = App::start(vendor_config(&folder.path().join("vendor")), clock, Schedule::OnCall).await?;
    let measured = measure(&vendor, now, arguments).await;
    vendor.shutdown().await;
    measured
}

async fn measure(vendor: &App, now: Timestamp, arguments: &Arguments) -> anyhow::Result<bool> {
    let numbers = year::write(vendor.database().url(), TODAY).await?;
    let expires_at = ingest_api::access::expiry(now, Duration::from_secs(86_400));
    let mut tokens = Vec::new();
    for reader in 0..READERS {
        let token = Token::generate();
        let stored = StoredToken { name: format!("reader {reader}"), may_read_domains: true, expires_at };
        vendor.database().database.insert_token(&stored, &token.digest()).await?;
        tokens.push(token);
    }
    let base = format!("http://{}", vendor.address());
    say(&format!(
        "{numbers} published numbers of a year of days, weeks and months. Each page {} times:\n\n\
         | page | first, ms | made, median, ms | made, 95th percentile, ms | kept, median, ms | KiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |",
        arguments.rounds
    ));
    let http = client()?;
    let mut is_good = true;
    for page in PAGES {
        let url = format!("{base}{page}");
        let (mut made, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (_, token) in (0..arguments.rounds).zip(tokens.iter().cycle()) {
            for times in [&mut made, &mut kept] {
                let start = Instant::now();
                let request = http.get(&url).header("accept", "text/html").bearer_auth(token.reveal());
                let answer = request.send().await?;
                let status = answer.status();
                bytes = answer.bytes().await?.len();
                times.push(start.elapsed());
                ensure!(status.is_success(), "{page} answered {status}");
            }
        }
        // Releases are read from the database once, then cached.
        let first = made[0];
        made.sort();
        kept.sort();
        let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 100];
        is_good &= at(&made, 50) <= GOAL;
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        say(&format!(
            "| `{page}` | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            ms(first),
            ms(at(&made, 50)),
            ms(at(&made, 95)),
            ms(at(&kept, 50)),
            bytes / 1024
        ));
    }
    say(&format!(
        "\n{} 20 ms in the median.",
        if is_good { "All pages take at most" } else { "NOT all pages take at most" }
    ));
    if arguments.serve {
        say(&format!("{base}{}", ingest_api::login_path(&tokens[0])));
        tokio::signal::ctrl_c().await?;
    }
    Ok(is_good)
}

/// A closed output means that nobody reads it any more.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
    let _ = stdout().flush();
}
