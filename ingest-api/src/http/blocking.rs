//! Work that takes a millisecond or more → threads on which no request waits.

use super::problem::Error;

/// Runs `work` on a thread for blocking work.
///
/// # Errors
/// If the service stopped meanwhile.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::Fault("the service stopped before the answer was ready".to_owned())),
    })
}
