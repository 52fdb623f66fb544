//! `deploy/vendor/compose.yaml`: two instances behind a load balancer, over a database of the first version; and how
//! instances are replaced. What else an operator does with them is in `day_two.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use e2e::served::Reader;
use e2e::stack::{client, folder, post};
use serde_json::{Value, json};

use crate::docker::{Project, repository, run, until};
use crate::guide::Block;
use crate::load::{Load, event};
use crate::reach::{Listens, listen};
use crate::watch::{hasty, wait_until_up};
use crate::{block_on, images, today};

pub(crate) const INSTANCES: [&str; 2] = ["ingest-api-1", "ingest-api-2"];
pub(crate) const FILE: &str = "vendor/compose.yaml";
/// The token in `schema-0001.sql`.
pub(crate) const OLD_TOKEN: &str = "prose-reader-of-old";

/// The vendor's side, and a folder for what an operator keeps beside it.
pub(crate) struct Vendor {
    pub(crate) project: Project,
    pub(crate) folder: tempfile::TempDir,
}

static VENDOR: Mutex<Option<Result<Vendor, String>>> = Mutex::new(None);

/// Does something with the vendor's side, which is started if it was not.
pub(crate) fn with<T>(test: impl FnOnce(&Vendor) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut vendor = VENDOR.lock().unwrap_or_else(PoisonError::into_inner);
    let vendor = vendor.get_or_insert_with(|| Vendor::start().map_err(|error| format!("{error:#}")));
    test(vendor.as_ref().map_err(|error| anyhow::anyhow!("the vendor's side did not start: {error}"))?)
}

/// Removes it, if it was started; what its services needed is returned, the service and its MiB.
pub(crate) fn remove() -> Vec<(String, f64)> {
    let vendor = VENDOR.lock().unwrap_or_else(PoisonError::into_inner).take();
    vendor.and_then(Result::ok).and_then(|vendor| vendor.project.resident_memory().ok()).unwrap_or_default()
}

impl Vendor {
    /// Over a database of the first version, upgraded as the guide says.
    fn start() -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut project = Project::new("vendor", FILE, &images::tag()?);
        add_haste(&mut project, folder.path())?;
        project.up(&["postgres"])?;
        plant_database_of_schema_1(&project)?;
        // As if a migration since then were `breaking`; then by the way that replaces one instance after the other.
        let breaking = Block::after("### If the schema breaks", FILE)?;
        breaking.run(&project, folder.path())?;
        let upgrade = Block::after("## Upgrading", FILE)?.without("git pull")?;
        upgrade.run(&project, folder.path())?;
        project.up(&[])?;
        Ok(Self { project, folder })
    }
}

/// Lets the services look for something to do each second or two, and not each minute.
pub(crate) fn add_haste(project: &mut Project, folder: &std::path::Path) -> anyhow::Result<()> {
    let prometheus = hasty(&repository().join("deploy"), "vendor/prometheus.yml", folder)?;
    let instance = json!({ "environment": { "INGEST_API__CLOSE_INTERVAL": "PT2S" } });
    let of_prometheus = ["prometheus.yml", "alerts.yml"]
        .map(|name| format!("{}:/etc/prometheus/{name}:ro", prometheus.join(name).display()));
    let services = json!({
        "ingest-api-1": instance, "ingest-api-2": instance, "prometheus": { "volumes": of_prometheus },
    });
    let file = folder.join("haste.yaml");
    fs::write(&file, json!({ "services": services }).to_string())?;
    project.add_file(&file);
    Ok(())
}

