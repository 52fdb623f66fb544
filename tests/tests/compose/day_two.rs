//! The recipes of `deploy/DAY-TWO.md` → what they promise, on the vendor's containers that have reports in them.

use std::fs;

use anyhow::{Context, ensure};
use e2e::served::{Reader, Served};
use e2e::stack::{client, post};
use serde_json::Value;

use crate::docker::{Project, docker, until};
use crate::guide::Block;
use crate::load::event;
use crate::vendor::{
    FILE, INSTANCES, OLD_TOKEN, Vendor, add_haste, base, event_through_a_pod, insight, with,
};
use crate::watch::wait_for_alert;
use crate::{block_on, images, today};

/// Reports of installations without a Pod.
fn report(project: &Project, first: usize, number: usize) -> anyhow::Result<()> {
    post_all(project, (first..first + number).map(event).collect())
}

fn post_all(project: &Project, events: Vec<Value>) -> anyhow::Result<()> {
    let number = events.len();
    let url = format!("{}/_api/cloud/v1/analytics/events", base(project)?);
    let events = Value::from(events).to_string();
    let answer: Value = serde_json::from_str(&block_on(post(&client()?, &url, events))?)?;
    ensure!(answer["accepted"] == number, "{answer}");
    Ok(())
}

/// Everything that is served to the holder of a token, of all time.
fn served(project: &Project, token: &str) -> anyhow::Result<Served> {
    let reader = Reader::with_token(&base(project)?, token)?;
    let first = "2026-01-01".parse()?;
    block_on(reader.everything(first, today().max(first)))
}

/// What a reader is answered, as a status.
fn status(project: &Project, token: &str) -> anyhow::Result<u16> {
    let url = format!("{}/v1/insights", base(project)?);
    block_on(async { Ok(client()?.get(url).bearer_auth(token).send().await?.status().as_u16()) })
}

fn token(said: &str) -> anyhow::Result<String> {
    let token = said.split_whitespace().find(|word| word.starts_with("prose-reader-"));
    Ok(token.with_context(|| format!("no token in {said}"))?.to_owned())
}

pub(crate) fn tokens_are_rotated() -> anyhow::Result<()> {
    with(|Vendor { project, folder }| {
        let create = ["ingest-api", "token", "create", "dashboard-2026"];
        let old = token(&project.exec(INSTANCES[0], &create)?)?;
        ensure!(status(project, &old)? == 200);
        let new = token(&Block::after("## Rotating tokens", FILE)?.run(project, folder.path())?)?;
        // More often than there are instances, and none of them remembers.
        for _ in 0..2 * INSTANCES.len() {
            ensure!(status(project, &new)? == 200 && status(project, &old)? == 401);
        }
        Ok(())
    })
}

pub(crate) fn a_backup_holds_no_open_window_and_is_restored_into_a_new_system() -> anyhow::Result<()> {
    const FIRST: usize = 200_000;
    const DOMAIN: &str = "opted-in.example";
    with(|Vendor { project, folder }| {
        report(project, FIRST, 50)?;
        project.sql(&format!(
            "INSERT INTO optin.domain VALUES ('{DOMAIN}', date_trunc('week', now() AT TIME ZONE 'UTC'))"
        ))?;
        let create = ["ingest-api", "token", "create", "of-the-backup", "--domains"];
        let reader = token(&project.exec(INSTANCES[0], &create)?)?;

        Block::after("## Backup", FILE)?.run(project, folder.path())?;
        let backup = fs::read_to_string(folder.path().join("prose-ingest.sql"))?;
        ensure!(backup.contains("COPY release.block ") && backup.contains("COPY access.token "), "{backup}");
        for schema in ["intake", "optin"] {
            ensure!(!backup.contains(&format!("{schema}.")), "{schema} is in the backup");
        }
        ensure!(!backup.contains(DOMAIN), "the domain is in the backup");
        let checks = project.sql("SELECT key_check FROM intake.open_window")?;
        ensure!(!checks.is_empty(), "no window is open");
        for check in checks.lines() {
            ensure!(!backup.contains(check), "an open window is in the backup");
        }
        for secret in [&reader, OLD_TOKEN] {
            ensure!(!backup.contains(secret), "a token is in the backup");
        }

        let mut expected = served(project, &reader)?;
        ensure!(!expected.releases.is_empty() && expected.domains.len() == 1, "{expected:?}");
        expected.domains.clear();
        let restored = e2e::stack::folder()?;
        let mut new = Project::new("restored", FILE, &images::tag()?);
        add_haste(&mut new, restored.path())?;
        Block::after("## Restore", FILE)?.run(&new, folder.path())?;
        new.wait_until_all_healthy()?;
        let found = served(&new, &reader)?;
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        report(&new, FIRST, 10)?;
        ensure!(new.counted()? == 10, "the new system does not count, or has an open window of the old one");
        Ok(())
    })
}

pub(crate) fn the_database_is_moved_in_the_middle_of_its_windows() -> anyhow::Result<()> {
    const FIRST: usize = 300_000;
    with(|Vendor { project, folder }| {
        report(project, FIRST, 50)?;
        let (counted, before) = (project.counted()? + 5, served(project, OLD_TOKEN)?);
        // Some that have not been merged, too.
        report(project, FIRST + 50, 5)?;
        let container = project.container("postgres")?;
        Block::after("## Moving the database", FILE)?.run(project, folder.path())?;
        ensure!(project.container("postgres")? != container, "it is the old one");
        project.wait_until_all_healthy()?;
        ensure!(project.counted()? == counted, "{} are counted, it were {counted}", project.counted()?);
        ensure!(served(project, OLD_TOKEN)? == before, "other insights");
        ensure!(!folder.path().join("moving.sql").exists());
        // The same are known again, and others are counted.
        report(project, FIRST, 60)?;
        let after = project.counted()?;
        ensure!(after == counted + 5, "{after} are counted, after {counted}");
        let role = project.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'prose_ingest'")?;
        ensure!(role == "f", "{role}");
        Ok(())
    })
}

