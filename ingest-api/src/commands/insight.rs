//! `ingest-api insight NAME`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use shared::app::AppName;
use shared::config::Mistake;
use shared::version::Version;

use super::remote::{Remote, Service};
use super::say;
use super::windows::Kind;
use crate::insight::{Cut, DEFAULT_APP, Insight, answer, domains_answer, period};
use crate::store::Database;
use crate::table;
use crate::window::WindowKind;

/// Options of `insight`.
#[derive(Debug, Args)]
pub(super) struct PrintInsight {
    /// Which one.
    #[arg(value_parser = insight_name())]
    name: Insight,
    /// How long the windows are [default: week].
    #[arg(long, value_enum)]
    window: Option<Kind>,
    /// The first window starts on or after this day [default: the newest released window only].
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// The last window starts on or before this day [default: the newest released window].
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// What is below this version? For pod_versions and app_versions.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    below: Option<Version>,
    /// Which app `--below` is about, for app_versions [default: prose-app-web].
    #[arg(long, value_parser = app_name(), requires = "below")]
    app: Option<AppName>,
    /// How to print it. The table shows the newest window only.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    pub(super) remote: Remote,
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

fn app_name() -> impl TypedValueParser<Value = AppName> {
    PossibleValuesParser::new(AppName::ALL.map(AppName::as_str))
        .map(|name| AppName::parse(&name).expect("one of the possible values"))
}

fn version(text: &str) -> Result<Version, &'static str> {
    Version::parse(text).ok_or("a version looks like 0.4.0 or 0.4.0-rc.1")
}

impl PrintInsight {
    /// What is wrong with these options together.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let (of_pods, of_apps) = (self.name == Insight::PodVersions, self.name == Insight::AppVersions);
        let of_windows = self.name != Insight::Domains;
        let mut mistakes = Vec::new();
        let mut wrong = |is_wrong: bool, option: &str, problem: &str| {
            if is_wrong {
                mistakes.push(Mistake::new(option, problem));
            }
        };
        wrong(
            self.below.is_some() && !of_pods && !of_apps,
            "--below",
            "is for pod_versions and app_versions",
        );
        wrong(self.app.is_some() && !of_apps, "--app", "is for app_versions");
        let not_here = "is for insights about windows; domains are of none";
        wrong(self.window.is_some() && !of_windows, "--window", not_here);
        wrong(self.from.is_some() && !of_windows, "--from", not_here);
        wrong(self.to.is_some() && !of_windows, "--to", not_here);
        // Without an end, the newest release is what decides.
        if of_windows && let Err(error) = period(self.from, self.to, None) {
            let option = if self.from.is_some() { "--from" } else { "--to" };
            wrong(true, option, &error.to_string());
        }
        mistakes.extend(self.remote.mistake());
        mistakes
    }

    /// Reads from the service that is named on the command line, or else from the database.
    pub(super) async fn run(self, from: Source<'_>) -> anyhow::Result<()> {
        let app = (self.name == Insight::AppVersions).then_some(self.app.unwrap_or(DEFAULT_APP));
        let below = self.below.map(|version| Cut { app, version });
        let Some(family) = self.name.family() else {
            let answer = domains_answer(match from {
                Source::Database(database) => database.domains().await?,
                Source::Service(service) => service.domains().await?,
            });
            say(match self.format {
                Format::Table => table::render_domains(&answer),
                Format::Json => serde_json::to_string_pretty(&answer)?,
                Format::Csv => table::domains_csv(&answer)?,
            }
            .trim_end());
            return Ok(());
        };
        let kind = self.window.map_or(WindowKind::Week, WindowKind::from);
        let releases = match from {
            Source::Database(database) => {
                let released = database.released_windows().await?;
                let newest = released.newest(kind).map(|window| window.start());
                let days = period(self.from, self.to, newest)?;
                database.releases(released.in_period(kind, days), &[family]).await?
            }
            Source::Service(service) => {
                service.releases(self.name, family, kind, [self.from, self.to]).await?
            }
        };
        let answer = answer(self.name, kind, &releases, below);
        say(match self.format {
            Format::Table => table::render(&answer),
            Format::Json => serde_json::to_string_pretty(&answer)?,
            Format::Csv => table::csv(&answer)?,
        }
        .trim_end());
        Ok(())
    }
}

/// Where the numbers come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// The database.
    Database(&'a Database),
    /// A service, over HTTP.
    Service(&'a Service),
}