/// Fills a database that is empty, and the key directory, as the version with the first migration alone did.
fn plant_database_of_schema_1(project: &Project) -> anyhow::Result<()> {
    let migration = repository().join("ingest-api/migrations/0001_schema.sql");
    let checksum = run(std::process::Command::new("sha384sum").arg(&migration))?;
    let checksum = checksum.split_whitespace().next().context("a checksum")?.to_owned();
    let month = today().first_of_month();
    let psql = ["psql", "-h", "/run/postgresql", "-U", "prose_ingest", "-d", "prose_ingest", "-q"];
    let variables = [format!("checksum={checksum}"), format!("month={month}")];
    for sql in [migration, repository().join("ingest-api/tests/api/schema-0001.sql")] {
        let mut psql = project.command(&[&["exec", "-T", "postgres"], &psql[..]].concat());
        psql.args(["-v", "ON_ERROR_STOP=1", "-v", &variables[0], "-v", &variables[1]]);
        let said = psql.stdin(fs::File::open(&sql)?).output()?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    let write =
        |name: &str, byte: &str| format!("printf '{}' >keys/{name}.key; ", format!("\\x{byte}").repeat(32));
    let keys = [write("day-2026-01-05", "01"), write(&format!("month-{month}"), "02")].concat();
    project
        .in_volume("keys", &format!("umask 077; mkdir keys; {keys} chown -R 10001:10001 .; chmod 0700 ."))?;
    Ok(())
}

/// What a Pod hands on of an installation, as in `schema-0001.sql`.
pub(crate) fn event_through_a_pod(number: usize) -> Value {
    json!({
        "name": "app:daily", "proxied": true,
        "origin": {
            "app": { "name": "prose-app-web", "version": "1.0.1", "platform": "macos-aarch64" },
            "pod": { "domain_hash": format!("{:016x}", 0x100 + number % 6), "user_hash": format!("{number:016x}") },
        },
    })
}

/// Where apps and readers reach the two.
pub(crate) fn base(project: &Project) -> anyhow::Result<String> {
    project.url("load-balancer", 8280)
}

fn event_url(base: &str) -> String {
    format!("{base}/_api/cloud/v1/analytics/event")
}

/// The start of a window, a label, and how many.
type Number = (String, String, u64);

/// The numbers of an insight in all windows of a kind that begin in `[from, to]`, by label.
pub(crate) fn insight(base: &str, token: &str, query: &str) -> anyhow::Result<Vec<Number>> {
    let reader = Reader::with_token(base, token)?;
    let answer: Value = serde_json::from_str(&block_on(reader.get(&format!("/v1/insights/{query}")))?)?;
    let mut found = Vec::new();
    for window in answer["windows"].as_array().context("windows")? {
        for block in window["blocks"].as_array().context("blocks")? {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found.push((
                text(&window["start"]),
                text(&block["label"]),
                block["count"].as_u64().context("a count")?,
            ));
        }
    }
    Ok(found)
}

pub(crate) fn a_database_of_the_first_version_is_upgraded_and_its_windows_go_on() -> anyhow::Result<()> {
    with(|Vendor { project, .. }| {
        let migrations = fs::read_dir(repository().join("ingest-api/migrations"))?.count();
        let applied = project.sql("SELECT count(*) FROM _sqlx_migrations WHERE success")?;
        ensure!(applied == migrations.to_string(), "{applied} of {migrations} are applied");

        // Releases are still answered to old tokens.
        let base = base(project)?;
        let old = insight(&base, OLD_TOKEN, "platforms?window=day&from=2026-01-02&to=2026-01-02")?;
        let released = |label: &str, count| ("2026-01-02".to_owned(), label.to_owned(), count);
        ensure!(old == [released("macos", 125), released("windows", 75)], "{old:?}");

        // The day that was over is released, with what it held, and its key is destroyed.
        until("the day that was over is released", || {
            Ok((project.sql("SELECT count(*) FROM release.closed_window WHERE starts_on = '2026-01-05'")?
                == "1")
                .then_some(()))
        })?;
        for (family, label) in
            [("platforms", "macos-aarch64"), ("languages", "de-CH"), ("app_versions", "prose-app-web 1.0.1")]
        {
            let query = format!("{family}?window=day&from=2026-01-05&to=2026-01-05");
            let found = insight(&base, OLD_TOKEN, &query)?;
            ensure!(found == [("2026-01-05".to_owned(), label.to_owned(), 30)], "{family}: {found:?}");
        }
        until("the key of the day is destroyed", || {
            let keys = project.in_volume("keys", "ls keys")?;
            ensure!(keys.contains("month-"), "{keys}");
            Ok((!keys.contains("day-2026-01-05")).then_some(()))
        })?;

        // Who has been counted in the month is known again, by the key of old; ten others are new.
        ensure!(project.counted_in("month")? == 30);
        let batch: Vec<_> = (0..40).map(event_through_a_pod).collect();
        block_on(post(&client()?, &format!("{}s", event_url(&base)), Value::from(batch).to_string()))?;
        let counted = project.counted_in("month")?;
        ensure!(counted == 40, "{counted} are counted in the month");
        Ok(())
    })
}

pub(crate) fn the_services_of_the_vendor_are_confined_and_watched_and_publish_two_ports() -> anyhow::Result<()>
{
    const LISTENS: [Listens; 5] = [
        ("postgres", &[5432], &[]),
        ("ingest-api-1", &[8280, 8281], &[]),
        ("ingest-api-2", &[8280, 8281], &[]),
        ("load-balancer", &[8280], &[8280]),
        ("prometheus", &[9090], &[9090]),
    ];
    with(|Vendor { project, .. }| {
        let services: BTreeSet<_> = project.containers()?.into_iter().map(|(service, _)| service).collect();
        let mut expected: BTreeSet<_> = LISTENS.iter().map(|(service, ..)| (*service).to_owned()).collect();
        expected.extend(["secrets", "migrate"].map(str::to_owned));
        ensure!(services == expected, "{services:?}");
        project.confined()?;
        listen(project, &LISTENS)?;
        wait_until_up(project, &["ingest-api-1:8281", "ingest-api-2:8281", "prometheus-front:9090"])
    })
}

pub(crate) fn an_instance_starts_again_on_a_newer_schema_unless_that_is_breaking() -> anyhow::Result<()> {
    let later = |name: &str| {
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, '{name}', true, '', 0)"
        )
    };
    let forget = "DELETE FROM _sqlx_migrations WHERE version = 9999";
    with(|Vendor { project, .. }| {
        // As it is when instances are replaced one at a time, and one of the version before is started once more.
        project.sql(&later("what this version does not know"))?;
        project.compose(&["restart", INSTANCES[0]])?;
        project.wait_until_healthy(INSTANCES[0])?;
        project.compose(&["run", "--rm", "--no-deps", "migrate"])?;
        project.sql(forget)?;

        project.sql(&later("breaking what this version does"))?;
        project.compose(&["restart", INSTANCES[0]])?;
        until("it does not start, and says why", || {
            Ok(project.log(INSTANCES[0])?.contains("install the newer version").then_some(()))
        })?;
        let refused = project.compose(&["run", "--rm", "--no-deps", "migrate"]);
        ensure!(refused.is_err_and(|error| format!("{error:#}").contains("install the newer version")));
        project.sql(forget)?;
        project.wait_until_healthy(INSTANCES[0])
    })
}

