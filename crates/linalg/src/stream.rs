//! Reading memory from end to end: how fast weights can come at best.
//!
//! It is reading alone, as a product with a vector reads its weights; copying would write as well.

use rayon::prelude::*;

/// Memory to be read, every page of it written once: pages that were never written are all the same one.
pub struct Stream(Vec<u64>);

impl Stream {
    /// So many bytes, rounded down to whole words and written by the threads of the rayon pool.
    pub fn new(bytes: usize) -> Self {
        let mut words = vec![0; bytes / size_of::<u64>()];
        words.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(ONE));
        Self(words)
    }

    /// The memory held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    /// Reads all of it on this thread, and returns the sum of its words.
    pub fn sum_alone(&self) -> u64 {
        self.0.chunks(CHUNK).map(sum).fold(0, u64::wrapping_add)
    }

    /// Reads all of it on the threads of the rayon pool, and returns the sum of its words.
    pub fn sum(&self) -> u64 {
        self.0.par_chunks(CHUNK).map(sum).reduce(|| 0, u64::wrapping_add)
    }
}

/// Lanes are summed apart, so that a compiler adds as many at once as the processor can.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0_u64; LANES];
    let (whole, rest) = words.as_chunks::<LANES>();
    for words in whole {
        lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane = lane.wrapping_add(*word));
    }
    lanes.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

/// What every word is.
const ONE: u64 = 1;
/// Four registers of 512 bits.
const LANES: usize = 32;
/// Words of a task: 2 MiB.
const CHUNK: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once_alone_and_by_all_threads() {
        for words in [0, 1, LANES - 1, LANES + 1, CHUNK, 3 * CHUNK + 5 * LANES + 7] {
            let stream = Stream::new(words * 8 + 7);
            assert_eq!(stream.bytes(), words * 8);
            assert_eq!((stream.sum_alone(), stream.sum()), (words as u64, words as u64));
        }
    }

    #[test]
    fn sums_are_of_what_the_words_are() {
        let words: Vec<u64> =
            (0..1000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let one_by_one = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word));
        assert_eq!(sum(&words), one_by_one);
    }
}
