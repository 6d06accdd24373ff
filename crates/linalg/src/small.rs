//! Products of two matrices neither of which is packed, as attention has them.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// A matrix `[rows, columns]` of which each row begins `stride` elements after the one before.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// From the first element of the first row.
    pub values: &'a [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Elements from a row to the next, at least `columns`.
    pub stride: usize,
}

/// A matrix to write: see [`Strided`].
#[derive(Debug)]
pub struct StridedMut<'a> {
    /// From the first element of the first row.
    pub values: &'a mut [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Elements from a row to the next, at least `columns`.
    pub stride: usize,
}

/// `out = a * b` in f32, or `out += a * b` to accumulate, on this thread alone.
///
/// # Panics
/// If the shapes do not fit together or the slices are too short for them.
pub fn product(a: Strided<'_>, b: Strided<'_>, out: StridedMut<'_>, accumulate: bool) {
    multiply(a.view(), b.view(), out, accumulate);
}

/// `out = a * b^T` in f32, or `out += a * b^T` to accumulate, on this thread alone.
///
/// # Panics
/// If the shapes do not fit together or the slices are too short for them.
pub fn product_transposed(a: Strided<'_>, b: Strided<'_>, out: StridedMut<'_>, accumulate: bool) {
    multiply(a.view(), b.view().transpose(), out, accumulate);
}

fn multiply(a: MatRef<'_, f32>, b: MatRef<'_, f32>, mut out: StridedMut<'_>, accumulate: bool) {
    let accumulate = if accumulate { Accum::Add } else { Accum::Replace };
    matmul(out.view(), accumulate, a, b, 1.0, Par::Seq);
}

impl<'a> Strided<'a> {
    fn view(self) -> MatRef<'a, f32> {
        let values = &self.values[..extent(self.rows, self.columns, self.stride)];
        MatRef::from_row_major_slice_with_stride(values, self.rows, self.columns, self.stride)
    }
}

impl StridedMut<'_> {
    fn view(&mut self) -> MatMut<'_, f32> {
        let values = &mut self.values[..extent(self.rows, self.columns, self.stride)];
        // The constructor for rows with a stride takes it for that of columns (faer 0.24.4).
        MatMut::from_column_major_slice_with_stride_mut(
            values,
            self.columns,
            self.rows,
            self.stride,
        )
        .transpose_mut()
    }
}

/// Elements from the first to the last.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    assert!(columns <= stride || rows <= 1);
    rows.checked_sub(1).map_or(0, |last| last * stride + columns)
}
