//! `kill -9` of the program while it closes a window. After a restart there is one release, and neither rows
//! nor key.
//!
//! At the steps in the database, a lock stops the program: a trigger wants it, and the test holds it. When
//! the lock is released, the server finishes what it was doing. Between the commit and the removal of the
//! key, a pipe in place of the key file stops the program, because opening it waits for a reader. Then the
//! test puts the file back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ingest_api::release::Family;
use ingest_api::window::{Window, WindowKind};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shared::clock::{Clock, SystemClock};
use sqlx::{Connection, Executor, PgConnection};

use crate::crash::STEPS;
use crate::support::*;

/// The running program. It is killed when the test ends, if not before.
struct Program(Child);

impl Program {
    fn start(url: &str, directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-api"));
        command.env_clear().env("INGEST_API__CLOSE_INTERVAL", "PT1S");
        command.args(["--database-url", url, "--data-dir"]).arg(directory);
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// With SIGKILL.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it has ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A database and a key directory with the windows of yesterday, as the service left them.
struct Left {
    service: Service,
    url: String,
    yesterday: Date,
}

impl Left {
    async fn behind() -> Self {
        let yesterday = SystemClock.now().to_zoned(TimeZone::UTC).date().yesterday().unwrap();
        let noon = yesterday.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let service = Service::start_at(noon, |_| {}).await;
        service.report(&ten_pods(4)).await;
        let url = service.app.database().url().to_owned();
        Self { service, url, yesterday }
    }

    fn directory(&self) -> &Path {
        &self.service.config.data_dir
    }

    fn key(&self) -> PathBuf {
        self.service.key_file(&format!("day-{}.key", self.yesterday))
    }

    async fn is(&self, condition: &str) -> bool {
        let sql = format!("SELECT 'yes' WHERE EXISTS ({condition})");
        !self.service.query(&sql).await.unwrap().is_empty()
    }

    async fn until(&self, what: &str, condition: &str) {
        let wait = async {
            while !self.is(condition).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .unwrap_or_else(|_| panic!("in vain: {what}"));
    }

    fn released(&self) -> String {
        format!("SELECT FROM release.closed_window WHERE kind = 'day' AND starts_on = '{}'", self.yesterday)
    }

    /// Starts the program again, and checks what it does with the leftovers.
    async fn finish(self, step: &str) {
        let program = Program::start(&self.url, self.directory());
        self.until("the release", &self.released()).await;
        let gone = async {
            while self.key().exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone)
            .await
            .unwrap_or_else(|_| panic!("{step}: no key"));
        // Each table belongs to an open window, or is a part of such a table.
        let rows = "SELECT FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
                    WHERE c.relnamespace = 'intake'::regnamespace AND c.relkind = 'r'
                    AND c.relname ~ '^(w[0-9]|new|part_|gone)' AND NOT EXISTS (
                        SELECT FROM intake.open_window w WHERE w.state = 'open'
                        AND to_regclass(format('intake.w%s_merged', w.id)) IN (c.oid, i.inhparent))";
        self.until("the end of what was put away", &format!("SELECT WHERE NOT EXISTS ({rows})")).await;
        program.kill();
        let day = Window::of_day(WindowKind::Day, self.yesterday);
        let releases = self.service.database().releases(&[day], &Family::ALL).await.unwrap();
        assert_eq!(releases.len(), 1, "{step}: one release");
        let total = releases[0].blocks().iter().find(|block| block.family == Family::INSTALLATIONS).unwrap();
        assert_eq!((releases[0].blocks().len(), total.published), (7, 40), "{step}: whole");
        let row =
            format!("SELECT FROM intake.open_window WHERE kind = 'day' AND starts_on = '{}'", self.yesterday);
        assert!(!self.is(&row).await, "{step}: no window");
        self.service.app.shutdown().await;
    }
}

/// Makes the database stop a close of the day at a step, until the returned connection gives up its lock.
async fn stop_at(left: &Left, place: &str) -> PgConnection {
    let mut holder = PgConnection::connect(&left.url).await.unwrap();
    holder.execute("SELECT pg_advisory_lock(4711)").await.unwrap();
    let kind = if place.contains("DEFERRABLE") { "CONSTRAINT TRIGGER" } else { "TRIGGER" };
    for sql in [
        // At the day only: other windows that are over today, such as a month, are closed as well.
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF TG_RELNAME = 'arrival_day' OR to_jsonb(coalesce(NEW, OLD)) ->> 'kind' = 'day' THEN
                 PERFORM pg_advisory_xact_lock(4711);
             END IF;
             RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
         END $$",
        &format!("CREATE {kind} wait {place} EXECUTE FUNCTION public.wait()"),
    ] {
        left.service.query(sql).await.unwrap();
    }
    holder
}

const STOPPED: &str =
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_killed_at_any_step_in_the_database_is_finished_after_a_start() {
    for (step, place) in STEPS {
        let left = Left::behind().await;
        let holder = stop_at(&left, place).await;
        let program = Program::start(&left.url, left.directory());
        left.until(step, STOPPED).await;
        program.kill();
        assert!(!left.is(&left.released()).await && left.key().exists(), "{step}: not closed yet");
        holder.close().await.unwrap();
        let table = place.split(" ON ").nth(1).unwrap().split(' ').next().unwrap();
        let drop_trigger = format!("DROP TRIGGER wait ON {table}");
        left.service.query(&drop_trigger).await.unwrap();
        left.finish(step).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_killed_between_its_commit_and_the_end_of_the_key_is_finished_after_a_start() {
    for zeroed in [false, true] {
        let left = Left::behind().await;
        let (key, aside) = (left.key(), left.key().with_extension("aside"));
        let (commits, place) = STEPS[STEPS.len() - 1];
        let holder = stop_at(&left, place).await;
        let program = Program::start(&left.url, left.directory());
        left.until(commits, STOPPED).await;
        // The key has been read; the next step overwrites its file.
        std::fs::rename(&key, &aside).unwrap();
        let (here, mode) = (rustix::fs::CWD, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(here, &key, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        holder.close().await.unwrap();
        left.until("the commit", &left.released()).await;
        program.kill();
        std::fs::rename(&aside, &key).unwrap();
        if zeroed {
            // As if it was killed a moment later: overwritten, but not removed.
            std::fs::write(&key, [0; 32]).unwrap();
        }
        left.finish(if zeroed { "has overwritten the key" } else { "has committed" }).await;
    }
}
