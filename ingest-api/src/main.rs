//! The program: see `ingest-api --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ingest_api::commands::main()
}
