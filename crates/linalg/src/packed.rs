//! Weights in a kernel's own layout.

use crate::buffer::{Buffer, Line};
use crate::codes::{self, CodeFormat};
use crate::fill;
use crate::strided::Strided;
use std::ops::Range;

/// How weights lie in memory. `[rows, columns]` are those of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// f32, row after row, each filled up to whole lines.
    Rows,
    /// Panels of sixteen rows; a line holds one column of a panel in f32.
    Single,
    /// Panels of sixteen rows; a line holds two columns of a panel in bf16, side by side for each
    /// row. A panel has a multiple of `step` lines.
    Pairs {
        /// Lines that a kernel takes at once.
        step: usize,
    },
    /// Panels of sixteen rows of codes with their scales.
    Codes(CodeFormat),
}

impl Layout {
    /// Lines of a panel; for [`Layout::Rows`], of sixteen rows.
    pub(crate) fn lines(self, columns: usize) -> usize {
        match self {
            Self::Rows => columns.div_ceil(16) * 16,
            Self::Single => columns,
            Self::Pairs { step } => columns.div_ceil(2 * step) * step,
            Self::Codes(format) => format.lines(columns),
        }
    }
}

/// Weights `[rows, columns]`, packed for one kernel.
pub struct Packed {
    buffer: Buffer,
    layout: Layout,
    rows: usize,
    columns: usize,
}

impl Packed {
    /// Bands begin at multiples of so many rows.
    pub const BAND_STEP: usize = 16;

    pub(crate) fn zeroed(layout: Layout, rows: usize, columns: usize) -> Self {
        let lines = layout.lines(columns).checked_mul(rows.div_ceil(Self::BAND_STEP));
        let buffer = Buffer::zeroed(lines.expect("a matrix fits the address space"));
        Self { buffer, layout, rows, columns }
    }

    /// Rows of the matrix: what a product yields for each row of inputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix: what a row of inputs has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The memory held.
    pub fn bytes(&self) -> usize {
        Buffer::bytes(self.buffer.lines().len())
    }

    /// The matrix cut into bands of `rows_per_band` rows, a multiple of [`Packed::BAND_STEP`], to be
    /// filled side by side.
    pub fn bands_mut(&mut self, rows_per_band: usize) -> Vec<Band<'_>> {
        let panels = rows_per_band / Self::BAND_STEP;
        assert!(panels > 0 && rows_per_band.is_multiple_of(Self::BAND_STEP));
        let (layout, rows, columns) = (self.layout, self.rows, self.columns);
        if rows == 0 || columns == 0 {
            return Vec::new();
        }
        let bands = self.buffer.lines_mut().chunks_mut(panels * layout.lines(columns));
        let starts = (0..rows).step_by(rows_per_band);
        let ranges = starts.map(|start| start..rows.min(start + rows_per_band));
        ranges.zip(bands).map(|(rows, lines)| Band { lines, layout, rows, columns }).collect()
    }

    /// Writes rows of the matrix from `first` on; the others stay as they are. A kernel in f32 packed it.
    ///
    /// # Panics
    /// If rows do not fit, or the layout is not one of f32.
    pub fn set_rows(&mut self, first: usize, rows: Strided<'_>) {
        assert!(first + rows.rows <= self.rows && rows.columns == self.columns);
        let (layout, columns) = (self.layout, self.columns);
        let lines = self.buffer.lines_mut();
        for (row, values) in (first..).zip(rows.each()) {
            match layout {
                Layout::Single => {
                    let panel = &mut lines[row / 16 * columns..][..columns];
                    for (line, value) in panel.iter_mut().zip(values) {
                        line[row % 16] = value.to_bits();
                    }
                }
                _ => words_of_rows(layout, lines)[row * columns.next_multiple_of(16)..]
                    .iter_mut()
                    .zip(values)
                    .for_each(|(word, value)| *word = value.to_bits()),
            }
        }
    }

    /// Writes columns of the matrix from `first` on, each a row of `columns`; the others stay as they
    /// are. A kernel in f32 packed it.
    ///
    /// # Panics
    /// If columns do not fit, or the layout is not one of f32.
    pub fn set_columns(&mut self, first: usize, columns: Strided<'_>) {
        assert!(first + columns.rows <= self.columns && columns.columns == self.rows);
        let (layout, width) = (self.layout, self.columns);
        let lines = self.buffer.lines_mut();
        for (column, values) in (first..).zip(columns.each()) {
            match layout {
                Layout::Single => {
                    for (panel, values) in values.chunks(16).enumerate() {
                        let line = &mut lines[panel * width + column];
                        line.iter_mut().zip(values).for_each(|(word, x)| *word = x.to_bits());
                    }
                }
                _ => {
                    let words = words_of_rows(layout, lines);
                    let places = words.iter_mut().skip(column).step_by(width.next_multiple_of(16));
                    places.zip(values).for_each(|(word, x)| *word = x.to_bits());
                }
            }
        }
    }

    /// How its codes lie, if it holds codes.
    pub fn codes(&self) -> Option<CodeFormat> {
        match self.layout {
            Layout::Codes(format) => Some(format),
            _ => None,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn lines(&self) -> &[Line] {
        self.buffer.lines()
    }
}

/// The words of a layout that keeps rows as they are.
fn words_of_rows(layout: Layout, lines: &mut [Line]) -> &mut [u32] {
    assert!(layout == Layout::Rows, "packed for weights of other types than f32");
    lines.as_flattened_mut()
}

/// Some rows of a packed matrix.
pub struct Band<'a> {
    lines: &'a mut [Line],
    layout: Layout,
    rows: Range<usize>,
    columns: usize,
}

