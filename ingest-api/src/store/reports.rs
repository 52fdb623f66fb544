//! The two tables of each open window, one row a reporter: written by merges, counted when the window is closed. Merges fill them
//! up to full hundreds, with rows whose subjects are negative.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::copy::copy_out;
use super::open_windows::StoredWindow;
use super::{Database, StoreError};
use crate::intake::code;
use crate::release::{Population, Said, Tally, UNDECLARED, allowance};

impl Database {
    /// How many installations and Pods a window holds, as of its last merge. For operation and tests: no release is made from it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn merged_reporters(&self, window: &StoredWindow) -> Result<(i64, i64), StoreError> {
        let prefix = prefix(window);
        let count = format!(
            "SELECT (SELECT count(*) FROM {prefix}_installation WHERE subject >= 0) AS installations,
                    (SELECT count(*) FROM {prefix}_pod WHERE subject >= 0) AS pods"
        );
        let row = sqlx::query(AssertSqlSafe(count)).fetch_one(&self.release).await?;
        Ok((row.try_get("installations")?, row.try_get("pods")?))
    }
}

/// The reporters of a window, counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// Each population and unit that there is.
    pub(super) tallies: Vec<(Population, Tally)>,
    /// How many Pods have more installations than their [`allowance`]; those beyond it are in no tally. Which ones is left
    /// to the order in which their rows lie: that of their subjects, which are random.
    pub(super) capped: usize,
}

/// Counts the reporters of a window that is being closed, whose rows are merged.
///
/// # Errors
/// If the database fails.
pub(super) async fn count(
    connection: &mut PgConnection,
    window: &StoredWindow,
) -> Result<Counted, StoreError> {
    let prefix = prefix(window);
    let mut pods = Tally::of_pods();
    let mut allowances = HashMap::new();
    let sql = format!("SELECT subject, version, size FROM {prefix}_pod WHERE subject >= 0");
    copy_out(connection, &sql, |[subject, version, size]| {
        let pod = i64::from_be_bytes(subject.try_into().ok()?);
        let version = code::to_version(i64::from_be_bytes(version.try_into().ok()?));
        let size = code::to_size(i32::from_be_bytes(size.try_into().ok()?));
        let said = pods.said_by_pod(version, size);
        pods.add(pod, said);
        allowances.insert(pod, allowance(size));
        Some(())
    })
    .await?;

    let mut populations = Population::ALL.map(Installations::of);
    let sql = format!(
        "SELECT pod, app_version, platform, language, proxied FROM {prefix}_installation WHERE subject >= 0"
    );
    copy_out(connection, &sql, |[pod, app_version, platform, language, proxied]| {
        let pod = i64::from_be_bytes(pod.try_into().ok()?);
        let said = (
            i64::from_be_bytes(app_version.try_into().ok()?),
            i16::from_be_bytes(platform.try_into().ok()?),
            i32::from_be_bytes(language.try_into().ok()?),
        );
        let proxied = proxied == [1];
        let allowed = allowances.get(&pod).filter(|_| proxied).copied().unwrap_or(UNDECLARED);
        for installations in &mut populations {
            if proxied == (installations.population == Population::Pod) {
                installations.add(pod, said, allowed);
            }
        }
        Some(())
    })
    .await?;
    let capped = populations.iter().map(|installations| installations.capped).sum();
    let tallies =
        populations.into_iter().map(|installations| (installations.population, installations.tally));
    Ok(Counted { tallies: std::iter::once((Population::Pod, pods)).chain(tallies).collect(), capped })
}

/// The installations of one population, while they are counted.
struct Installations {
    population: Population,
    tally: Tally,
    /// What was said, by its codes.
    said: HashMap<(i64, i16, i32), Said>,
    /// How many each Pod has.
    of_pods: HashMap<i64, u64>,
    capped: usize,
}

impl Installations {
    fn of(population: Population) -> Self {
        let (said, of_pods) = Default::default();
        Self { population, tally: Tally::of_installations(), said, of_pods, capped: 0 }
    }

    /// Counts one, unless its Pod has as many as it is allowed.
    fn add(&mut self, pod: i64, codes @ (app_version, platform, language): (i64, i16, i32), allowed: u64) {
        let of_pod = self.of_pods.entry(pod).or_default();
        *of_pod += 1;
        if *of_pod > allowed {
            self.capped += usize::from(*of_pod == allowed + 1);
            return;
        }
        let said = *self.said.entry(codes).or_insert_with(|| {
            let values =
                (code::to_app_version(app_version), code::to_platform(platform), code::to_language(language));
            self.tally.said_by_installation(values)
        });
        self.tally.add(pod, said);
    }
}

fn prefix(window: &StoredWindow) -> String {
    format!("intake.w{}", window.id)
}
