//! The system together with programs of this machine: browser, nginx, Prosody, schemathesis, systemd. What a machine does
//! not have is reported as ignored, by name and with the reason.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod browser;
mod openapi;
mod prosody;
mod tls;
mod trial;
mod units;

use std::process::ExitCode;

use libtest_mimic::{Arguments, run};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Some have a browser and a Postgres of their own.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    if !arguments.list {
        prosody::install();
    }
    let rooms = [browser::trials(), openapi::trials(), prosody::trials(), tls::trials(), units::trials()];
    let trials = rooms.into_iter().flatten().collect();
    run(&arguments, trials).exit_code()
}