impl Band<'_> {
    /// The rows of the matrix that this band holds.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Writes the rows of this band as codes, `[rows, columns]`, with scales and zero points
    /// `[rows, groups]`; all row-major. Zero points may be empty where the format has none.
    ///
    /// # Panics
    /// If the matrix was not packed for codes, or slices do not fit.
    pub fn fill_codes(&mut self, codes: &[i8], scales: &[f32], zero_points: &[i8]) {
        let Layout::Codes(format) = self.layout else { panic!("packed for weights, not codes") };
        let groups = format.groups(self.columns);
        assert_eq!(codes.len(), self.rows.len() * self.columns);
        assert_eq!(scales.len(), self.rows.len() * groups);
        let expected = if format.has_zero_points() { scales.len() } else { 0 };
        assert_eq!(zero_points.len(), expected);
        let panels = self.lines.chunks_exact_mut(format.lines(self.columns));
        for (number, lines) in panels.enumerate() {
            let rows =
                number * Packed::BAND_STEP..self.rows.len().min((number + 1) * Packed::BAND_STEP);
            let part = |width: usize| rows.start * width..rows.end * width;
            let of_groups = part(groups);
            let zero_points = zero_points.get(of_groups.clone()).unwrap_or_default();
            let row = (&codes[part(self.columns)], &scales[of_groups], zero_points);
            codes::fill(format, self.columns, row, lines);
        }
    }

    /// Writes the rows of this band, `[rows, columns]` and row-major.
    pub fn fill(&mut self, weights: &[f32]) {
        assert_eq!(weights.len(), self.rows.len() * self.columns);
        self.fill_first(weights);
    }

    /// Writes the first rows of this band, `[rows, columns]` and row-major. The others stay zeros.
    pub(crate) fn fill_first(&mut self, weights: &[f32]) {
        assert!(weights.len() <= self.rows.len() * self.columns);
        let panels = weights.chunks(Packed::BAND_STEP * self.columns);
        let lines = self.lines.chunks_exact_mut(self.layout.lines(self.columns));
        for (weights, lines) in panels.zip(lines) {
            match self.layout {
                Layout::Rows => fill::rows(weights, self.columns, lines),
                Layout::Single => fill::single(weights, self.columns, lines),
                Layout::Pairs { .. } => fill::pairs(weights, self.columns, lines),
                Layout::Codes(_) => panic!("packed for codes, not weights"),
            }
        }
    }
}
