//! What readers ask for → made one after the other, so that another processor is left to reports; and not for too many strangers.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Error, aside};

/// How many visitors without a token may wait at a time: a year of days as JSON takes a tenth of a second to make, and limits
/// count requests only.
const MAX_STRANGERS: usize = 4;

/// The place where answers and pages are made.
#[derive(Debug)]
pub(crate) struct Making {
    place: Arc<Semaphore>,
    strangers: Semaphore,
}

impl Default for Making {
    fn default() -> Self {
        Self { place: Arc::new(Semaphore::new(1)), strangers: Semaphore::new(MAX_STRANGERS) }
    }
}

impl Making {
    /// Makes something [`aside`], when it is its turn.
    ///
    /// # Errors
    /// [`Error::Busy`] for a stranger, if too many of them wait.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        is_stranger: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let _waits = match is_stranger {
            true => Some(self.strangers.try_acquire().map_err(|_| Error::Busy)?),
            false => None,
        };
        // Held until it is made, also if nobody waits for it any more.
        let place = Arc::clone(&self.place).acquire_owned().await;
        let work = move || {
            let _place = place;
            work()
        };
        aside(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn few_strangers_wait_and_whoever_has_a_token_is_not_turned_away() {
        let making = Making::default();
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
    }
}
