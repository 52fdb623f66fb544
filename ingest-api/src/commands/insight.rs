//! `ingest-api insight NAME`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use shared::version::Version;

use super::say;
use super::windows::Kind;
use crate::insight::{Insight, answer, domains_answer, period};
use crate::store::Database;
use crate::table;
use crate::window::WindowKind;

/// Options of `insight`.
#[derive(Debug, Args)]
pub(super) struct PrintInsight {
    /// Which one.
    #[arg(value_parser = insight_name())]
    name: Insight,
    /// How long the windows are.
    #[arg(long, value_enum, default_value = "week")]
    window: Kind,
    /// The first window starts on or after this day [default: the newest released window only].
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// The last window starts on or before this day [default: the newest released window].
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// What is below this version? For pod_versions.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    below: Option<Version>,
    /// How to print it. The table shows the newest window only.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// As the API answers.
    Json,
    /// For spreadsheets.
    Csv,
}

fn insight_name() -> impl TypedValueParser<Value = Insight> {
    PossibleValuesParser::new(Insight::ALL.map(Insight::as_str))
        .map(|name| Insight::parse(&name).expect("one of the possible values"))
}

fn version(text: &str) -> Result<Version, &'static str> {
    Version::parse(text).ok_or("a version looks like 0.4.0 or 0.4.0-rc.1")
}

impl PrintInsight {
    pub(super) async fn run(self, database: &Database) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.below.is_none() || self.name == Insight::PodVersions,
            "`--below` is for pod_versions"
        );
        let Some(family) = self.name.family() else {
            let answer = domains_answer(database.domains().await?);
            say(match self.format {
                Format::Table => table::render_domains(&answer),
                Format::Json => serde_json::to_string_pretty(&answer)?,
                Format::Csv => table::domains_csv(&answer)?,
            }
            .trim_end());
            return Ok(());
        };
        let kind = WindowKind::from(self.window);
        let newest = database.newest_release(kind).await?.map(|window| window.start());
        let releases = match period(self.from, self.to, newest)? {
            Some((from, to)) => database.releases(kind, from, to, &[family]).await?,
            None => Vec::new(),
        };
        let answer = answer(self.name, kind, &releases, self.below);
        say(match self.format {
            Format::Table => table::render(&answer),
            Format::Json => serde_json::to_string_pretty(&answer)?,
            Format::Csv => table::csv(&answer)?,
        }
        .trim_end());
        Ok(())
    }
}
