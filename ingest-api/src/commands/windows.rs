//! `ingest-api windows list|merge|close`.

use clap::Subcommand;
use jiff::civil::Date;
use shared::clock::{Clock, SystemClock};

use super::{one_of, say};
use crate::config::Config;
use crate::jobs::close_windows::{CloseWindows, Closed, WithoutKey};
use crate::jobs::merge::{self, Which};
use crate::keys::KeyDirectory;
use crate::open_windows::OpenWindows;
use crate::store::Database;
use crate::table::ruled;
use crate::window::{Window, WindowKind};

#[derive(Debug, Subcommand)]
pub(super) enum WindowsCommand {
    /// List the open windows, and whether their keys are here.
    List,
    /// Merge the reports that arrived for open windows, as the service does each hour.
    ///
    /// Reports that are not merged yet are encrypted with the key of their window, and lost with it. So merge
    /// before you move keys or retire a machine.
    Merge,
    /// Close every window that has been over for a minute, or one window even before its end.
    ///
    /// Closing a window before its end releases what it holds, and it does not open again: until its end,
    /// reports count in the other two kinds of windows only. With --without-key, this is the way out if the
    /// key of an open window is lost.
    #[command(after_help = "Examples:
  ingest-api windows close
      close every window that is over
  ingest-api windows close day 2026-11-22 --without-key
      close one window whose key is lost")]
    Close {
        /// The kind of the window.
        #[arg(requires = "day", value_parser = one_of(WindowKind::ALL.map(WindowKind::as_str), WindowKind::parse))]
        kind: Option<WindowKind>,
        /// A day in the window, such as 2026-11-22.
        day: Option<Date>,
        /// If the key is lost, give up the reports since the last merge, which nothing else can decrypt. The
        /// rest counts.
        #[arg(long, requires = "day")]
        without_key: bool,
    },
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
                let closed = match kind.zip(day) {
                    Some((kind, day)) => job.close(Window::of_day(kind, day), without_key).await?,
                    None => job.run(SystemClock.now()).await,
                };
                report_closed(database, closed).await
            }
        }
    }
}

/// Prints what was closed, and fails with what was not.
async fn report_closed(database: &Database, closed: Closed) -> anyhow::Result<()> {
    for window in &closed.released {
        say(&format!("Released {window}."));
    }
    for (window, pieces) in &closed.given_up {
        say_given_up(*window, *pieces);
    }
    for (window, family) in &closed.untried {
        say(&format!(
            "In {window}, {} is one number: not everything that it may reveal together with others could be tried.",
            family.as_str()
        ));
    }
    if closed.released.is_empty() && closed.failed.is_empty() && closed.put_off.is_empty() {
        say("No window has been over for a minute.");
    }
    let mut failed: Vec<_> = closed.failed.iter().map(ToString::to_string).collect();
    failed.extend(closed.put_off.iter().map(|window| {
        format!(
            "{window} is put off: another instance is closing it, or somebody reads its tables, for example for a dump; try again"
        )
    }));
    match database.drop_put_away().await {
        Ok(0) => {}
        Ok(_) => failed.push(
            "some counted reports could not be dropped: somebody reads them, or has a view of them; try again".to_owned(),
        ),
        Err(error) => failed.push(error.to_string()),
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
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
            Ok(None) => say(&format!("Nothing has arrived for {window} since its last merge.")),
            Err(error) => failed.push(format!("{}: {error}", stored.window)),
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn say_given_up(window: Window, pieces: u64) {
    if pieces > 0 {
        say(&format!(
            "Gave up {pieces} pieces of reports for {window}: their key is lost, or is another one."
        ));
    }
}

async fn list(database: &Database, keys: &KeyDirectory) -> anyhow::Result<()> {
    let windows = database.open_windows().await?;
    if windows.is_empty() {
        say("No window is open: nothing has been reported yet.");
        return Ok(());
    }
    let mut table = ruled(["kind", "from", "until (not included)", "state", "key"]);
    for stored in windows {
        let key = match keys.read(stored.window) {
            Ok(Some(key)) if key.check() == stored.key_check => "here",
            Ok(Some(_)) => "a different one",
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
