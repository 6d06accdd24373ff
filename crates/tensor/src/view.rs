//! The part of a tensor that is one matrix.

use std::ops::Range;

/// A matrix inside a tensor of two or three axes: one of the leading index, a range of rows taken
/// with a stride, read as it lies or transposed. It covers fused projections (a range of rows),
/// stacked experts (a leading index), interleaved ones (a stride of two) and Conv1D weights
/// (transposed). If a `View` exists, it lies inside the shape it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    leading: usize,
    first_row: usize,
    stride: usize,
    rows: usize,
    stored_rows: usize,
    stored_columns: usize,
    transposed: bool,
}

/// Why a part of a tensor is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Matrices lie in tensors of two axes, or of three when experts are stacked.
    #[error("a tensor of {0} axes holds no matrix")]
    Axes(usize),
    /// The leading index or the rows reach beyond the tensor.
    #[error("{what} {index} is outside of {length}")]
    Outside {
        /// What was indexed: `leading index` or `row`.
        what: &'static str,
        /// The index asked for.
        index: usize,
        /// The length of the axis.
        length: usize,
    },
}

impl View {
    /// The whole of a tensor with two axes.
    pub fn whole(shape: &[usize]) -> Result<Self, ViewError> {
        match *shape {
            [rows, _] => Self::part(shape, 0, 0..rows, 1, false),
            _ => Err(ViewError::Axes(shape.len())),
        }
    }

    /// Every `stride`-th of the stored rows in `rows`, of matrix `leading` when there are three axes.
    /// `transposed` views have the selected stored rows as columns.
    pub fn part(
        shape: &[usize],
        leading: usize,
        rows: Range<usize>,
        stride: usize,
        transposed: bool,
    ) -> Result<Self, ViewError> {
        let (outer, stored_rows, stored_columns) = match *shape {
            [rows, columns] => (1, rows, columns),
            [outer, rows, columns] => (outer, rows, columns),
            _ => return Err(ViewError::Axes(shape.len())),
        };
        if leading >= outer {
            return Err(ViewError::Outside {
                what: "leading index",
                index: leading,
                length: outer,
            });
        }
        if rows.end > stored_rows {
            return Err(ViewError::Outside { what: "row", index: rows.end, length: stored_rows });
        }
        let stride = stride.max(1);
        Ok(Self {
            leading,
            first_row: rows.start,
            stride,
            rows: rows.len().div_ceil(stride),
            stored_rows,
            stored_columns,
            transposed,
        })
    }

    /// Rows of the matrix (output features of a linear).
    pub fn rows(&self) -> usize {
        if self.transposed { self.stored_columns } else { self.rows }
    }

    /// Columns of the matrix (input features of a linear).
    pub fn columns(&self) -> usize {
        if self.transposed { self.rows } else { self.stored_columns }
    }

    /// Whether the matrix's elements are all of the tensor's, in the order in which they are stored.
    pub fn is_plain(&self) -> bool {
        !self.transposed && self.stride == 1 && self.rows == self.stored_rows
    }

    /// Where rows `rows` of the matrix lie, as one range of element indices of the tensor.
    /// `None` when they are not stored side by side.
    pub fn contiguous(&self, rows: Range<usize>) -> Option<Range<u64>> {
        let one_run = !self.transposed && (self.stride == 1 || rows.len() <= 1);
        let at = |row: usize| self.element(row, 0);
        one_run.then(|| at(rows.start)..at(rows.start) + (rows.len() * self.columns()) as u64)
    }

    /// The index, among the tensor's elements as stored, of the matrix's element at `row`, `column`.
    pub fn element(&self, row: usize, column: usize) -> u64 {
        let (stored_row, stored_column) =
            if self.transposed { (column, row) } else { (row, column) };
        let row = self.leading * self.stored_rows + self.first_row + stored_row * self.stride;
        row as u64 * self.stored_columns as u64 + stored_column as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix as nested rows of element indices, from `element` alone.
    fn elements(view: &View) -> Vec<Vec<u64>> {
        let row = |row| (0..view.columns()).map(|column| view.element(row, column)).collect();
        (0..view.rows()).map(row).collect()
    }

    #[test]
    fn views_name_the_elements_they_cover() {
        let check = |view: Result<View, ViewError>, expected: &[&[u64]]| {
            let view = view.expect("inside the shape");
            assert_eq!(elements(&view), expected, "{view:?}");
        };
        check(View::whole(&[2, 3]), &[&[0, 1, 2], &[3, 4, 5]]);
        check(View::part(&[4, 2], 0, 1..3, 1, false), &[&[2, 3], &[4, 5]]);
        check(View::part(&[5, 2], 0, 0..5, 2, false), &[&[0, 1], &[4, 5], &[8, 9]]);
        check(View::part(&[2, 2, 2], 1, 0..2, 1, false), &[&[4, 5], &[6, 7]]);
        check(View::part(&[2, 3], 0, 0..2, 1, true), &[&[0, 3], &[1, 4], &[2, 5]]);
    }

    #[test]
    fn runs_are_found_where_rows_lie_side_by_side() {
        let stacked = View::part(&[3, 4, 5], 2, 1..4, 1, false).expect("inside");
        assert_eq!(stacked.contiguous(1..3), Some(50..60));
        let interleaved = View::part(&[4, 5], 0, 1..4, 2, false).expect("inside");
        assert_eq!(interleaved.contiguous(0..2), None);
        assert_eq!(interleaved.contiguous(1..2), Some(15..20));
        assert_eq!(View::part(&[4, 5], 0, 0..4, 1, true).expect("inside").contiguous(0..1), None);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        assert_eq!(View::whole(&[4]), Err(ViewError::Axes(1)));
        let leading = View::part(&[2, 3, 4], 2, 0..1, 1, false);
        assert_eq!(leading, Err(ViewError::Outside { what: "leading index", index: 2, length: 2 }));
        let rows = View::part(&[3, 4], 0, 2..4, 1, false);
        assert_eq!(rows, Err(ViewError::Outside { what: "row", index: 4, length: 3 }));
    }
}
