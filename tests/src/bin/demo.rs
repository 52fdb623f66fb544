//! `deploy/run`: plays a simulated fleet through both services, prints the insights, and checks every number.

use shared::data_point::PodVersion;
use std::io::{IsTerminal, Write, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use e2e::fleet::{Fleet, FleetSize};
use e2e::served::Served;
use e2e::stack::{Passed, Stack, vendor_config};
use e2e::truth::{Truth, differences};
use ingest_api::app::Schedule;
use ingest_api::insight::{Insight, answer, domains_answer};
use ingest_api::release::Threshold;
use ingest_api::store::Database;
use ingest_api::table;
use ingest_api::window::WindowKind;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use pod_proxy::app::StartOptions;
use shared::clock::{Clock, SystemClock};
use shared::version::Version;
use tokio::signal::unix::{SignalKind, signal};

/// Plays a demo fleet through both services, with a simulated clock.
#[derive(Debug, Parser)]
struct Cli {
    /// Exit after the tables are printed
    #[arg(long)]
    once: bool,
    /// Which fleet to play
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many days to play; the last one is yesterday
    #[arg(long, default_value_t = FleetSize::DEMO.days, value_parser = clap::value_parser!(u16).range(1..=400))]
    days: u16,
}

/// The outcome of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Every number was right.
    AllRight,
    /// Some numbers were wrong.
    Differences,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = tokio::runtime::Runtime::new()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match ended {
        Ok(Ended::AllRight) => ExitCode::SUCCESS,
        Ok(Ended::Differences) => ExitCode::FAILURE,
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(error) => {
            say(&format!("The demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<Ended> {
    let today = SystemClock.now().to_zoned(TimeZone::UTC).date();
    let size = FleetSize { days: cli.days, ..FleetSize::DEMO };
    let fleet = Fleet::new(cli.seed, size, today.saturating_sub(jiff::Span::new().days(cli.days)));
    introduce(&fleet);

    let folder = e2e::stack::folder()?;
    let mut stack = Stack::start(&fleet, folder.path()).await?;
    let ended = tokio::select! {
        ended = play_and_check(&fleet, &mut stack, today) => ended,
        () = interrupted() => Ok(Ended::Interrupted),
    };
    stack.shutdown().await;
    let ended = ended?;
    if cli.once || ended == Ended::Interrupted {
        return Ok(ended);
    }
    serve(&fleet, folder.path()).await?;
    Ok(ended)
}

fn introduce(fleet: &Fleet) {
    let FleetSize { pods, real_pods, days, .. } = fleet.size();
    let through: usize = fleet.pods().iter().map(|pod| pod.installations.len()).sum();
    let direct: usize = fleet.servers().iter().map(|server| server.installations.len()).sum();
    let policies: Vec<_> = fleet.pods().iter().take(real_pods).map(|pod| pod.policy.name).collect();
    say(&format!(
        "A fleet of {pods} Pods with {through} installations, and {direct} installations without a Pod, on {servers} \
         XMPP servers.\n{real_pods} Pods have a pod-proxy each, with these policies: {policies}.\n\
         Playing {days} days, from {first}.",
        servers = fleet.servers().len(),
        policies = policies.join(", "),
        first = fleet.first_day(),
    ));
}

async fn play_and_check(fleet: &Fleet, stack: &mut Stack, today: Date) -> anyhow::Result<Ended> {
    let truth = play(fleet, stack).await?;
    let database = &stack.vendor().database().database;
    print_tables(database).await?;
    let reader = stack.reader().await?;
    let served = reader.everything(fleet.first_day().saturating_sub(31.days()), today).await?;
    Ok(check(&truth, &served, today))
}

/// Plays every day, and shows its progress.
async fn play(fleet: &Fleet, stack: &mut Stack) -> anyhow::Result<Truth> {
    let start = Instant::now();
    let days = fleet.size().days;
    let on_terminal = stdout().is_terminal();
    let mut truth = Truth::default();
    let mut sum = Passed::default();
    for day in fleet.days() {
        let passed = stack.play(fleet, &day, 1).await.with_context(|| format!("on {}", day.date))?;
        truth.observe(fleet, &day);
        sum.to_proxies += passed.to_proxies;
        sum.handed_over += passed.handed_over;
        sum.direct += passed.direct;
        let played = day.number + 1;
        let progress = format!(
            "day {played} of {days}, {}: {} events to pod-proxies, {} handed over, {} direct; {} s",
            day.date,
            sum.to_proxies,
            sum.handed_over,
            sum.direct,
            start.elapsed().as_secs()
        );
        if on_terminal {
            write(&format!("\r\x1b[K{progress}{}", if played == days { "\n" } else { "" }));
        } else if played % 10 == 0 || played == days {
            say(&progress);
        }
    }
    Ok(truth)
}

async fn print_tables(database: &Database) -> anyhow::Result<()> {
    let kind = WindowKind::Week;
    let newest = database.released_windows().await?.newest(kind);
    for insight in Insight::ALL {
        let text = match (insight.family(), newest) {
            (None, _) => table::render_domains(&domains_answer(database.domains().await?)),
            (Some(family), Some(window)) => {
                let releases = database.releases(&[window], &[family]).await?;
                let below = Version::parse("0.5.0").filter(|_| insight == Insight::of::<PodVersion>());
                table::render(&answer(insight, kind, &releases, below.map(Into::into)))
            }
            (Some(_), None) => table::render(&answer(insight, kind, &[], None)),
        };
        say(&format!("\n{}", text.trim_end()));
    }
    Ok(())
}

/// Compares everything that is served with what the fleet knows about itself, and prints the result.
fn check(truth: &Truth, served: &Served, today: Date) -> Ended {
    let is_over = |window: &ingest_api::window::Window| window.end() <= today;
    let threshold = |window| is_over(&window).then(Threshold::default);
    let expected = truth.releases(threshold);
    let mut wrong = differences(&expected, &served.releases);
    let windows: std::collections::BTreeSet<_> = truth.windows().filter(is_over).collect();
    wrong.extend(windows.symmetric_difference(&served.windows).map(|window| {
        let (is, be) = if windows.contains(window) { ("not", "be") } else { ("already", "not be") };
        format!("{window} is {is} released and should {be}")
    }));
    let domains = truth.domains(today);
    wrong.extend(domains.symmetric_difference(&served.domains).map(|(domain, week)| {
        let is = if domains.contains(&(domain.clone(), week.clone())) { "is not" } else { "is" };
        format!("the domain {domain} {is} listed, with the week of {week}")
    }));
    let numbers: usize = served.releases.values().map(Vec::len).sum();
    if wrong.is_empty() {
        say(&format!(
            "\nChecked against what the fleet knows of itself: {numbers} published numbers of {} windows and {} domains, \
             all of them right.",
            served.windows.len(),
            served.domains.len()
        ));
        return Ended::AllRight;
    }
    say(&format!("\nNOT what the fleet knows of itself, in {} places:", wrong.len()));
    wrong.iter().for_each(|line| say(&format!("  {line}")));
    Ended::Differences
}

/// Continues with the machine's clock, until somebody ends the demo.
async fn serve(fleet: &Fleet, folder: &Path) -> anyhow::Result<()> {
    let anywhere = vendor_config(&folder.join("vendor"));
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8280));
    let is_free = std::net::TcpListener::bind(usual).is_ok();
    let listen = if is_free { usual } else { anywhere.listen };
    let config = ingest_api::config::Config { listen, ..anywhere };
    let vendor = ingest_api::app::App::start(config, Arc::new(SystemClock), Schedule::Timed).await?;
    let ended = async {
        let token = vendor.issue_start_token().await?;
        let base = format!("http://{}", vendor.address());
        let proxy = one_proxy(fleet, folder, &base).await?;
        say(&format!(
            "\nInsights, for a day: {base}{link}\n\
             As JSON and CSV:     curl -H 'Authorization: Bearer {token}' '{base}/v1/insights/platforms?window=month&format=csv'\n\
             A Pod's proxy:       curl -i -H 'Content-Type: application/json' -d '{SAMPLE}' {event}\n\
             Ctrl-C ends it.",
            link = ingest_api::login_path(&token),
            token = token.reveal(),
            event = proxy.event_url(),
        ));
        interrupted().await;
        proxy.shutdown().await;
        anyhow::Ok(())
    }
    .await;
    vendor.shutdown().await;
    ended
}

const SAMPLE: &str = r#"{"name":"app:startup","origin":{"app":{"name":"prose-app-web","version":"1.0.1","platform":"macos-aarch64","user_preferred_locales":["de-CH","en"]},"pod":{"user_hash":"19a124bd2f89edfe"}}}"#;

/// A proxy to try out, which sends within seconds. It follows the environment's settings for analytics
/// (`PROSE_VENDOR_ANALYTICS__…`).
async fn one_proxy(fleet: &Fleet, folder: &Path, vendor: &str) -> anyhow::Result<pod_proxy::app::App> {
    let pod = fleet.pods().first().context("a fleet without Pods")?;
    let file = folder.join("prose.toml");
    let text = format!(
        "[pod_proxy]\ndomain = '{}'\nlisten = '127.0.0.1:0'\nvendor_url = '{vendor}/_api/cloud'\n\
         data_dir = '{}'\nflush_interval = 'PT5S'\n",
        pod.domain().as_str(),
        folder.join("pod-0").display(),
    );
    std::fs::write(&file, text)?;
    let config = pod_proxy::config::Config::load(&file)?;
    pod_proxy::app::App::start(config, StartOptions::default()).await
}

/// Resolves when somebody ends the demo.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    write("\n");
}

fn say(text: &str) {
    write(&format!("{text}\n"));
}

/// A closed output means that nobody reads it any more.
fn write(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
    let _ = stdout().flush();
}
