//! A close that is killed at each of its steps: afterwards there is one release, and neither rows nor key.
//!
//! The steps are those at which the database can be stopped: a trigger waits there. Meanwhile the test kills
//! the backend with SIGKILL, after which the server disconnects everybody and recovers. Or it kills the
//! postmaster, and with it the whole server, which is then restarted. Or the service goes away.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ingest_api::app::{App, Schedule};
use ingest_api::config::Config;
use ingest_api::window::{Window, WindowKind};
use shared::clock::FixedClock;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::*;

/// A step of a close, and where it is in the database.
pub(crate) const STEPS: [(&str, &str); 8] = [
    ("tells writers that the window is over", "BEFORE UPDATE OF state ON intake.open_window FOR EACH ROW"),
    ("writes the window", "BEFORE INSERT ON release.closed_window FOR EACH ROW"),
    ("takes the arrivals", "AFTER DELETE ON intake.arrival FOR EACH ROW"),
    ("writes the first block", "BEFORE INSERT ON release.block FOR EACH ROW"),
    ("has written a block", "AFTER INSERT ON release.block FOR EACH ROW"),
    ("deletes the row of the window", "BEFORE DELETE ON intake.open_window FOR EACH ROW"),
    ("has deleted the row", "AFTER DELETE ON intake.open_window FOR EACH ROW"),
    ("commits", "AFTER INSERT ON release.closed_window DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    /// The backend that works for us. The server then disconnects all others, too.
    Backend,
    /// The postmaster: the server is down until it is restarted.
    Postmaster,
    /// Our own process, as the database sees it: its connections are gone.
    Service,
}

/// A service with a Postgres of its own, which may be killed.
struct Victim {
    _directory: tempfile::TempDir,
    config: Config,
    clock: Arc<FixedClock>,
    app: App,
}

impl Victim {
    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("prose-crash-").tempdir().unwrap();
        let mut config = Config::in_directory(directory.path());
        config.listen = ([127, 0, 0, 1], 0).into();
        config.metrics_listen = ([127, 0, 0, 1], 0).into();
        config.limits = None;
        let clock = Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap()));
        let app = App::start(config.clone(), clock.clone(), Schedule::OnCall).await.unwrap();
        Self { _directory: directory, config, clock, app }
    }

    /// Runs statements as the owner, and returns the first column of the last. Waits for a server that
    /// recovers.
    async fn sql(&self, statements: &[&str]) -> Vec<String> {
        'again: loop {
            let Ok(mut connection) = PgConnection::connect(self.app.database().url()).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut last = Vec::new();
            for sql in statements {
                match sqlx::query_scalar(AssertSqlSafe((*sql).to_owned())).fetch_all(&mut connection).await {
                    Ok(rows) => last = rows,
                    Err(sqlx::Error::Database(error)) if !error.code().unwrap().starts_with("57") => {
                        panic!("{error}")
                    }
                    Err(_) => continue 'again,
                }
            }
            return last;
        }
    }

    /// The process id of the postmaster.
    fn postmaster(&self) -> String {
        let file = std::fs::read_to_string(self.config.data_dir.join("postgres/postmaster.pid")).unwrap();
        file.lines().next().unwrap().to_owned()
    }

    /// The process id of the backend that waits at the step.
    async fn waiting(&self) -> String {
        loop {
            let sql = "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            if let Some(pid) = self.sql(&[sql]).await.pop() {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Kills a process of Postgres. A killed process may stay visible for a moment.
fn kill(pid: &str) {
    Command::new("kill").args(["-KILL", pid]).stderr(std::process::Stdio::null()).status().unwrap();
}

async fn check(killed: Killed, steps: &[(&str, &str)]) {
    let mut victim = Victim::start().await;
    let mut day: jiff::civil::Date = "2026-11-22".parse().unwrap();
    for (step, place) in steps {
        let postmaster = victim.postmaster();
        let answer = post_to(victim.app.address(), "/events", &ten_pods(4).into()).await;
        assert_eq!(answer.status, 200, "{step}: {}", answer.body);
        let kind = if place.contains("DEFERRABLE") { "CONSTRAINT TRIGGER" } else { "TRIGGER" };
        victim
            .sql(&[
                "CREATE OR REPLACE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep(300); RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$",
                &format!("CREATE {kind} wait {place} EXECUTE FUNCTION public.wait()"),
            ])
            .await;
        let tomorrow = day.tomorrow().unwrap();
        victim.clock.set(format!("{tomorrow}T08:00:00Z").parse().unwrap());
        let pid = {
            let run = victim.app.run_jobs();
            tokio::pin!(run);
            let mut stopped = None;
            loop {
                tokio::select! {
                    done = &mut run => {
                        assert!(stopped.is_some() && done.is_err(), "{step}: {stopped:?}, {done:?}");
                        break;
                    }
                    pid = victim.waiting() => stopped = Some(pid),
                }
                // Every window that is over: one that cannot be closed does not delay the others.
                match killed {
                    Killed::Service => break,
                    Killed::Backend => kill(stopped.as_deref().unwrap_or_default()),
                    Killed::Postmaster => kill(&victim.postmaster()),
                }
            }
            stopped.unwrap()
        };
        if killed == Killed::Service {
            victim.app.shutdown().await;
            let (config, clock) = (victim.config.clone(), victim.clock.clone());
            victim.app = App::start(config, clock, Schedule::OnCall).await.unwrap();
        }
        let table = place.split(" ON ").nth(1).unwrap().split(' ').next().unwrap();
        // The backend of a service that went away may still be waiting.
        let _ = Command::new("kill").args(["-TERM", &pid]).stderr(std::process::Stdio::null()).status();
        victim.sql(&[&format!("DROP TRIGGER wait ON {table}")]).await;

        let mut runs = 0;
        while let Err(error) = victim.app.run_jobs().await {
            runs += 1;
            assert!(runs < 100, "{step}: {error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let releases = victim
            .app
            .database()
            .database
            .releases(&[Window::of_day(WindowKind::Day, day)], &ingest_api::release::Family::ALL)
            .await
            .unwrap();
        assert_eq!(releases.len(), 1, "{step}: one release");
        let total =
            releases[0].blocks().iter().find(|block| block.family.as_str() == "installations").unwrap();
        assert_eq!((releases[0].blocks().len(), total.published), (7, 40), "{step}: whole");
        let row = format!("SELECT kind FROM intake.open_window WHERE kind = 'day' AND starts_on = '{day}'");
        assert_eq!(victim.sql(&[&row]).await, [""; 0], "{step}: no window");
        let tables = victim
            .sql(&["SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'intake' AND c.relkind = 'r' AND c.relname ~ '^(new|gone)'"])
            .await;
        assert_eq!(tables, [""; 0], "{step}: no rows");
        let open =
            victim.sql(&["SELECT count(*)::text FROM intake.open_window"]).await[0].parse::<usize>().unwrap();
        let tables = victim
            .sql(&["SELECT count(*)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'intake' AND c.relname ~ '^w[0-9]+_merged$'"])
            .await;
        assert_eq!(tables[0].parse::<usize>().unwrap(), open, "{step}: tables of open windows only");
        assert!(!victim.config.key_dir.join(format!("day-{day}.key")).exists(), "{step}: no key");
        let started_again = killed != Killed::Backend;
        assert_eq!(
            victim.postmaster() != postmaster,
            started_again,
            "{step}: whether Postgres was started again"
        );
        day = tomorrow;
    }
    victim.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_whose_backend_is_killed_at_any_step_is_finished() {
    check(Killed::Backend, &STEPS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_whose_postmaster_is_killed_at_any_step_is_finished() {
    check(Killed::Postmaster, &STEPS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_whose_service_goes_away_at_any_step_is_finished() {
    check(Killed::Service, &STEPS).await;
}
