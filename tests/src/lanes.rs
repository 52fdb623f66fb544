//! Many small tasks → a few at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// Runs `work` for each of `items`, `lanes` of them at a time.
///
/// # Errors
/// The first error. Tasks that have begun may still finish.
pub async fn spread<T, W, F>(lanes: usize, items: Vec<T>, work: W) -> anyhow::Result<()>
where
    T: Send + 'static,
    W: Fn(T) -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let items = Arc::new(Mutex::new(items.into_iter()));
    let next =
        |items: &Mutex<std::vec::IntoIter<T>>| items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut tasks = JoinSet::new();
    for _ in 0..lanes {
        let (items, work) = (Arc::clone(&items), work.clone());
        tasks.spawn(async move {
            while let Some(item) = next(&items) {
                work(item).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
