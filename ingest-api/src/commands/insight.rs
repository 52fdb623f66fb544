//! `ingest-api insight NAME`.

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use shared::app::AppName;
use shared::config::Mistake;
use shared::version::Version;

use super::remote::{Remote, Service};
use super::{one_of, say};
use crate::insight::{Answer, Cut, DEFAULT_APP, DomainsAnswer, Insight, answer, domains_answer, period};
use crate::release::Family;
use crate::store::Database;
use crate::table;
use crate::window::WindowKind;

const EXAMPLES: &str = "Examples:
  ingest-api insight platforms --window month
      a table of the newest month
  ingest-api insight app_versions --below 1.2.0 --app prose-app-ios
      how many installations of an app would break
  ingest-api insight languages --window day --from 2026-11-01 --to 2026-11-30 --format csv
      every day of a month, for a spreadsheet
  ingest-api insight pods --url https://insights.example.org --token-file FILE
      the same from a service elsewhere";

/// Options of `insight`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PrintInsight {
    /// The question to answer.
    #[arg(value_parser = one_of(Insight::ALL.map(Insight::as_str), Insight::parse))]
    name: Insight,
    /// The length of the windows [default: week].
    #[arg(long, value_parser = one_of(WindowKind::ALL.map(WindowKind::as_str), WindowKind::parse))]
    window: Option<WindowKind>,
    /// The first window starts on or after this day [default: only the newest released window].
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// The last window starts on or before this day [default: the newest released window].
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// Count what is below this version. For pod_versions and app_versions.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    below: Option<Version>,
    /// The app that `--below` is about, for app_versions [default: prose-app-web].
    #[arg(long, value_parser = one_of(AppName::ALL.map(AppName::as_str), AppName::parse), requires = "below")]
    app: Option<AppName>,
    /// The output format. A table shows the newest window only.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The same as the API.
    Json,
    /// For spreadsheets.
    Csv,
}

fn version(text: &str) -> Result<Version, &'static str> {
    Version::parse(text).ok_or("a version looks like 0.4.0 or 0.4.0-rc.1")
}

impl PrintInsight {
    /// What is wrong with these options together.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let named = |has: fn(Insight) -> bool| {
            let insights = Insight::ALL.into_iter().filter(|insight| has(*insight));
            let names: Vec<_> = insights.map(Insight::as_str).collect();
            format!("is for {}", names.join(" and "))
        };
        let of_windows = self.name != Insight::Domains;
        let mut mistakes = Vec::new();
        let mut wrong = |is_wrong: bool, option: &str, problem: &str| {
            if is_wrong {
                mistakes.push(Mistake::new(option, problem));
            }
        };
        wrong(self.below.is_some() && !self.name.has_versions(), "--below", &named(Insight::has_versions));
        wrong(
            self.app.is_some() && !self.name.has_versions_of_each_app(),
            "--app",
            &named(Insight::has_versions_of_each_app),
        );
        let only_windows = "is for insights about windows, and domains have none";
        wrong(self.window.is_some() && !of_windows, "--window", only_windows);
        wrong(self.from.is_some() && !of_windows, "--from", only_windows);
        wrong(self.to.is_some() && !of_windows, "--to", only_windows);
        // Without `--to`, the newest release decides, which is not known yet.
        if of_windows && let Err(error) = period(self.from, self.to, None) {
            let option = if self.from.is_some() { "--from" } else { "--to" };
            wrong(true, option, &error.to_string());
        }
        mistakes.extend(self.remote.mistake());
        mistakes
    }

    /// Prints the answer of the service at `--url`, or of the database.
    pub(super) async fn run(self, from: AnswersFrom<'_>) -> anyhow::Result<()> {
        let printed = match self.name.family() {
            None => {
                let answer = self.domains(from).await?;
                match self.format {
                    Format::Table => table::render_domains(&answer),
                    Format::Json => serde_json::to_string_pretty(&answer)?,
                    Format::Csv => table::domains_csv(&answer)?,
                }
            }
            Some(family) => {
                let answer = self.answer(family, from).await?;
                match self.format {
                    Format::Table => table::render(&answer),
                    Format::Json => serde_json::to_string_pretty(&answer)?,
                    Format::Csv => table::csv(&answer)?,
                }
            }
        };
        say(printed.trim_end());
        Ok(())
    }

    async fn domains(&self, from: AnswersFrom<'_>) -> anyhow::Result<DomainsAnswer> {
        match from {
            AnswersFrom::Database(database) => Ok(domains_answer(database.domains().await?)),
            AnswersFrom::Service(service) => service.domains().await,
        }
    }

    async fn answer(&self, family: Family, from: AnswersFrom<'_>) -> anyhow::Result<Answer> {
        let app = self.name.has_versions_of_each_app().then_some(self.app.unwrap_or(DEFAULT_APP));
        let below = self.below.map(|version| Cut { app, version });
        let kind = self.window.unwrap_or(WindowKind::Week);
        match from {
            AnswersFrom::Database(database) => {
                let released = database.released_windows().await?;
                let newest = released.newest(kind).map(|window| window.start());
                let days = period(self.from, self.to, newest)?;
                let releases = database.releases(released.in_period(kind, days), &[family]).await?;
                Ok(answer(self.name, kind, &releases, below))
            }
            AnswersFrom::Service(service) => {
                service.answer(self.name, kind, [self.from, self.to], below).await
            }
        }
    }
}

/// Where the answers come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswersFrom<'a> {
    /// From the database.
    Database(&'a Database),
    /// From a service, over HTTP.
    Service(&'a Service),
}
