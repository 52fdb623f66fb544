//! `deploy/bench`: the release build of ingest-api under load, beside a bare server and bare Postgres →
//! tables of the results, and which goals are met.

mod bare;
mod growth;
mod intake;
mod reading;
mod service;
mod soak;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use e2e::bench::{Table, release_binary, surroundings};

/// Measures how fast ingest-api accepts reports, how long readers wait meanwhile, how much disk open windows
/// take, and how long a close takes as the number of installations grows.
///
/// Each number has a limit beside it, measured in the same run: a server that parses an event with axum's
/// JSON extractor and stores nothing, or the same rows in plain SQL on the same Postgres. Builds a release of
/// ingest-api, with a private Postgres in a temporary folder (of TMPDIR), which must be on a disk. Everything
/// stays on 127.0.0.1. Prints Markdown, and exits with 1 if a goal is missed.
#[derive(Debug, Parser)]
#[command(name = "deploy/bench")]
struct Arguments {
    /// Skip the largest size, which takes half of the time
    #[arg(long)]
    quick: bool,
    /// Measure one chapter
    #[arg(long, value_name = "CHAPTER")]
    only: Option<Chapter>,
    /// Only check that memory stays flat over this many events; 20000000 take some minutes
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1_000_000..), conflicts_with_all = ["quick", "only"])]
    soak: Option<u64>,
    /// Run the bare server
    #[arg(long, value_name = "ADDRESS", hide = true)]
    bare: Option<SocketAddr>,
}

/// The chapters of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Chapter {
    /// Reports, one by one and in batches
    Intake,
    /// Pages and insights, while reports arrive
    Reading,
    /// Open windows and their close, as installations grow
    Growth,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = match arguments.bare {
        Some(address) => bare::serve(address).map(|()| true),
        None => measure(&arguments),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("It cannot be measured: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether every goal is met.
fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let binary = release_binary("ingest-api")?;
    say(&surroundings(&std::env::temp_dir())?);
    // The generator has one thread; the servers use the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(events) = arguments.soak {
        return chapter("Soak", runtime.block_on(soak::measure(&binary, events)));
    }
    let is_asked_for = |chapter| arguments.only.is_none_or(|only| only == chapter);
    let mut all_met = true;
    if is_asked_for(Chapter::Intake) {
        all_met &= chapter("Intake", runtime.block_on(intake::measure(&binary)))?;
    }
    if is_asked_for(Chapter::Reading) {
        all_met &= chapter("Reading", runtime.block_on(reading::measure(&binary)))?;
    }
    if is_asked_for(Chapter::Growth) {
        let sizes = if arguments.quick { &growth::SIZES[..3] } else { &growth::SIZES[..] };
        all_met &= chapter("Growth", runtime.block_on(growth::measure(&binary, sizes)))?;
    }
    Ok(all_met)
}

/// Prints the table of a chapter. Returns whether it meets every goal.
fn chapter(title: &str, table: anyhow::Result<Table>) -> anyhow::Result<bool> {
    let table = table?;
    say(&format!("\n## {title}\n\n{table}"));
    Ok(table.missed() == 0)
}

#[expect(clippy::print_stdout, reason = "the table is what this is for")]
fn say(text: &str) {
    println!("{text}");
}
