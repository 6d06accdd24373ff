//! The loops around a kernel: what is packed when, and which blocks stay in which cache.

#![expect(unsafe_code, reason = "hints to the cache")]

use crate::buffer::{Buffer, Line};
use crate::packed::Packed;
use std::ops::Range;

/// The innermost part of a product: a tile of the result over some depth.
///
/// A line of a panel of weights meets [`Micro::WORDS`] words of each row of inputs. The order in
/// which an element's terms are added is the kernel's own, and the same for every tile it lies in.
pub(crate) trait Micro: Copy {
    /// What a thread holds while it computes tiles.
    type Guard;
    /// Rows of a full tile.
    const ROWS: usize;
    /// Words that a row of inputs takes for each line.
    const WORDS: usize;
    /// Rows of inputs that are packed at once, a multiple of [`Micro::ROWS`].
    const BLOCK_ROWS: usize;
    /// Lines of a panel that are to stay in the first cache.
    const BLOCK_LINES: usize;
    /// Panels whose results are to stay in the second cache.
    const BLOCK_PANELS: usize;

    /// Panels of a tile where a product has so many rows of inputs; what is left over comes one by
    /// one.
    fn panels(rows: usize) -> usize;

    /// Prepares this thread for tiles.
    fn guard(self) -> Self::Guard;

    /// Packs up to [`Micro::ROWS`] rows of inputs, `[rows, columns]`, as `[line, ROWS, WORDS]`. The
    /// words are zero before.
    fn pack(self, inputs: &[f32], columns: usize, words: &mut [u32]);

    /// Computes one tile.
    fn tile(self, inputs: &[u32], weights: Panels<'_>, out: Tile<'_>);
}

/// Neighbouring panels of weights, all at the same depth.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    /// From the first line of the first panel.
    pub(crate) lines: &'a [Line],
    /// Lines of each panel.
    pub(crate) depth: usize,
    /// Lines from a panel to the next.
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

/// `[rows, 16 * panels]` elements of a result that has `stride` elements in a row.
pub(crate) struct Tile<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    /// Whether the sums begin at zero, not at what `out` holds.
    pub(crate) first: bool,
}

/// Elements of the largest tile that is computed aside: all of a tile's rows by all of its panels.
const ASIDE: usize = 4096;

/// `out = inputs * weights[rows]^T`.
pub(crate) fn multiply<M: Micro>(
    micro: M,
    inputs: &[f32],
    weights: &Packed,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let (columns, width) = (weights.columns(), rows.len());
    if columns == 0 || width == 0 {
        return out.fill(0.0);
    }
    let _guard = micro.guard();
    let blocks = inputs.chunks(M::BLOCK_ROWS * columns);
    for (inputs, out) in blocks.zip(out.chunks_mut(M::BLOCK_ROWS * width)) {
        block(micro, inputs, weights, rows.clone(), out);
    }
}

/// Bytes of packed inputs.
pub(crate) fn scratch_bytes<M: Micro>(lines: usize, rows: usize) -> usize {
    Buffer::bytes(packed_lines::<M>(lines, rows))
}

fn packed_lines<M: Micro>(lines: usize, rows: usize) -> usize {
    let strips = rows.min(M::BLOCK_ROWS).div_ceil(M::ROWS);
    (strips * lines * M::ROWS * M::WORDS).div_ceil(16)
}

fn block<M: Micro>(
    micro: M,
    inputs: &[f32],
    weights: &Packed,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let lines = weights.layout().lines(weights.columns());
    let count = inputs.len() / weights.columns();
    let packed = packed_inputs(micro, inputs, weights.columns(), lines);
    let block = Block { micro, packed: packed.lines().as_flattened(), weights, lines, rows, count };
    let (first, last) = (block.rows.start / 16, block.rows.end.div_ceil(16));
    // One strip of inputs is in the first cache anyway.
    let depth = if count <= M::ROWS { lines } else { M::BLOCK_LINES };
    for start in (first..last).step_by(M::BLOCK_PANELS) {
        let panels = start..last.min(start + M::BLOCK_PANELS);
        for start in (0..lines).step_by(depth) {
            block.panels(panels.clone(), start..lines.min(start + depth), out);
        }
    }
}

