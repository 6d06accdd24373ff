//! The greatest of a slice of logits, and whether all are fit to be compared.

use crate::exponential::MASKED;
use llmopt_tensor::simd::{Kernel, dispatch};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extreme {
    /// Minus infinity for none.
    pub(crate) greatest: f32,
    /// Whether there is neither NaN nor plus infinity.
    pub(crate) sound: bool,
}

impl Extreme {
    pub(crate) fn of(logits: &[f32]) -> Self {
        dispatch(Greatest { logits })
    }
}

struct Greatest<'a> {
    logits: &'a [f32],
}

impl Kernel for Greatest<'_> {
    type Output = Extreme;

    #[inline(always)]
    fn run(self) -> Extreme {
        let (blocks, rest) = self.logits.as_chunks::<LANES>();
        let mut last = [MASKED; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let (mut greatest, mut unsound) = ([MASKED; LANES], [0; LANES]);
        for block in blocks {
            raise(&mut greatest, &mut unsound, block);
        }
        raise(&mut greatest, &mut unsound, &last);
        of_lanes(&greatest, &unsound)
    }
}

#[inline(always)]
fn raise(greatest: &mut [f32; LANES], unsound: &mut [u32; LANES], logits: &[f32; LANES]) {
    for lane in 0..LANES {
        let logit = logits[lane];
        greatest[lane] = if logit > greatest[lane] { logit } else { greatest[lane] };
        unsound[lane] |= u32::from(logit.is_nan() | (logit == f32::INFINITY));
    }
}

/// Not inlined: what is inlined may have its lanes shuffled, and the loop above with it.
#[inline(never)]
fn of_lanes(greatest: &[f32; LANES], unsound: &[u32; LANES]) -> Extreme {
    Extreme {
        greatest: greatest.iter().copied().fold(MASKED, f32::max),
        sound: unsound.iter().all(|&unsound| unsound == 0),
    }
}

/// Enough for several vectors side by side on every machine.
const LANES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_length_counts() {
        for length in 0..70 {
            assert_eq!(Extreme::of(&vec![MASKED; length]).greatest, MASKED);
            for place in 0..length {
                let mut logits = vec![-2.0; length];
                let mut check = |logit, expected: Extreme| {
                    logits[place] = logit;
                    assert_eq!(Extreme::of(&logits), expected);
                };
                check(-1.0, Extreme { greatest: -1.0, sound: true });
                check(f32::INFINITY, Extreme { greatest: f32::INFINITY, sound: false });
                logits[place] = f32::NAN;
                assert!(!Extreme::of(&logits).sound);
            }
        }
    }
}
