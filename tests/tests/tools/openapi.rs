//! The served OpenAPI document, and what schemathesis finds when it requests everything that the document
//! promises.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::trial::trial;
use anyhow::{Context, ensure};
use e2e::fleet::{Fleet, FleetSize};
use e2e::stack::{Stack, folder};
use ingest_api::access::{Token, expiry};
use ingest_api::store::tokens::StoredToken;
use ingest_api::window::WindowKind;
use jiff::civil::{Date, date};
use libtest_mimic::Trial;

/// The last day of a week and of a month, so that one day makes a release of each kind. All releases are
/// newer than the example dates of the document.
const FIRST_DAY: Date = date(2027, 1, 31);
const TODAY: Date = date(2027, 2, 1);

pub(crate) fn trials() -> Vec<Trial> {
    let missing = schemathesis().is_none().then_some("schemathesis is not installed; tests/run does it");
    vec![trial("schemathesis_finds_nothing", missing, finds_nothing)]
}

/// The program, where `tests/run` installs it.
fn schemathesis() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    let program = executable.ancestors().nth(3)?.join("schemathesis/bin/schemathesis");
    program.is_file().then_some(program)
}

fn finds_nothing() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = folder()?;
    let fleet = Fleet::new(7, FleetSize { days: 1, ..FleetSize::SMALL }, FIRST_DAY);
    let (stack, token) = runtime.block_on(async {
        let mut stack = Stack::start(&fleet, folder.path()).await?;
        stack.play(&fleet, &fleet.day(0), 1).await?;
        let token = Token::generate();
        let now = TODAY.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
        let expires_at = expiry(now, Duration::from_secs(7 * 86_400));
        let stored = StoredToken { name: "schemathesis".to_owned(), may_read_domains: true, expires_at };
        stack.vendor().database().database.insert_token(&stored, &token.digest()).await?;
        anyhow::Ok((stack, token))
    })?;
    let mut command = Command::new(schemathesis().context("schemathesis")?);
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    command.current_dir(folder.path()).env("PYTHONPATH", &room).env("PYTHONDONTWRITEBYTECODE", "1");
    let released = runtime.block_on(stack.vendor().database().database.released_windows())?;
    for kind in WindowKind::ALL {
        let start =
            released.newest(kind).with_context(|| format!("no release of a {}", kind.as_str()))?.start();
        command.env(format!("NEWEST_{}", kind.as_str().to_uppercase()), start.to_string());
    }
    command.arg("--config-file").arg(room.join("schemathesis.toml"));
    command.args(["run", "--checks", "all", "--max-examples", "40", "--seed", "7", "--no-color"]);
    command.args(["--header", &format!("Authorization: Bearer {}", token.reveal())]);
    command.arg(format!("http://{}/openapi.json", stack.vendor().address()));
    let output = command.output()?;
    runtime.block_on(stack.shutdown());
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(output.status.success(), "schemathesis:\n{said}");
    // It also exits with 0 if it has requested nothing.
    ensure!(said.contains("No issues found"), "schemathesis:\n{said}");
    Ok(())
}
