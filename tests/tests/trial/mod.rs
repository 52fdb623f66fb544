//! A test that some machines cannot run → one that is reported there as ignored, by name and with the reason.
//!
//! The test harness of the language can ignore a test only when it is compiled; whether a machine has systemd or
//! Prosody shows when it is run.

use libtest_mimic::Trial;

/// The test `name`. `missing` is what keeps it from being run here, if anything does.
pub(crate) fn trial(name: &str, missing: Option<&str>, test: fn() -> anyhow::Result<()>) -> Trial {
    let named = missing.map_or_else(|| name.to_owned(), |missing| format!("{name}: {missing}"));
    Trial::test(named, move || test().map_err(|error| format!("{error:#}").into()))
        .with_ignored_flag(missing.is_some())
}

/// Whether there is a program with that name.
pub(crate) fn has(program: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| std::path::Path::new(folder).join(program).is_file())
}
