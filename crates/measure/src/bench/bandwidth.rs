//! How fast this machine reads memory: the most that weights can be read with.

use crate::bench::spread::Spread;
use llmopt_linalg::Stream;
use llmopt_run::{Cancel, Error};
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

/// Bytes a second that are read of a buffer, measured before the models are loaded and after they are let go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadBandwidth {
    /// Bytes of the buffer.
    pub buffer_bytes: u64,
    /// With one thread.
    pub one_thread: Spread,
    /// With all threads of the run.
    pub all_threads: Spread,
}

/// Measurements so far.
pub(super) struct Readings {
    buffer_bytes: u64,
    one_thread: Vec<f64>,
    all_threads: Vec<f64>,
}

impl Readings {
    /// Reads a buffer of so many bytes, on the pool in which it is called.
    pub(super) fn take(bytes: usize, cancel: &Cancel) -> Result<Self, Error> {
        let stream = Stream::new(bytes);
        let mut readings = Self {
            buffer_bytes: stream.bytes() as u64,
            one_thread: Vec::new(),
            all_threads: Vec::new(),
        };
        black_box(stream.sum());
        for _ in 0..ROUNDS {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            readings.one_thread.push(rate(&stream, Stream::sum_alone));
            readings.all_threads.push(rate(&stream, Stream::sum));
        }
        Ok(readings)
    }

    /// These, and others taken later.
    pub(super) fn with(mut self, later: Self) -> ReadBandwidth {
        self.one_thread.extend(later.one_thread);
        self.all_threads.extend(later.all_threads);
        ReadBandwidth {
            buffer_bytes: self.buffer_bytes,
            one_thread: Spread::of(self.one_thread),
            all_threads: Spread::of(self.all_threads),
        }
    }
}

/// Bytes a second.
fn rate(stream: &Stream, sum: impl Fn(&Stream) -> u64) -> f64 {
    let begun = Instant::now();
    black_box(sum(stream));
    stream.bytes() as f64 / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The buffer: far larger than the caches of most machines, and no more than half of the memory that `budget`
/// leaves, which is given back before the models come.
pub(super) fn buffer_bytes(budget: u64) -> usize {
    USUAL_BYTES.min(budget / 2) as usize
}

/// Of a buffer where memory does not matter.
pub(super) const USUAL_BYTES: u64 = 512 << 20;
/// Readings of each kind, before and again after.
const ROUNDS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_takes_no_more_than_half_of_the_memory() {
        assert_eq!(buffer_bytes(8 << 30), 512 << 20);
        assert_eq!(buffer_bytes(100 << 20), 50 << 20);
    }

    #[test]
    fn readings_of_before_and_after_are_one_spread() {
        let of = |rate: f64| Readings {
            buffer_bytes: 8,
            one_thread: vec![rate],
            all_threads: vec![2.0 * rate],
        };
        let found = of(10.0).with(of(20.0));
        assert_eq!(found.one_thread, Spread { median: 15.0, low: 10.0, high: 20.0 });
        assert_eq!(found.all_threads.median, 30.0);
        let read = Readings::take(1 << 20, &Cancel::new()).expect("not cancelled");
        assert_eq!((read.buffer_bytes, read.one_thread.len()), (1 << 20, ROUNDS));
        assert!(read.one_thread.iter().chain(&read.all_threads).all(|rate| *rate > 0.0));
    }
}
