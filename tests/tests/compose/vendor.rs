//! `deploy/vendor/compose.yaml`: two instances behind a load balancer, and what an operator does with them later.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

use crate::docker::Project;
use crate::load::{Load, event};
use crate::whole::counted;
use crate::{block_on, images, today};

const INSTANCES: [&str; 2] = ["ingest-api-1", "ingest-api-2"];
const FILE: &str = "vendor/compose.yaml";

static VENDOR: Mutex<Option<Result<Project, String>>> = Mutex::new(None);

/// Does something with the vendor's side, which is started if it was not.
fn with<T>(test: impl FnOnce(&Project) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut vendor = VENDOR.lock().unwrap_or_else(PoisonError::into_inner);
    let start = || {
        let project = Project::new("vendor", FILE, &images::tag()?);
        project.up(&[])?;
        anyhow::Ok(project)
    };
    let vendor = vendor.get_or_insert_with(|| start().map_err(|error| format!("{error:#}")));
    test(vendor.as_ref().map_err(|error| anyhow::anyhow!("the vendor's side did not start: {error}"))?)
}

/// Removes it, if it was started; what its services needed is returned, the service and its MiB.
pub(crate) fn remove() -> Vec<(String, f64)> {
    let vendor = VENDOR.lock().unwrap_or_else(PoisonError::into_inner).take();
    vendor.and_then(Result::ok).and_then(|project| project.resident_memory().ok()).unwrap_or_default()
}

pub(crate) fn instances_are_replaced_one_at_a_time_and_no_event_is_lost() -> anyhow::Result<()> {
    with(|project| {
        let base = project.url("load-balancer", 8280)?;
        let before = counted(project)?;
        let today = today().to_string();
        let close = |instance| project.exec(instance, &["ingest-api", "windows", "close", "month", &today]);
        let sent = block_on(async {
            let load = Load::start(&base, 0)?;
            load.wait_for(200).await?;
            for (replaced, instance) in INSTANCES.into_iter().enumerate() {
                let old = project.container(instance)?;
                project.compose(&[
                    "up",
                    "--detach",
                    "--no-build",
                    "--no-deps",
                    "--force-recreate",
                    instance,
                ])?;
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
        let counted = counted(project)? - before;
        ensure!(counted == sent.events, "{counted} of {} are counted", sent.events);
        let closed = project.sql("SELECT string_agg(kind, ' ') FROM release.closed_window")?;
        ensure!(closed == "month", "{closed}");
        let user_hash = event(0)["origin"]["pod"]["user_hash"].as_str().context("a hash")?.to_owned();
        for service in ["ingest-api-1", "ingest-api-2", "load-balancer", "postgres"] {
            ensure!(!project.log(service)?.contains(&user_hash), "a pseudonym is in the log of {service}");
        }
        Ok(())
    })
}
