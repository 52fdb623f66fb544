//! A turn at a window: one transaction, in which this instance reads a window's bytes and writes what was
//! made from them.
//!
//! This room does not interpret the bytes. It hands them to its callers, who hand back others.

use sqlx::{Connection, Postgres, Transaction};

use super::merged::Order;
use super::open_windows::StoredWindow;
use super::{Database, StoreError, aside};
use crate::window::record::NotRecords;

/// This instance's turn at one window. Without a commit, nothing changes.
#[derive(Debug)]
pub struct Turn<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    pub(super) window: StoredWindow,
    pub(super) order: Order,
}

impl Database {
    /// Does the work of a turn `aside`. Repeats it with sorted packs if they are not in the order in which
    /// they were written.
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
                // The connection may be in the middle of a result.
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
