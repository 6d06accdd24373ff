//! Parallel loops on so many threads.

use crate::error::Error;

/// Runs `work` where parallel loops take so many threads.
///
/// # Errors
/// If the system gives no threads.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    let pool = pool.map_err(|error| Error::Refused(format!("{threads} threads: {error}")))?;
    Ok(pool.install(work))
}
