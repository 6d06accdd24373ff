//! Scratch memory that tasks hand on to each other.

use std::sync::{Mutex, PoisonError};

/// Makes `values` so many, with room for no more than the longest that they ever were. What is in
/// them is left over from their last use.
pub(crate) fn fit(values: &mut Vec<f32>, length: usize) {
    values.reserve_exact(length.saturating_sub(values.len()));
    values.resize(length, 0.0);
}

/// Values that are made when all others are in use: never more than there are threads.
pub(crate) struct Pool<T> {
    idle: Mutex<Vec<T>>,
}

impl<T: Default> Pool<T> {
    pub(crate) fn new() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }

    /// Runs `task` with a value that nobody else has, left as the last task left it.
    pub(crate) fn with<R>(&self, task: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.lock().pop().unwrap_or_default();
        let result = task(&mut value);
        self.lock().push(value);
        result
    }

    /// All values, once every task is done.
    pub(crate) fn into_values(self) -> Vec<T> {
        self.idle.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
