//! Sums of products of rows, and rows times the matrix.

use super::Symmetric;
use crate::Gemm;
use crate::packed::Packed;
use crate::piece::{PIECE, Transposed};
use crate::tiles::{AREA, TILE};
use llmopt_tensor::simd::{Kernel, dispatch};
use rayon::prelude::*;
use std::ops::Range;

impl Symmetric {
    /// Adds `rows^T rows`, where rows are `[count, order]`.
    ///
    /// Rows come in pieces of constant number. In each, columns are scaled by powers of two so that
    /// nothing overflows or is lost beside something greater; products are summed in the precision of
    /// `gemm` with f32 sums, and pieces in f64. About half of a full product is computed.
    ///
    /// Allocates [`Symmetric::add_products_bytes`].
    pub fn add_products(&mut self, gemm: Gemm, rows: &[f32]) {
        let order = self.order();
        if rows.is_empty() {
            return;
        }
        assert!(order > 0 && rows.len().is_multiple_of(order), "whole rows");
        let whole = rows.len() - rows.len() % (PIECE * order);
        self.add_pieces(gemm, &rows[..whole], PIECE);
        self.add_pieces(gemm, &rows[whole..], (rows.len() - whole) / order);
    }

    /// The most memory that [`Symmetric::add_products`] allocates on so many threads.
    pub fn add_products_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let each = gemm.scratch_bytes(TILE, PIECE) + SPAN * AREA * size_of::<f32>();
        let count = order.div_ceil(TILE);
        let shared = spans(count) * size_of::<Span<'_>>() + count * size_of::<&mut [f64]>();
        let piece = Transposed::bytes(order) + Transposed::packed_bytes(gemm, order);
        piece + shared + threads * each
    }

    /// Pieces of equal size.
    fn add_pieces(&mut self, gemm: Gemm, rows: &[f32], size: usize) {
        let order = self.order();
        let mut pieces = rows.chunks(size.max(1) * order);
        let Some(first) = pieces.next() else { return };
        let mut transposed = Transposed::new(first, order);
        let mut packed = gemm.pack(order, size);
        self.add_piece(gemm, &transposed, &mut packed);
        for piece in pieces {
            transposed.fill(piece);
            self.add_piece(gemm, &transposed, &mut packed);
        }
    }

    fn add_piece(&mut self, gemm: Gemm, piece: &Transposed, packed: &mut Packed) {
        piece.pack(packed);
        let spans = self.spans_from(0).into_par_iter().with_max_len(1);
        spans.for_each(|span| span.add(gemm, piece, &piece.scales, packed));
    }

    /// The matrix in spans, without the first rows and columns of tiles. Rows and columns are counted
    /// from the first that is in one.
    pub(super) fn spans_from(&mut self, first: usize) -> Vec<Span<'_>> {
        let order = self.order() - first * TILE;
        let mut spans = Vec::with_capacity(spans(self.tiles.count() - first));
        for (i, row) in self.tiles.rows_mut().into_iter().skip(first).enumerate() {
            let rows = i * TILE..order.min((i + 1) * TILE);
            for (s, tiles) in row[first * AREA..].chunks_mut(SPAN * AREA).enumerate() {
                let first = s * SPAN * TILE;
                let columns = first..rows.end.min(first + tiles.len() / TILE);
                spans.push(Span { rows: rows.clone(), columns, tiles });
            }
        }
        spans
    }
}

/// A bound on the spans in so many rows of tiles.
fn spans(count: usize) -> usize {
    count * (count / SPAN + 1)
}

/// Tiles that are multiplied together.
const SPAN: usize = 8;

/// Neighbouring tiles of a row, and the elements of the matrix in them.
pub(super) struct Span<'a> {
    rows: Range<usize>,
    columns: Range<usize>,
    tiles: &'a mut [f64],
}

impl Span<'_> {
    /// Adds products of a piece's columns, those that are rows here with `scales` for the piece's own.
    pub(super) fn add(self, gemm: Gemm, piece: &Transposed, scales: &[f64], packed: &Packed) {
        let width = self.columns.len();
        let mut products = vec![0.0; self.rows.len() * width];
        let inputs = piece.columns(self.rows.clone());
        gemm.multiply(inputs, packed, self.columns.clone(), &mut products);
        let columns = &piece.scales[self.columns];
        dispatch(Add { tiles: self.tiles, products: &products, rows: &scales[self.rows], columns });
    }
}

/// Adds products of scaled columns, `[rows, columns]`, to tiles.
struct Add<'a> {
    tiles: &'a mut [f64],
    products: &'a [f32],
    /// The scales of rows.
    rows: &'a [f64],
    columns: &'a [f64],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.products.chunks_exact(self.columns.len()).zip(self.rows);
        for (row, (products, scale)) in rows.enumerate() {
            let tiles =
                self.tiles.chunks_exact_mut(AREA).map(|tile| &mut tile[row * TILE..][..TILE]);
            let others = self.columns.chunks(TILE);
            for ((sums, products), others) in tiles.zip(products.chunks(TILE)).zip(others) {
                for ((sum, product), other) in sums.iter_mut().zip(products).zip(others) {
                    *sum += f64::from(*product) * (scale * other);
                }
            }
        }
    }
}
