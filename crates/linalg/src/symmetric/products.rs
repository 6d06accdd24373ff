//! Sums of products of rows, and rows times the matrix.

use super::Symmetric;
use crate::Gemm;
use crate::packed::Packed;
use crate::piece::{PIECE, Transposed, together};
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
        let (whole, last) = rows.split_at(whole);
        for rows in whole.chunks(together(order) * PIECE * order) {
            self.add_pieces(gemm, &Transposed::new(rows, order, PIECE));
        }
        if !last.is_empty() {
            self.add_pieces(gemm, &Transposed::new(last, order, last.len() / order));
        }
    }

    /// The most memory that [`Symmetric::add_products`] allocates on so many threads.
    pub fn add_products_bytes(gemm: Gemm, order: usize, threads: usize) -> usize {
        let pieces = together(order);
        Transposed::bytes(order, pieces) + Self::add_pieces_bytes(gemm, order, pieces, threads)
    }

    /// The most memory that adding so many pieces allocates.
    pub(super) fn add_pieces_bytes(
        gemm: Gemm,
        order: usize,
        pieces: usize,
        threads: usize,
    ) -> usize {
        let each = gemm.scratch_bytes(TILE, PIECE) + SPAN * AREA * size_of::<f32>();
        let count = order.div_ceil(TILE);
        let shared = spans(count) * size_of::<Span<'_>>() + count * size_of::<&mut [f64]>();
        Transposed::packed_bytes(gemm, order, pieces) + shared + threads * each
    }

    /// Adds pieces, to each element in their order.
    fn add_pieces(&mut self, gemm: Gemm, pieces: &Transposed) {
        let packed = pieces.packed(gemm);
        let spans = self.spans_from(0).into_par_iter().with_max_len(1);
        spans.for_each(|mut span| {
            for piece in 0..pieces.count() {
                span.add(gemm, (pieces, piece), pieces.scales(piece), &packed);
            }
        });
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
    pub(super) fn add(
        &mut self,
        gemm: Gemm,
        (pieces, piece): (&Transposed, usize),
        scales: &[f64],
        packed: &Packed,
    ) {
        let mut products = vec![0.0; self.rows.len() * self.columns.len()];
        let inputs = pieces.inputs(piece, self.rows.clone());
        gemm.multiply(inputs, packed, pieces.weights(piece, self.columns.clone()), &mut products);
        let columns = &pieces.scales(piece)[self.columns.clone()];
        let rows = &scales[self.rows.clone()];
        dispatch(Add { tiles: &mut *self.tiles, products: &products, rows, columns });
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
