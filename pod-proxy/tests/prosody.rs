//! The number of accounts as a real Prosody tells it.

#![allow(clippy::unwrap_used, reason = "in a test, to fail is to tell")]

mod stand_in;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use stand_in::*;

/// A Prosody with a folder of its own, killed when the test ends.
struct Prosody {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Prosody {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `program`, as Prosody's own user if we are root: it refuses to run as root.
fn unprivileged(program: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=prosody", "--regid=prosody", "--clear-groups", program]);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

impl Prosody {
    fn start(users: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let config = format!(
            "pidfile = '{path}/pid'\ndata_path = '{path}'\nadmin_socket = '{path}/socket'\n\
             c2s_ports = {{}}\ns2s_ports = {{}}\nmodules_enabled = {{ 'admin_shell' }}\n\
             modules_disabled = {{ 's2s', 'c2s', 'posix' }}\nauthentication = 'internal_hashed'\n\
             storage = 'internal'\nlog = '*console'\nVirtualHost 'example.org'\n"
        );
        std::fs::write(folder.path().join("prosody.cfg.lua"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").args(["-R", "prosody:prosody"]).arg(folder.path()));
        }
        let config = folder.path().join("prosody.cfg.lua");
        for user in users {
            let mut register = unprivileged("prosodyctl");
            register.arg("--config").arg(&config).args(["register", user, "example.org", "secret"]);
            run(&mut register);
        }
        let child = unprivileged("prosody")
            .args(["-F", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("prosody.cfg.lua")
    }
}

/// The command of the README, for another configuration than the usual one.
fn count_command(config: &Path) -> String {
    format!(
        "accounts.command = ['sh', '-c', \"prosodyctl --config {} shell user list example.org | grep -c '@example.org'\"]\n\
         accounts.lifetime = 'PT1S'",
        config.display()
    )
}

#[tokio::test]
#[ignore = "needs Debian's prosody; run it with `cargo test -p pod-proxy --test prosody -- --ignored`"]
async fn the_number_of_accounts_comes_from_a_real_prosody() {
    let prosody = Prosody::start(&["ada", "bob", "eve", "dan", "kim", "lea"]);
    let socket = prosody.folder.path().join("socket");
    until("Prosody to listen", async || socket.exists()).await;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = count_command(&prosody.config());
    let app = proxy(&toml(&vendor.url, folder.path(), "min_cohort_size = 6", &settings)).await;
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    assert_eq!(app.flush().await.sent, 1, "{}", app.metrics().render());
    assert_eq!(vendor.events()[0]["origin"]["pod"]["user_count_range"], "5–9");

    // Without Prosody the number is not known, and nothing is sent.
    assert_eq!(post(&app, SAMPLE).await.status, 204);
    drop(prosody);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(app.flush().await.sent, 0);
}
