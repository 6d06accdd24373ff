//! Windows that only judge: the last ones.

use llmopt_sweep::{Batches, Sequence};

/// Batches of windows. Where some are held out, they come last.
pub fn in_batches(windows: Vec<Vec<u32>>, holds_out: bool) -> Batches {
    let held_out = if holds_out { held_out(windows.len()) } else { 0 };
    let sequences = windows.into_iter().map(|tokens| Sequence { tokens, targets: 0..0 }).collect();
    Batches::with_held_out(sequences, held_out)
}

/// How many windows of so many only judge: the last ones.
pub fn held_out(windows: usize) -> usize {
    (windows / HELD_OUT).max(1).min(windows.saturating_sub(1))
}

/// How many windows there must be for so many beside those that are held out.
pub fn beside_held_out(fitted: usize) -> usize {
    fitted.saturating_add((fitted / (HELD_OUT - 1)).max(1))
}

/// One window of so many is held out.
const HELD_OUT: usize = 8;

/// The windows that are held out.
pub fn judges(windows: &[Vec<u32>]) -> &[Vec<u32>] {
    &windows[windows.len() - held_out(windows.len())..]
}

#[cfg(test)]
mod tests {
    use super::{beside_held_out, held_out};

    #[test]
    fn as_many_fit_as_are_asked_for_beside_those_that_judge() {
        for fitted in 1..50 {
            let all = beside_held_out(fitted);
            assert_eq!(all - held_out(all), fitted);
        }
    }
}
