//! What readers ask for → made one after the other, so that another processor is left to reports; and not for too many strangers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Error, aside};
use crate::metrics::Metrics;

/// How many visitors without a token may wait at a time: a year of days as JSON takes a tenth of a second to make, and limits
/// count requests only.
const MAX_STRANGERS: usize = 4;

/// How long anybody waits for their turn: a hundred such answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place where answers and pages are made.
#[derive(Debug)]
pub(crate) struct Making {
    place: Arc<Semaphore>,
    strangers: Semaphore,
    metrics: Arc<Metrics>,
}

impl Making {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { place: Arc::new(Semaphore::new(1)), strangers: Semaphore::new(MAX_STRANGERS), metrics }
    }

    /// Makes something [`aside`], when it is its turn.
    ///
    /// # Errors
    /// [`Error::Busy`] for a stranger, if too many of them wait, and for anybody who has waited too long.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        is_stranger: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _waits = match is_stranger {
            true => Some(self.strangers.try_acquire().map_err(|_| self.busy())?),
            false => None,
        };
        // Held until it is made, also if nobody waits for it any more.
        let place = Arc::clone(&self.place).acquire_owned();
        let place = tokio::time::timeout(PATIENCE, place).await.map_err(|_| self.busy())?;
        let work = move || {
            let _place = place;
            work()
        };
        aside(work).await
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
        let making = Making::new(Arc::clone(&metrics));
        let (go_on, waits) = mpsc::channel::<()>();
        let first = making.make(false, move || waits.recv());
        let strangers = join_all((0..10).map(|n| making.make(true, move || n)));
        let readers = join_all((0..10).map(|n| making.make(false, move || n)));
        let end = async {
            tokio::task::yield_now().await;
            go_on.send(())
        };
        let (_, strangers, readers, _) = tokio::join!(first, strangers, readers, end);
        let (made, busy): (Vec<_>, Vec<_>) = strangers.into_iter().partition(Result::is_ok);
        assert_eq!((made.len(), busy.len()), (MAX_STRANGERS, 10 - MAX_STRANGERS));
        assert!(busy.iter().all(|one| matches!(one, Err(Error::Busy))), "{busy:?}");
        assert!(readers.iter().all(Result::is_ok), "{readers:?}");
        let counted = format!("ingest_readers_turned_away_total {}\n", 10 - MAX_STRANGERS);
        assert!(metrics.render().contains(&counted), "{}", metrics.render());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let making = Making::new(Arc::new(Metrics::new()));
        let place = Arc::clone(&making.place).acquire_owned().await;
        assert!(matches!(making.make(false, || ()).await, Err(Error::Busy)));
        drop(place);
        assert!(making.make(false, || ()).await.is_ok());
    }
}
