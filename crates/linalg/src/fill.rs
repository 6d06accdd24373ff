//! From rows of f32 to the lines of a panel.

use crate::buffer::Line;
use llmopt_tensor::simd::{Kernel, dispatch};

/// Rows as they are, each from the beginning of a line.
pub(crate) fn rows(weights: &[f32], columns: usize, lines: &mut [Line]) {
    let length = columns.div_ceil(16);
    for (row, lines) in weights.chunks_exact(columns).zip(lines.chunks_exact_mut(length)) {
        for (weight, word) in row.iter().zip(lines.as_flattened_mut()) {
            *word = weight.to_bits();
        }
    }
}

/// Up to sixteen rows as f32, a line for each column.
pub(crate) fn single(weights: &[f32], columns: usize, lines: &mut [Line]) {
    dispatch(Fill::<1>(weights, columns, lines));
}

/// Up to sixteen rows as bf16, a line for each pair of columns.
pub(crate) fn pairs(weights: &[f32], columns: usize, lines: &mut [Line]) {
    dispatch(Fill::<2>(weights, columns, lines));
}

/// `x` rounded to bf16, ties to even, as bits. NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { bits >> 16 | 0x40 } else { rounded }
}

/// A word of a line: one f32, or two bf16 of which the first is the lower.
#[inline(always)]
fn word<const COLUMNS: usize>(values: [f32; COLUMNS]) -> u32 {
    if COLUMNS == 1 {
        return values[0].to_bits();
    }
    bf16_bits(values[0]) | bf16_bits(values[COLUMNS - 1]) << 16
}

/// The words of a row, of which the last may be padded.
#[inline(always)]
pub(crate) fn words<const COLUMNS: usize>(values: &[f32], out: &mut [u32]) {
    let (whole, rest) = values.as_chunks::<COLUMNS>();
    for (values, out) in whole.iter().zip(out.iter_mut()) {
        *out = word(*values);
    }
    if !rest.is_empty() {
        let mut last = [0.0; COLUMNS];
        last[..rest.len()].copy_from_slice(rest);
        out[whole.len()] = word(last);
    }
}

struct Fill<'a, const COLUMNS: usize>(&'a [f32], usize, &'a mut [Line]);

impl<const COLUMNS: usize> Kernel for Fill<'_, COLUMNS> {
    type Output = ();

    /// Sixteen lines at a time: the square of words that they make is transposed.
    #[inline(always)]
    fn run(self) {
        let Self(weights, columns, lines) = self;
        for (square, lines) in lines.chunks_mut(16).enumerate() {
            let mut square_words = [[0; 16]; 16];
            let first = columns.min(square * 16 * COLUMNS);
            let last = columns.min(first + 16 * COLUMNS);
            for (row, out) in weights.chunks_exact(columns).zip(&mut square_words) {
                words::<COLUMNS>(&row[first..last], out);
            }
            lines.copy_from_slice(&transposed(square_words)[..lines.len()]);
        }
    }
}

/// Rows become columns. An index has eight bits, four of the row and four of the column; to interleave
/// the two halves rotates them by one, and four times that swaps row and column.
#[inline(always)]
pub(crate) fn transposed(mut square: [Line; 16]) -> [Line; 16] {
    for _ in 0..4 {
        let mut interleaved = [[0; 16]; 16];
        let (first, second) = square.as_flattened().split_at(128);
        let pairs = interleaved.as_flattened_mut().as_chunks_mut::<2>().0;
        for ((pair, first), second) in pairs.iter_mut().zip(first).zip(second) {
            *pair = [*first, *second];
        }
        square = interleaved;
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn rounding_to_bf16_is_that_of_the_half_crate() {
        let edges = [0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fff_ffff, 0x8000, 0x1_8000, 1];
        let spread = (0..1u32 << 16).map(|i| i.wrapping_mul(0x9e37_79b1));
        for bits in spread.chain(edges).flat_map(|bits| [bits, bits ^ 1 << 31]) {
            let x = f32::from_bits(bits);
            let expected = u32::from(bf16::from_f32(x).to_bits());
            assert_eq!(bf16_bits(x), expected, "{bits:#x}");
        }
    }

    #[test]
    fn a_line_holds_a_column_or_a_pair_of_columns_of_sixteen_rows() {
        let (rows, columns) = (13, 37);
        let weights: Vec<f32> = (0..rows * columns).map(|i| i as f32 / 4.0).collect();
        let (mut singles, mut couples) = (vec![[7; 16]; columns], vec![[7; 16]; 32]);
        single(&weights, columns, &mut singles);
        pairs(&weights, columns, &mut couples);
        let weight = |row: usize, column: usize| {
            let inside = row < rows && column < columns;
            if inside { weights[row * columns + column] } else { 0.0 }
        };
        for row in 0..16 {
            for (column, line) in singles.iter().enumerate() {
                assert_eq!(f32::from_bits(line[row]), weight(row, column));
            }
            for (pair, line) in couples.iter().enumerate() {
                let bits = |column| u32::from(bf16::from_f32(weight(row, column)).to_bits());
                assert_eq!(line[row], bits(2 * pair) | bits(2 * pair + 1) << 16);
            }
        }
    }
}
