//! The images and the compose files, started as an operator starts them.
//!
//! Each test starts real containers, under names of its own, and removes them. At the end it prints what each took, how
//! large the images are, and how much memory each service needed.
//!
//! The images take long to build, so they run only if asked for: with `COMPOSE_TESTS=1`, as `tests/run` does, wherever a
//! Docker Engine answers; with `COMPOSE_TESTS=required`, as `.ci/run` does, it is a failure if none does. Else they are
//! reported as ignored.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod database;
mod day_two;
mod disk;
mod docker;
mod files;
mod fleet;
mod guide;
mod images;
mod load;
mod outage;
mod pod;
mod proxy;
mod reach;
mod systemd;
mod vendor;
mod watch;
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
    images::the_images_are_small_and_hold_no_shell_and_no_root,
    files::a_proxy_beside_a_pod_does_not_start_before_the_operator_has_answered,
    files::the_web_server_of_a_pod_hands_on_what_the_guide_says,
    files::the_rules_of_prometheus_fire_when_they_should,
    files::the_files_begin_with_the_warning,
    images::the_files_name_the_public_images_that_are_tested,
    images::buildkit_builds_the_same_images,
    systemd::systemd_runs_both_units_as_hardened_as_they_are_and_stops_them_in_time,
    whole::the_file_alone_brings_up_every_service_healthy,
    whole::nothing_is_shared_until_the_operator_has_answered,
    fleet::a_fleet_with_different_policies_gives_the_insights_that_it_must,
    whole::what_the_operator_answered_is_in_force_and_the_log_says_so,
    reach::nothing_listens_beyond_what_the_file_publishes,
    reach::each_service_reaches_what_it_must_and_nothing_else,
    outage::a_postgres_that_is_stopped_and_started_under_load_loses_no_event,
    outage::a_proxy_cut_off_from_its_network_sends_all_that_it_acknowledged_when_it_is_back,
    watch::prometheus_sees_every_target_and_an_alert_fires_when_one_is_gone,
    outage::each_service_is_gone_within_ten_seconds_and_what_it_acknowledged_is_kept,
    watch::no_canary_is_in_the_log_of_any_container,
    vendor::a_database_of_the_first_version_is_upgraded_and_its_windows_go_on,
    vendor::the_services_of_the_vendor_are_confined_and_watched_and_publish_two_ports,
    vendor::instances_are_replaced_one_at_a_time_and_no_event_is_lost,
    vendor::an_instance_starts_again_on_a_newer_schema_unless_that_is_breaking,
    pod::a_proxy_beside_a_pod_becomes_healthy_and_hands_on_what_its_file_allows,
    pod::a_proxy_asks_a_pod_server_on_the_bridge_but_none_on_loopback,
    pod::a_proxy_asks_a_pod_server_in_a_network_that_it_shares,
    pod::a_proxy_in_the_network_of_the_machine_asks_a_pod_server_on_loopback,
    day_two::tokens_are_rotated,
    day_two::a_backup_holds_no_open_window_and_is_restored_into_a_new_system,
    day_two::the_database_is_moved_in_the_middle_of_its_windows,
    day_two::passwords_that_are_lost_are_drawn_anew,
    day_two::a_close_that_fails_is_told_and_its_recipe_ends_it,
    day_two::a_window_whose_key_is_lost_is_closed_with_what_it_holds,
    disk::the_commands_of_the_guide_give_an_insight,
    disk::while_the_disk_of_the_database_is_full_reports_are_refused_and_none_is_lost,
    disk::while_the_disk_of_a_proxy_is_full_apps_are_told_and_what_it_acknowledged_is_kept,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share containers, and a machine.
    arguments.test_threads = Some(1);
    let ignored = if arguments.list { None } else { why_not() };
    let trials =
        TESTS.iter().map(|(name, test)| timed(name, ignored.or_else(|| cannot(name)), *test)).collect();
    let conclusion = run(&arguments, trials);
    report();
    conclusion.exit_code()
}

/// Why the tests are not run, if they are not.
fn why_not() -> Option<&'static str> {
    #[expect(clippy::disallowed_methods, reason = "the environment is how tests are chosen")]
    let wanted = std::env::var("COMPOSE_TESTS").unwrap_or_default();
    match wanted.as_str() {
        "required" => None,
        "1" => docker::missing(),
        _ => Some("not asked for by COMPOSE_TESTS=1"),
    }
}

/// Why a test cannot be run here, where the others can.
fn cannot(name: &str) -> Option<&'static str> {
    match name {
        "buildkit_builds_the_same_images" if images::buildkit().is_none() => {
            Some("neither the plugin buildx nor a Docker client older than 23 is installed")
        }
        "systemd_runs_both_units_as_hardened_as_they_are_and_stops_them_in_time" => systemd::missing(),
        _ => None,
    }
}

/// How long each test took.
static TIMES: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

fn timed(name: &'static str, ignored: Option<&'static str>, test: fn() -> anyhow::Result<()>) -> Trial {
    let named = ignored.map_or_else(|| name.to_owned(), |reason| format!("{name}: {reason}"));
    let run = move || {
        let start = Instant::now();
        let outcome =
            docker::missing().map_or_else(|| on_one_day(test), |missing| Err(anyhow::anyhow!(missing)));
        let outcome = outcome.map_err(|error: anyhow::Error| format!("{error:#}").into());
        TIMES.lock().unwrap().push((name, start.elapsed()));
        outcome
    };
    Trial::test(named, run).with_ignored_flag(ignored.is_some())
}

/// Waits until midnight (UTC) has passed, if a test would have it in its middle, and the windows that end then are closed.
#[expect(clippy::print_stdout, reason = "the log of the tests")]
fn wait_out_midnight() {
    let is_near = || {
        let now = SystemClock.now().to_zoned(TimeZone::UTC);
        let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
        !(4..24 * 60 - 2).contains(&minute)
    };
    if is_near() {
        println!("compose: waiting until midnight has passed");
    }
    while is_near() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Runs a test. At midnight (UTC) windows end under it, which may be why it failed; then it is tried again on containers of
/// the new day.
#[expect(clippy::print_stdout, reason = "the log of the tests")]
fn on_one_day(test: fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    wait_out_midnight();
    let day = today();
    let outcome = test();
    match outcome {
        Err(error) if today() != day => {
            println!("compose: midnight has passed, once more: {error:#}");
            whole::remove();
            vendor::remove();
            disk::remove();
            test()
        }
        outcome => outcome,
    }
}

/// Prints what it cost, and removes everything.
#[expect(clippy::print_stdout, reason = "the log of the tests")]
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
    disk::remove();
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
