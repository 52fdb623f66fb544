//! Whether the service can do its work, asked at most once a second.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::keys::KeyDirectory;
use crate::open_windows::OpenWindows;
use crate::store::Database;

/// How long a result is reused: a check costs some queries, and anybody may ask.
const REUSED_FOR: Duration = Duration::from_secs(1);

/// When the last check ran, and what was wrong.
type Checked = (Timestamp, Result<(), String>);

/// The last result. Requests that arrive during a check wait for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<Option<Checked>>>);

impl Readiness {
    /// Checks that the database answers and that the keys of the open windows are here.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) async fn check(
        &self,
        keys: &KeyDirectory,
        database: &Database,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut last = self.0.lock().await;
        let is_recent =
            |then: Timestamp| Duration::try_from(now.duration_since(then)).is_ok_and(|age| age < REUSED_FOR);
        let checked = match last.take() {
            Some((then, result)) if is_recent(then) => (then, result),
            _ => {
                let result = OpenWindows::check(keys, database, now).await;
                (now, result.map_err(|error| error.to_string()))
            }
        };
        last.insert(checked).1.clone()
    }
}
