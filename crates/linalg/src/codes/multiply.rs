//! The loops around a kernel for codes.

use super::inputs::CodedInputs;
use super::{CodeFormat, Panel, STRIP};
use crate::kernels::codes::CodeKernel;
use crate::packed::Packed;
use std::ops::Range;

/// `out = inputs * weights[rows]^T`. A panel stays in the cache while all inputs pass.
pub(crate) fn multiply(
    kernel: &dyn CodeKernel,
    format: CodeFormat,
    inputs: &CodedInputs,
    weights: &Packed,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let columns = weights.columns();
    let lines = format.lines(columns);
    let width = rows.len();
    for number in rows.start / 16..rows.end.div_ceil(16) {
        let lines = &weights.lines()[number * lines..][..lines];
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
