//! A test that some machines cannot run → reported there as ignored, by name and with the reason.
//!
//! Rust's test harness can ignore a test only at compile time. Whether a machine has systemd or Prosody is
//! known only when the test runs.

use libtest_mimic::Trial;

/// The test `name`. `missing` names what this machine lacks to run it, if anything.
pub(crate) fn trial(name: &str, missing: Option<&str>, test: fn() -> anyhow::Result<()>) -> Trial {
    let named = missing.map_or_else(|| name.to_owned(), |missing| format!("{name}: {missing}"));
    Trial::test(named, move || test().map_err(|error| format!("{error:#}").into()))
        .with_ignored_flag(missing.is_some())
}

/// Whether a program of that name is installed.
pub(crate) fn has(program: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| std::path::Path::new(folder).join(program).is_file())
}
