//! Looking for NaN and infinity.

use crate::matrix::Matrix;
use llmopt_tensor::simd::{Kernel, dispatch};
use rayon::prelude::*;

/// The first row that holds one.
pub(crate) fn first_row_not_finite(matrix: &Matrix) -> Option<usize> {
    let columns = matrix.columns().max(1);
    let parts = matrix.values().par_chunks(columns * ROWS_PER_PART).enumerate();
    let part = parts.filter(|(_, values)| !dispatch(Finite(values))).map(|(part, _)| part).min()?;
    let rows = matrix.values().chunks(columns).enumerate().skip(part * ROWS_PER_PART);
    rows.filter(|(_, row)| !dispatch(Finite(row))).map(|(row, _)| row).next()
}

struct Finite<'a>(&'a [f32]);

impl Kernel for Finite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        largest_magnitude(self.0) < f32::INFINITY.to_bits()
    }
}

/// The bits of the largest magnitude: as integers, magnitudes have the same order, and NaN is above
/// all. A loop, for an iterator's fold would not be inlined.
#[inline(always)]
pub(super) fn largest_magnitude(values: &[f32]) -> u32 {
    let mut largest = 0;
    for x in values {
        largest = largest.max(x.to_bits() & 0x7fff_ffff);
    }
    largest
}

const ROWS_PER_PART: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_is_found_across_parts() {
        let mut matrix = Matrix::zeros(700, 3);
        assert_eq!(first_row_not_finite(&matrix), None);
        matrix.values_mut()[3 * 650] = f32::NAN;
        assert_eq!(first_row_not_finite(&matrix), Some(650));
        matrix.values_mut()[3 * 300 + 2] = f32::NEG_INFINITY;
        assert_eq!(first_row_not_finite(&matrix), Some(300));
        matrix.values_mut()[3 * 256 + 1] = f32::MAX;
        assert_eq!(first_row_not_finite(&matrix), Some(300));
        assert_eq!(first_row_not_finite(&Matrix::zeros(0, 3)), None);
    }
}
