//! The commands.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pod_proxy::commands::preview::Preview;
use pod_proxy::commands::{self, CommandError, Format};
use pod_proxy::config::{Config, DEFAULT_PATH};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Takes analytics events from the apps of a Prose Pod, enforces the operator's policy, and sends what is left to
/// the vendor.
///
/// `[vendor_analytics]` in the Pod's prose.toml decides what is shared. `preview` shows what would leave the Pod, and
/// `sent` shows what has left.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  What is shared, and who decided it:
    pod-proxy policy
  What would be shared with the preset for the GDPR, without touching the file:
    PROSE_VENDOR_ANALYTICS__PRESET=gdpr pod-proxy policy
  What would leave for an event of an app, on a Pod with 12 accounts:
    echo '{\"origin\":{\"app\":{\"platform\":\"macos-aarch64\"},\"pod\":{\"user_hash\":\"19a124bd2f89edfe\"}}}' \\
      | pod-proxy preview --user-count 12
  The last ten events that left:
    pod-proxy sent --limit 10

To turn all of it off, write this into prose.toml, then `kill -HUP` the proxy or restart it:
  [vendor_analytics]
  enabled = false

Exit codes: 0 for success; 2 for mistakes in the configuration (each on a line of its own),
or on the command line; 1 for any other error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy until a signal stops it
    ///
    /// SIGTERM and SIGINT stop it cleanly. SIGHUP reads the configuration again. If that has mistakes, the one before
    /// stays in force, and log, health and metrics say so.
    Run(Source),
    /// Show what is shared, key by key, and which layer decided it
    Policy {
        #[command(flatten)]
        source: Source,
        /// How to show it; `json` mirrors the configuration
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show what would leave the Pod for events of apps, byte for byte
    ///
    /// Reads one event per line from standard input. Writes one line for each: `{"outcome":"sent","event":…}`,
    /// `{"outcome":"dropped","reason":…}`, or `{"outcome":"rejected","problem":…}` if it is not an event. Nothing is
    /// stored or sent.
    Preview {
        #[command(flatten)]
        source: Source,
        /// How many enabled accounts to assume [default: the configured number, if it is fixed]
        #[arg(long, value_name = "N")]
        user_count: Option<u32>,
        /// The salt to use [default: the Pod's own if it can be read, else a random one]
        #[arg(long, value_name = "FILE")]
        salt_file: Option<PathBuf>,
        /// Show the Pod's own daily report instead; standard input is not read
        #[arg(long)]
        own_report: bool,
    },
    /// Show what has left the Pod, from a log that only its operator can read
    Sent {
        #[command(flatten)]
        source: Source,
        /// How many events to show, the latest last
        #[arg(long, value_name = "N", default_value = "100")]
        limit: NonZeroUsize,
        /// How to show them; `json` has one line for each, with the event as it was sent
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show all mistakes in the configuration
    Check(Source),
    /// Ask the proxy that runs on this machine with this configuration for its health; for supervisors
    Health(Source),
}

#[derive(Debug, Args)]
struct Source {
    /// The Pod's configuration; `PROSE_VENDOR_ANALYTICS__…` and `PROSE_POD_PROXY__…` variables override it
    #[arg(long = "config", value_name = "FILE", default_value = DEFAULT_PATH)]
    path: PathBuf,
}

impl Source {
    fn load(&self) -> Result<Config, CommandError> {
        Ok(Config::load(&self.path)?)
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has closed the pipe, as `head` does.
        Err(CommandError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit code still tells.
            let _ = writeln!(io::stderr(), "{error}");
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    let mut notes = io::stderr();
    match command {
        Command::Run(source) => {
            let config = source.load()?;
            log_to_stderr(config.log_level);
            runtime()?.block_on(commands::run::run(config, &source.path))
        }
        Command::Policy { source, format } => commands::policy::policy(&source.load()?, format, &mut out),
        Command::Preview { source, user_count, salt_file, own_report } => {
            let config = source.load()?;
            let preview = Preview::new(&config, user_count, salt_file.as_deref(), &mut notes)?;
            if own_report {
                preview.own_report(&config, &mut out)
            } else {
                preview.events(&config, io::stdin().lock(), &mut out)
            }
        }
        Command::Sent { source, limit, format } => {
            commands::sent::sent(&source.load()?, limit.get(), format, &mut out)
        }
        Command::Check(source) => commands::check::check(&source.load()?, &mut out, &mut notes),
        Command::Health(source) => runtime()?.block_on(commands::health::health(&source.load()?, &mut out)),
    }
}

/// One thread is fast enough and needs the least memory.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Logs from this crate only: its libraries may log headers and addresses.
fn log_to_stderr(level: Level) {
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false))
        .with(Targets::new().with_target("pod_proxy", level).with_target(commands::run::ALWAYS, Level::INFO))
        .init();
}
