//! The command line.

mod check;
mod health;
mod insight;
mod remote;
mod serve;
mod status;
mod token;
mod windows;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use shared::config::{Mistake, Mistakes};

use crate::app::OpenDatabase;
use crate::config::{Config, DatabaseConfig, parse_database_url};
use crate::embedded::Embedded;

/// Counts distinct Prose Pods and installations per day, week and month, and publishes only groups that are
/// large enough to hide in.
///
/// Without any configuration, `ingest-api serve` starts a private Postgres from the PostgreSQL that is
/// installed here, listens on 127.0.0.1, and prints a link to the insights.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// A TOML file with a section `[api]`. Environment variables such as INGEST_API__LISTEN override it.
    #[arg(long, global = true, env = "INGEST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database, such as postgres://user@host/database [default: a private Postgres in the data
    /// directory].
    ///
    /// The environment variable DATABASE_URL does the same.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The directory of the private Postgres and the keys.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  ingest-api check --config ingest.toml             find mistakes in a configuration
  ingest-api serve                                  take reports on 127.0.0.1:8280
  ingest-api token create grafana --expires P90D    create a token for a reader
  ingest-api insight platforms --window month       print a table of the newest month
  ingest-api insight pod_versions --below 0.4.0     what breaks if older Pods are dropped
  ingest-api insight pods --url https://insights.example.org --token-file FILE
                                                    the same from a service elsewhere
  ingest-api windows list                           list the open windows

Exit codes: 0 for success, 2 for a mistake in the configuration or on the command line, 1 for any other failure.
`status --check` has more.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take reports, close windows and answer insights until a signal.
    Serve(serve::Serve),
    /// Check the configuration: prints each mistake on a line of its own and exits with 2, or exits with 0.
    Check,
    /// Upgrade the schema of the database to this version.
    Migrate,
    /// Create, list and revoke tokens of readers.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List, merge and close open windows.
    #[command(subcommand)]
    Windows(windows::WindowsCommand),
    /// Print an insight.
    Insight(insight::PrintInsight),
    /// Ask the service that runs here with this configuration whether it is ready. For supervisors.
    Health,
    /// Print what the database holds, how fresh it is, and what looks wrong.
    Status(status::Status),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match load(&cli) {
        Ok(config) => config,
        Err(mistakes) => {
            report(&mistakes.to_string());
            return ExitCode::from(2);
        }
    };
    if let Command::Check = cli.command {
        say(&check::Summary(&config).to_string());
        return ExitCode::SUCCESS;
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            error
                .downcast_ref::<status::Anomalous>()
                .map_or(ExitCode::FAILURE, |found| found.exit_code().into())
        }
    }
}

/// One thread for every second core: Postgres needs the others, and a request that moves between threads
/// costs more than a fifth more processor time. Work that takes more than some milliseconds leaves these
/// threads for blocking ones: one a core, and two at least, because rendering a page takes one for up to a
/// tenth of a second. More would not be faster, and each keeps memory of its own. Host names are resolved
/// there, too.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2))
        .max_blocking_threads(cores.max(2))
        .enable_all()
        .build()
}

fn load(cli: &Cli) -> Result<Config, Mistakes> {
    let mut mistakes = Mistakes::default();
    if let Some(Err(wrong)) = cli.database_url.as_deref().map(parse_database_url) {
        mistakes.0.push(Mistake::new("--database-url", wrong));
    }
    if let Command::Insight(command) = &cli.command {
        mistakes.0.extend(command.mistakes());
    }
    let mut config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(Mistakes(more)) => {
            mistakes.0.extend(more);
            return Err(mistakes);
        }
    };
    if let Some(data_dir) = &cli.data_dir {
        if config.key_dir == config.data_dir.join("keys") {
            config.key_dir = data_dir.join("keys");
        }
        config.data_dir.clone_from(data_dir);
    }
    if let Some(url) = &cli.database_url {
        config.database = DatabaseConfig::Url(url.clone());
    }
    mistakes.or(config)
}

async fn run(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => serve.run(config).await,
        // Done already, because it needs no runtime.
        Command::Check => Ok(()),
        Command::Migrate => {
            with_database(&config, Schema::Any, async |open| {
                open.database.migrate().await?;
                open.database.prepare().await?;
                say("The schema of the database is up to date.");
                Ok(())
            })
            .await
        }
        Command::Token(command) => {
            with_database(&config, Schema::Checked, async |open| command.run(&open.database).await).await
        }
        Command::Windows(command) => {
            with_database(&config, Schema::Checked, async |open| command.run(&config, &open.database).await)
                .await
        }
        Command::Status(command) => {
            with_database(&config, Schema::Checked, async |open| command.run(&open.database).await).await
        }
        Command::Health => health::run(config.listen).await,
        Command::Insight(command) => match command.remote.service()? {
            Some(service) => command.run(insight::AnswersFrom::Service(&service)).await,
            None => {
                with_database(&config, Schema::Checked, async |open| {
                    command.run(insight::AnswersFrom::Database(&open.database)).await
                })
                .await
            }
        },
    }
}

/// What a command expects of the schema.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schema {
    Checked,
    Any,
}

/// Opens the database for one command, and closes it even if the command fails. Checks the schema, unless the
/// command is about to change it.
async fn with_database(
    config: &Config,
    schema: Schema,
    command: impl AsyncFnOnce(&OpenDatabase) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // An empty new database would look fine.
    anyhow::ensure!(
        schema == Schema::Any
            || config.database != DatabaseConfig::Embedded
            || Embedded::is_in(&config.data_dir),
        "there is no database in {}, and none is configured; `ingest-api serve` creates one there. Is this the data directory of the service?",
        config.data_dir.display()
    );
    let open = OpenDatabase::open(config, false).await?;
    let ready = if schema == Schema::Checked { open.check().await } else { Ok(()) };
    let done = match ready {
        Ok(()) => command(&open).await,
        Err(error) => Err(error.into()),
    };
    open.close().await;
    done
}

/// Parses one of a list of names.
fn one_of<T: Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item = &'static str>,
    parse: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(move |name| parse(&name).ok_or("not one of the names"))
}

/// Prints lines of a result.
fn say(lines: &str) {
    // A reader such as `head` may have closed our output.
    let _ = writeln!(std::io::stdout(), "{lines}");
}

#[expect(clippy::print_stderr, reason = "commands have no log")]
fn report(message: &str) {
    for line in message.lines() {
        eprintln!("ingest-api: {line}");
    }
}
