//! Memory that runs hand on to each other: fresh pages cost as much as a pass of arithmetic.

use crate::matrix::Matrix;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Vectors that are in use nowhere, and how much there may be.
#[derive(Default)]
pub(crate) struct Buffers {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Vec<f32>>,
    /// Bytes handed out since the run began.
    lent: usize,
    /// Bytes that may be handed out and idle together.
    limit: usize,
}

impl Buffers {
    /// A run begins, which needs no more than `limit` bytes at any time: idle memory never comes on
    /// top of that.
    pub(crate) fn begin(&self, limit: usize) {
        let mut inner = self.lock();
        inner.lent = 0;
        inner.limit = limit;
        inner.make_room(0);
    }

    /// A matrix of whatever was left in its memory.
    pub(crate) fn matrix(&self, rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: self.take(rows * columns) }
    }

    /// So many numbers, whatever they are.
    pub(crate) fn take(&self, length: usize) -> Vec<f32> {
        let mut inner = self.lock();
        inner.lent += bytes(length);
        let fitting = inner.idle.iter().enumerate().filter(|(_, idle)| idle.capacity() >= length);
        let best = fitting.min_by_key(|(_, idle)| idle.capacity()).map(|(number, _)| number);
        match best {
            Some(number) => {
                let mut values = inner.idle.swap_remove(number);
                values.resize(length, 0.0);
                values
            }
            None => {
                inner.make_room(0);
                vec![0.0; length]
            }
        }
    }

    /// Takes back what is no longer used, wherever it came from.
    pub(crate) fn give(&self, values: Vec<f32>) {
        let mut inner = self.lock();
        inner.lent = inner.lent.saturating_sub(bytes(values.len()));
        inner.make_room(bytes(values.capacity()));
        if inner.held() + bytes(values.capacity()) <= inner.limit {
            inner.idle.push(values);
        }
    }

    /// Gives idle memory back to the system.
    pub(crate) fn release(&self) {
        self.lock().idle.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Lets go of what has been idle longest until so many more bytes are within the limit, or none is left.
    fn make_room(&mut self, more: usize) {
        while self.held() + more > self.limit && !self.idle.is_empty() {
            self.idle.remove(0);
        }
    }

    fn held(&self) -> usize {
        let idle = self.idle.iter().map(|idle| bytes(idle.capacity()));
        self.lent + idle.sum::<usize>()
    }
}

fn bytes(length: usize) -> usize {
    length * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_where_it_is_long_enough() {
        let buffers = Buffers::default();
        buffers.begin(4000);
        let (long, short) = (buffers.take(500), buffers.take(100));
        let place = short.as_ptr();
        buffers.give(long);
        buffers.give(short);
        let again = buffers.take(90);
        assert_eq!((again.as_ptr(), again.len()), (place, 90));
    }

    #[test]
    fn idle_and_lent_together_stay_within_the_limit() {
        let buffers = Buffers::default();
        buffers.begin(4000);
        for length in [300, 400, 500, 10, 600] {
            let (one, other) = (buffers.take(length), buffers.take(length / 2));
            assert!(buffers.lock().held() <= 4000);
            buffers.give(one);
            buffers.give(other);
            assert!(buffers.lock().held() <= 4000);
        }
        buffers.give(vec![0.0; 999]);
        assert!(buffers.lock().held() <= 4000);
        buffers.begin(100);
        assert!(buffers.lock().idle.is_empty());
    }

    #[test]
    fn nothing_is_kept_after_a_release() {
        let buffers = Buffers::default();
        buffers.begin(4000);
        buffers.give(vec![0.0; 10]);
        buffers.release();
        assert!(buffers.lock().idle.is_empty());
    }
}
