//! A turn at a window: one transaction, in which this instance reads a window's bytes and writes what was made of them.
//!
//! What is in the bytes is not this room's affair: callers are handed them and hand back others.

use sqlx::{Connection, Postgres, Transaction};

use super::merged::Order;
use super::open_windows::StoredWindow;
use super::{Database, StoreError, aside};
use crate::window::record::NotRecords;

/// The turn of this instance at one window. Nothing happens unless it is committed.
#[derive(Debug)]
pub struct Turn<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    pub(super) window: StoredWindow,
    pub(super) order: Order,
}

impl Database {
    /// Does the work of a turn [aside], and once more with the packs in another order if they do not lie as they were
    /// written.
    ///
    /// # Errors
    /// If the database fails, or the work does.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        window: &StoredWindow,
        work: impl AsyncFn(Turn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (release, window) = (self.release.clone(), *window);
        let attempt = async move |order| {
            let mut connection = release.acquire().await?;
            let done = work(Turn { transaction: connection.begin().await?, window, order }).await;
            if done.is_err() {
                // It may be in the middle of an answer.
                drop(connection.detach());
            }
            done
        };
        aside(async move || match attempt(Order::AsTheyLie).await {
            Err(StoreError::NotRecords(NotRecords::Damaged)) => attempt(Order::OfRecords).await,
            done => done,
        })
        .await
    }
}
