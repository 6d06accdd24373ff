//! Hashing a file in the order of its bytes while several workers read it.

use llmopt_checkpoint::{Sha256, Shard};
use llmopt_run::Error;
use llmopt_run::pool::Stop;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A hash that takes numbered pieces, each when its turn comes.
///
/// Workers claim pieces in order, so the piece awaited is always in the hands of a running worker.
pub struct InOrder {
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    next: u64,
    hash: Sha256,
}

impl InOrder {
    /// Begins with `head`, the bytes before the first piece.
    pub fn new(head: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(head);
        Self { state: Mutex::new(State { next: 0, hash }), turn: Condvar::new() }
    }

    /// Begins with all that stands before the data of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn after_header(shard: &Shard) -> Result<Self, Error> {
        let mut head = vec![0; shard.header_bytes as usize];
        shard.read_at(0, &mut head)?;
        Ok(Self::new(&head))
    }

    /// Adds piece `number` once all before it were added. Gives up when the pool stops.
    pub fn update(&self, number: u64, bytes: &[u8], stop: &Stop) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.next != number {
            if stop.is_set() {
                return;
            }
            let waited = self.turn.wait_timeout(state, Duration::from_millis(20));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hash.update(bytes);
        state.next += 1;
        self.turn.notify_all();
    }

    /// The digest of all pieces, in hexadecimal.
    pub fn finish(self) -> String {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_arrive_late_are_hashed_in_their_place() {
        let (hash, stop) = (InOrder::new(b"head"), Stop::default());
        std::thread::scope(|scope| {
            scope.spawn(|| hash.update(1, b"two", &stop));
            scope.spawn(|| hash.update(2, b"three", &stop));
            hash.update(0, b"one", &stop);
        });
        let mut straight = Sha256::new();
        straight.update(b"headonetwothree");
        assert_eq!(hash.finish(), straight.finish());
    }
}
