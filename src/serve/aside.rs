//! Work that takes long, beside the thread that serves all connections.

use super::problem::Problem;

/// Does it on a thread called `http-work`, and goes on where the client goes away meanwhile.
///
/// # Errors
/// When it panics.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::failed("this is a bug, please report it"))
}
