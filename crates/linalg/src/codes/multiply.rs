//! The loops around a kernel for codes.

use super::inputs::{CodedInputs, STRIP, Strip};
use super::panel::Panel;
use std::ops::Range;

/// A way to multiply codes, once it is known that this machine has it.
pub(crate) trait CodeKernel: Sync {
    /// As reports name it.
    fn name(&self) -> &'static str;

    /// Writes the product of the rows of `strip` with the sixteen rows of `panel`.
    fn tile(&self, strip: Strip<'_>, panel: Panel<'_>, out: &mut [[f32; 16]; STRIP]);
}

/// `out = inputs * weights[rows]^T`, of `weights` all panels. A panel stays in the cache while all inputs pass.
pub(crate) fn multiply(
    kernel: &dyn CodeKernel,
    inputs: &CodedInputs,
    weights: Panel<'_>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let Panel { format, columns, .. } = weights;
    let lines = format.lines(columns);
    let width = rows.len();
    for number in rows.start / 16..rows.end.div_ceil(16) {
        let lines = &weights.lines[number * lines..][..lines];
        let panel = Panel { format, columns, lines };
        let (begin, end) = (number * 16, number * 16 + 16);
        let inside = begin.max(rows.start)..end.min(rows.end);
        for (strip, out) in inputs.strips().zip(out.chunks_mut(STRIP * width)) {
            let mut tile = [[0.0; 16]; STRIP];
            kernel.tile(strip, panel, &mut tile);
            for (tile, out) in tile.iter().zip(out.chunks_exact_mut(width)) {
                out[inside.start - rows.start..inside.end - rows.start]
                    .copy_from_slice(&tile[inside.start - begin..inside.end - begin]);
            }
        }
    }
}
