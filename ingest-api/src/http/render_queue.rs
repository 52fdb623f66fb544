//! Answers and pages → rendered one at a time, which leaves the other cores to reports, and for few strangers
//! at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::blocking::aside;
use super::problem::Error;
use crate::metrics::Metrics;

/// How many visitors without a token may wait at a time. A year of days takes a tenth of a second to render
/// as JSON, and the limits count requests only.
const MAX_STRANGERS: usize = 4;

/// How long anybody waits: as long as a hundred such answers take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct RenderQueue {
    turn: Arc<Semaphore>,
    strangers: Semaphore,
    metrics: Arc<Metrics>,
}

impl RenderQueue {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), strangers: Semaphore::new(MAX_STRANGERS), metrics }
    }

    /// Renders something [`aside`], when it is its turn.
    ///
    /// # Errors
    /// [`Error::Busy`] if too many strangers wait already, or after too long a wait.
    pub(super) async fn render<T: Send + 'static>(
        &self,
        is_stranger: bool,
        render: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _waits = match is_stranger {
            true => Some(self.strangers.try_acquire().map_err(|_| self.busy())?),
            false => None,
        };
        let turn = Arc::clone(&self.turn).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await.map_err(|_| self.busy())?;
        aside(move || {
            // Kept until the end, even if the reader has gone away.
            let _turn = turn;
            render()
        })
        .await
    }

    fn busy(&self) -> Error {
        self.metrics.reader_turned_away();
        Error::Busy
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn few_strangers_wait_and_whoever_has_a_token_is_not_turned_away() {
        let metrics = Arc::new(Metrics::new());
        let queue = RenderQueue::new(Arc::clone(&metrics));
        let (go_on, waits) = mpsc::channel::<()>();
        let first = queue.render(false, move || waits.recv());
        let strangers = join_all((0..10).map(|n| queue.render(true, move || n)));
        let readers = join_all((0..10).map(|n| queue.render(false, move || n)));
        let end = async {
            tokio::task::yield_now().await;
            go_on.send(())
        };
        let (_, strangers, readers, _) = tokio::join!(first, strangers, readers, end);
        let (rendered, busy): (Vec<_>, Vec<_>) = strangers.into_iter().partition(Result::is_ok);
        assert_eq!((rendered.len(), busy.len()), (MAX_STRANGERS, 10 - MAX_STRANGERS));
        assert!(busy.iter().all(|one| matches!(one, Err(Error::Busy))), "{busy:?}");
        assert!(readers.iter().all(Result::is_ok), "{readers:?}");
        let counted = format!("ingest_readers_turned_away_total {}\n", 10 - MAX_STRANGERS);
        assert!(metrics.render().contains(&counted), "{}", metrics.render());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let queue = RenderQueue::new(Arc::new(Metrics::new()));
        let turn = Arc::clone(&queue.turn).acquire_owned().await;
        assert!(matches!(queue.render(false, || ()).await, Err(Error::Busy)));
        drop(turn);
        assert!(queue.render(false, || ()).await.is_ok());
    }
}