pub(crate) fn passwords_that_are_lost_are_drawn_anew() -> anyhow::Result<()> {
    const FIRST: usize = 400_000;
    with(|Vendor { project, folder }| {
        let read = || project.in_volume("database-secrets", "cat ingest_password");
        let old = read()?;
        // With the volumes that have no name, and no other.
        project.compose(&["rm", "--stop", "--force", "-v"])?;
        for volume in ["database-secrets", "ingest-secrets"] {
            docker(&["volume", "rm", &project.full_name(volume)])?;
        }
        project.up(&["postgres"])?;
        let new = read()?;
        ensure!(new != old && !new.trim().is_empty(), "it is the old one");
        // By an address from which nobody is trusted. It does not fit yet; else the recipe would prove nothing.
        let login = |password: &str| {
            let url = format!("postgres://prose_ingest:{}@postgres/prose_ingest", password.trim());
            project.exec("postgres", &["psql", &url, "-Atc", "SELECT 1"]).is_ok()
        };
        ensure!(login(&old) && !login(&new), "the new one fits already");
        Block::after("## Passwords", FILE)?.run(project, folder.path())?;
        ensure!(login(&new) && !login(&old), "the new one does not fit");
        project.up(&[])?;
        report(project, FIRST, 10)
    })
}

pub(crate) fn a_window_whose_key_is_lost_is_closed_with_what_it_holds() -> anyhow::Result<()> {
    const FIRST: usize = 600_000;
    with(|Vendor { project, folder }| {
        report(project, FIRST, 50)?;
        post_all(project, (0..50).map(event_through_a_pod).collect())?;
        let (day, before) = (format!("day {}", today()), project.counted()?);
        let ready = |instance| project.exec(instance, &["ingest-api", "health"]).is_ok();
        ensure!(INSTANCES.iter().all(|instance| ready(*instance)), "they are not ready");
        project.in_volume("keys", &format!("rm keys/day-{}.key", today()))?;

        // It says so at once; one that is started does not start, and makes no new key.
        until("it is not ready", || Ok((!ready(INSTANCES[1])).then_some(())))?;
        project.compose(&["restart", INSTANCES[0]])?;
        until("it does not start", || {
            let missing = format!("the key of the open window `{day}` is missing");
            Ok((project.log(INSTANCES[0])?.contains(&missing) && !ready(INSTANCES[0])).then_some(()))
        })?;
        let keys = project.in_volume("keys", "ls keys")?;
        ensure!(!keys.contains("day-"), "{keys}");

        let said = Block::after("## A key is lost", FILE)?.run(project, folder.path())?;
        ensure!(said.lines().any(|line| line.contains("day") && line.contains("missing")), "{said}");
        ensure!(said.contains(&format!("Released {day}.")), "{said}");
        project.wait_until_all_healthy()?;
        let query = format!("platforms?window=day&from={0}&to={0}", today());
        let found = insight(&base(project)?, OLD_TOKEN, &query)?;
        ensure!(found == [(today().to_string(), "macos-aarch64".to_owned(), 50)], "{found:?}");

        // Reports count in the others, and the day is not opened again.
        report(project, FIRST, 60)?;
        let counted = project.counted()? - before;
        ensure!(counted == 10, "{counted} are counted in the week");
        ensure!(project.counted_in("day").is_err(), "the day is open again");
        Ok(())
    })
}

pub(crate) fn a_close_that_fails_is_told_and_its_recipe_ends_it() -> anyhow::Result<()> {
    const DAY: &str = "2026-01-04";
    with(|Vendor { project, folder }| {
        let released = || {
            let sql = format!(
                "SELECT count(*) FROM release.closed_window WHERE kind = 'day' AND starts_on = '{DAY}'"
            );
            project.sql(&sql)
        };
        wait_for_alert(project, "CloseFailed", false)?;
        project.sql("REVOKE INSERT ON release.closed_window FROM prose_release")?;
        project.sql(&format!("SELECT intake.create_window('day', '{DAY}', 0)"))?;
        wait_for_alert(project, "CloseFailed", true)?;
        let recipe = Block::after("## A close fails", FILE)?;
        let failed = recipe.run(project, folder.path()).err().context("it is said to go well")?;
        let failed = format!("{failed:#}");
        ensure!(failed.contains("permission denied"), "the reason is not told: {failed}");
        let log = INSTANCES
            .map(|instance| project.log(instance))
            .into_iter()
            .collect::<anyhow::Result<String>>()?;
        ensure!(log.contains("permission denied"), "the log does not tell the reason");
        ensure!(released()? == "0");
        // A window that cannot be closed is in nobody's way.
        report(project, 800_000, 10)?;

        project.sql("GRANT INSERT ON release.closed_window TO prose_release")?;
        recipe.run(project, folder.path())?;
        until("the day is released", || Ok((released()? == "1").then_some(())))?;
        wait_for_alert(project, "CloseFailed", false)
    })
}