pub(crate) fn instances_are_replaced_one_at_a_time_and_no_event_is_lost() -> anyhow::Result<()> {
    const FIRST: usize = 100_000;
    with(|Vendor { project, .. }| {
        let base = base(project)?;
        // The first report opens the windows.
        block_on(post(&client()?, &event_url(&base), event(FIRST).to_string()))?;
        let before = project.counted()?;
        let today = today().to_string();
        let close = |instance| project.exec(instance, &["ingest-api", "windows", "close", "month", &today]);
        let sent = block_on(async {
            let load = Load::start(&base, FIRST + 1)?;
            load.wait_for(200).await?;
            for (replaced, instance) in INSTANCES.into_iter().enumerate() {
                let old = project.container(instance)?;
                let up = ["up", "--detach", "--no-build", "--no-deps", "--force-recreate", instance];
                project.compose(&up)?;
                project.wait_until_healthy(instance)?;
                ensure!(project.container(instance)? != old, "{instance} is the old one");
                load.wait_for(200).await?;
                if replaced == 0 {
                    // Both at once, the old one and the new one, while reports come in.
                    let closed = std::thread::scope(|scope| {
                        let threads = INSTANCES.map(|instance| scope.spawn(move || close(instance)));
                        threads.map(|thread| thread.join().expect("it does not panic"))
                    });
                    let released =
                        closed.iter().flatten().filter(|said| said.contains("Released month")).count();
                    ensure!(released == 1, "{closed:?}");
                }
            }
            load.finish().await
        })?;
        ensure!(
            sent.failures.is_empty(),
            "{} were turned away: {:?}",
            sent.failures.len(),
            sent.failures.first()
        );
        let counted = project.counted()? - before;
        ensure!(counted == sent.events, "{counted} of {} are counted", sent.events);
        let closed = project.sql("SELECT count(*) FROM release.closed_window WHERE kind = 'month'")?;
        ensure!(closed == "1", "{closed}");
        let user_hash = event(FIRST + 1)["origin"]["pod"]["user_hash"].as_str().context("a hash")?.to_owned();
        for service in ["ingest-api-1", "ingest-api-2", "load-balancer", "postgres"] {
            ensure!(!project.log(service)?.contains(&user_hash), "a pseudonym is in the log of {service}");
        }
        Ok(())
    })
}
