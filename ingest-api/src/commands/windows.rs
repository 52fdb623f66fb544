//! `ingest-api windows list|merge|close`.

use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use jiff::civil::Date;
use shared::clock::{Clock, SystemClock};

use super::say;
use crate::config::Config;
use crate::jobs::close_windows::{CloseWindows, WithoutKey};
use crate::jobs::merge::{self, Which};
use crate::keys::KeyDirectory;
use crate::open_windows::OpenWindows;
use crate::store::Database;
use crate::window::{Window, WindowKind};

#[derive(Debug, Subcommand)]
pub(super) enum WindowsCommand {
    /// List the windows that are open, and whether their keys are here.
    List,
    /// Merge what has come to the windows that are open, which the service does each hour.
    ///
    /// Until then it is sealed with the key of its window, and is lost if that is: merge before you move keys or take a
    /// machine away.
    Merge,
    /// Close every window that has been over for a minute; or one window, over or not.
    ///
    /// Closing a window before its end releases what it holds. It is not opened again: until its end, reports count in
    /// the other two kinds of windows only. That is the way out when the key of an open window is lost, with --without-key.
    Close {
        /// The kind of the window.
        #[arg(requires = "day")]
        kind: Option<Kind>,
        /// A day in it, such as 2026-11-22.
        day: Option<Date>,
        /// Give up what came since the window was merged last, if its key is lost: nothing else can open that. The rest is counted.
        #[arg(long, requires = "day")]
        without_key: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    Day,
    Week,
    Month,
}

impl From<Kind> for WindowKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Day => Self::Day,
            Kind::Week => Self::Week,
            Kind::Month => Self::Month,
        }
    }
}

impl WindowsCommand {
    pub(super) async fn run(self, config: &Config, database: &Database) -> anyhow::Result<()> {
        let keys = KeyDirectory::open(&config.key_dir)?;
        match self {
            Self::List => list(database, &keys).await,
            Self::Merge => merge(database, &OpenWindows::new(keys)).await,
            Self::Close { kind, day, without_key } => {
                let job = CloseWindows { database: database.clone(), keys, thresholds: config.thresholds };
                let without_key = if without_key { WithoutKey::GiveUp } else { WithoutKey::Refuse };
                let closed = match (kind, day) {
                    (Some(kind), Some(day)) => {
                        job.close(Window::of_day(kind.into(), day), without_key).await?
                    }
                    _ => job.run(SystemClock.now()).await,
                };
                for window in &closed.released {
                    say(&format!("Released {window}."));
                }
                closed.given_up.iter().for_each(|(window, pieces)| say_given_up(*window, *pieces));
                for (window, family) in &closed.untried {
                    say(&format!(
                        "In {window}, {} is one number: not everything that it may tell together with others could be tried.",
                        family.as_str()
                    ));
                }
                if closed.released.is_empty() && closed.failed.is_empty() && closed.put_off.is_empty() {
                    say("No window has been over for a minute.");
                }
                let put_off = closed.put_off.iter().map(|window| {
                    format!(
                        "{window} is put off: another instance is at work, or somebody reads its tables, for example to dump them; try again"
                    )
                });
                let dropped = match database.drop_put_away().await {
                    Ok(0) => None,
                    Ok(_) => Some(
                        "what was counted could not all be dropped: somebody reads it, or has made a view of it; try again"
                            .to_owned(),
                    ),
                    Err(error) => Some(error.to_string()),
                };
                let failed = closed.failed.iter().map(ToString::to_string).chain(put_off).chain(dropped);
                let failed: Vec<_> = failed.collect();
                anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
                Ok(())
            }
        }
    }
}

async fn merge(database: &Database, keys: &OpenWindows) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for stored in &database.open_windows().await? {
        let window = stored.window;
        match merge::merge(database, keys, stored, Which::All).await {
            Ok(Some(given_up)) => {
                say(&format!("Merged {window}."));
                say_given_up(window, given_up);
            }
            Ok(None) => say(&format!("Nothing has come to {window} since its last merge.")),
            Err(error) => failed.push(format!("{}: {error}", stored.window)),
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn say_given_up(window: Window, pieces: u64) {
    if pieces > 0 {
        say(&format!(
            "What had come to {window} in {pieces} pieces was given up: its key is lost, or had not sealed them."
        ));
    }
}

async fn list(database: &Database, keys: &KeyDirectory) -> anyhow::Result<()> {
    let windows = database.open_windows().await?;
    if windows.is_empty() {
        say("No window is open: nothing has been reported yet.");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header([
        "kind",
        "from",
        "until (not included)",
        "state",
        "key",
    ]);
    for stored in windows {
        let key = match keys.read(stored.window) {
            Ok(Some(key)) if key.check() == stored.key_check => "here",
            Ok(Some(_)) => "another one",
            Ok(None) => "missing",
            Err(_) => "damaged",
        };
        let state = if stored.closing { "being closed" } else { "open" };
        table.add_row([
            stored.window.kind().as_str(),
            &stored.window.start().to_string(),
            &stored.window.end().to_string(),
            state,
            key,
        ]);
    }
    say(&table.to_string());
    Ok(())
}