fn packed_inputs<M: Micro>(micro: M, inputs: &[f32], columns: usize, lines: usize) -> Buffer {
    let strip = lines * M::ROWS * M::WORDS;
    let rows = inputs.len() / columns;
    let mut buffer = Buffer::zeroed(packed_lines::<M>(lines, rows));
    let strips = buffer.lines_mut().as_flattened_mut().chunks_exact_mut(strip);
    for (inputs, words) in inputs.chunks(M::ROWS * columns).zip(strips) {
        micro.pack(inputs, columns, words);
    }
    buffer
}

/// Packed inputs and all that they meet.
struct Block<'a, M> {
    micro: M,
    packed: &'a [u32],
    weights: &'a Packed,
    lines: usize,
    rows: Range<usize>,
    count: usize,
}

impl<M: Micro> Block<'_, M> {
    /// Adds what some panels contribute over some of their lines.
    fn panels(&self, panels: Range<usize>, depth: Range<usize>, out: &mut [f32]) {
        let (step, stride) = (M::panels(self.count), self.lines);
        let mut panel = panels.start;
        while panel < panels.end {
            let count = if panel + step <= panels.end { step } else { 1 };
            let lines = &self.weights.lines()[panel * stride + depth.start..];
            let weights = Panels { lines, depth: depth.len(), stride, count };
            for strip in 0..self.strips() {
                self.fetch(strip, panel + count..panel + 2 * count, &depth);
                self.strip(strip, panel, &depth, weights, out);
            }
            panel += count;
        }
    }

    fn strips(&self) -> usize {
        self.count.div_ceil(M::ROWS)
    }

    /// Asks for the share of the next panels that falls to a strip.
    fn fetch(&self, strip: usize, panels: Range<usize>, depth: &Range<usize>) {
        let share = depth.len().div_ceil(self.strips());
        for panel in panels {
            let first = panel * self.lines + depth.start + strip * share;
            prefetch(self.weights.lines().get(first..first + share).unwrap_or_default());
        }
    }

    /// One tile, computed aside where it reaches beyond the rows of weights that are asked for.
    fn strip(
        &self,
        strip: usize,
        panel: usize,
        depth: &Range<usize>,
        weights: Panels<'_>,
        out: &mut [f32],
    ) {
        let words = M::ROWS * M::WORDS;
        let inputs =
            &self.packed[(strip * self.lines + depth.start) * words..][..depth.len() * words];
        let rows = M::ROWS.min(self.count - strip * M::ROWS);
        let stride = self.rows.len();
        let out = &mut out[strip * M::ROWS * stride..];
        let (begin, end) = (panel * 16, (panel + weights.count) * 16);
        let first = depth.start == 0;
        if self.rows.start <= begin && end <= self.rows.end {
            let out = &mut out[begin - self.rows.start..];
            return self.micro.tile(inputs, weights, Tile { out, stride, rows, first });
        }
        let inside = begin.max(self.rows.start)..end.min(self.rows.end);
        let width = end - begin;
        let mut aside = [0.0; ASIDE];
        let here = inside.start - begin..inside.end - begin;
        let there = inside.start - self.rows.start..inside.end - self.rows.start;
        for (aside, out) in aside.chunks_exact_mut(width).zip(out.chunks(stride)).take(rows) {
            aside[here.clone()].copy_from_slice(&out[there.clone()]);
        }
        self.micro.tile(inputs, weights, Tile { out: &mut aside, stride: width, rows, first });
        for (aside, out) in aside.chunks_exact(width).zip(out.chunks_mut(stride)).take(rows) {
            out[there.clone()].copy_from_slice(&aside[here.clone()]);
        }
    }
}

/// Asks for lines before they are wanted.
#[inline(always)]
fn prefetch(lines: &[Line]) {
    for line in lines {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which touches no memory that the program could see.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
