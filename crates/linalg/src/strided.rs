//! Rows that lie apart.

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

impl<'a> Strided<'a> {
    /// Every row.
    ///
    /// # Panics
    /// If the values are too few for them.
    pub fn each(self) -> impl Iterator<Item = &'a [f32]> {
        let Self { values, rows, columns, stride } = self;
        (0..rows).map(move |row| &values[row * stride..][..columns])
    }
}
