//! The images and the compose files, started as an operator starts them.
//!
//! Each test starts real containers, under names of its own, and removes them. At the end it prints what each took, how
//! large the images are, and how much memory each service needed.
//!
//! They run if `COMPOSE_TESTS=1`, since the images take long to build; then it is a failure that there is no Docker Engine.
//! Else they are reported as ignored.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod docker;
mod files;
mod guide;
mod images;
mod load;
mod vendor;
mod whole;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use libtest_mimic::{Arguments, Trial, run};
use shared::clock::{Clock, SystemClock};

/// A test by its name.
type Test = (&'static str, fn() -> anyhow::Result<()>);

/// Tests of the same file run on the same containers, in this order.
macro_rules! tests {
    ($($room:ident::$name:ident),* $(,)?) => { [$((stringify!($name), $room::$name as fn() -> anyhow::Result<()>)),*] };
}

const TESTS: &[Test] = &tests![
    files::a_proxy_beside_a_pod_does_not_start_before_the_operator_has_answered,
    files::the_web_server_of_a_pod_hands_on_what_the_guide_says,
    files::the_rules_of_prometheus_fire_when_they_should,
    files::the_files_begin_with_the_warning,
    images::the_files_name_the_public_images_that_are_tested,
    images::the_images_are_small_and_hold_no_shell_and_no_root,
    whole::the_file_alone_brings_up_every_service_healthy,
    whole::nothing_is_shared_until_the_operator_has_answered,
    whole::a_fleet_with_different_policies_gives_the_insights_that_it_must,
    whole::what_the_operator_answered_is_in_force_and_the_log_says_so,
    whole::nothing_listens_beyond_what_the_file_publishes,
    whole::each_service_reaches_what_it_must_and_nothing_else,
    whole::a_postgres_that_is_stopped_and_started_under_load_loses_no_event,
    whole::prometheus_sees_every_target_and_an_alert_fires_when_one_is_gone,
    whole::each_service_is_gone_within_ten_seconds_and_what_it_acknowledged_is_kept,
    whole::the_commands_of_the_guide_give_an_insight,
    whole::no_canary_is_in_the_log_of_any_container,
    vendor::instances_are_replaced_one_at_a_time_and_no_event_is_lost,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share containers, and a machine.
    arguments.test_threads = Some(1);
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so by the environment")]
    let wanted = std::env::var("COMPOSE_TESTS").is_ok_and(|wanted| wanted == "1");
    let ignored = (!wanted && !arguments.list).then_some("not asked for by COMPOSE_TESTS=1");
    let trials = TESTS.iter().map(|(name, test)| timed(name, ignored, *test)).collect();
    let conclusion = run(&arguments, trials);
    report();
    conclusion.exit_code()
}

/// How long each test took.
static TIMES: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

fn timed(name: &'static str, ignored: Option<&'static str>, test: fn() -> anyhow::Result<()>) -> Trial {
    let named = ignored.map_or_else(|| name.to_owned(), |reason| format!("{name}: {reason}"));
    let run = move || {
        let start = Instant::now();
        let outcome = docker::missing().map_or_else(test, |missing| Err(anyhow::anyhow!(missing)));
        let outcome = outcome.map_err(|error: anyhow::Error| format!("{error:#}").into());
        TIMES.lock().unwrap().push((name, start.elapsed()));
        outcome
    };
    Trial::test(named, run).with_ignored_flag(ignored.is_some())
}

/// Prints what it cost, and removes everything.
#[expect(clippy::print_stdout, reason = "for whoever reads the log of the tests")]
fn report() {
    let times = std::mem::take(&mut *TIMES.lock().unwrap());
    if times.is_empty() {
        return;
    }
    for (name, time) in times {
        println!("compose: {:>4} s  {name}", time.as_secs());
    }
    if !images::were_built() {
        return;
    }
    for (image, bytes) in images::sizes().unwrap_or_default() {
        println!("compose: {:>6.1} MB  image {image}", bytes as f64 / 1e6);
    }
    for (file, memory) in [("compose.yaml", whole::remove()), ("vendor/compose.yaml", vendor::remove())] {
        for (service, mib) in memory {
            println!("compose: {mib:>6.1} MiB resident after the tests  {service} of {file}");
        }
    }
    images::remove();
}

/// The UTC day that it is.
fn today() -> Date {
    SystemClock.now().to_zoned(TimeZone::UTC).date()
}

/// Waits here until something is done that is asynchronous.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}
