//! A panel of sixteen rows: its segments, and how it is filled.

use super::{CodeFormat, STEP};
use crate::buffer::Line;

/// Sixteen rows of codes with their scales, or panel after panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) format: CodeFormat,
    pub(crate) columns: usize,
    pub(crate) lines: &'a [Line],
}

/// Some columns of a panel, within one group.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// A scale per row, as the bits of f32.
    pub(crate) scales: &'a Line,
    /// A zero point per row, counted from the least code, as the bits of i32.
    pub(crate) zero_points: Option<&'a Line>,
    /// The codes, and whatever lies behind them.
    pub(crate) codes: &'a [Line],
    /// Columns, filled up to whole steps.
    pub(crate) columns: usize,
    /// The first column.
    pub(crate) start: usize,
}

impl<'a> Panel<'a> {
    /// The segments, in the order of their columns.
    #[inline(always)]
    pub(crate) fn segments(self) -> impl Iterator<Item = Segment<'a>> {
        let Self { format, columns, lines } = self;
        let (mut start, mut line, mut of_group) = (0, 0, 0);
        std::iter::from_fn(move || {
            if start >= columns {
                return None;
            }
            if start.is_multiple_of(format.group()) {
                of_group = line;
                line += 1 + usize::from(format.has_zero_points());
            }
            let width = format.segment().min(columns - start).next_multiple_of(STEP);
            let segment = Segment {
                scales: &lines[of_group],
                zero_points: format.has_zero_points().then(|| &lines[of_group + 1]),
                codes: &lines[line..],
                columns: width,
                start,
            };
            start += width;
            line += width / format.columns_of_a_word();
            Some(segment)
        })
    }
}

/// Fills a panel with up to sixteen rows: codes `[rows, columns]`, scales and zero points
/// `[rows, groups]`, of which the latter may be empty where the format has none.
pub(crate) fn fill(
    format: CodeFormat,
    columns: usize,
    (codes, scales, zero_points): (&[i8], &[f32], &[i8]),
    lines: &mut [Line],
) {
    let groups = format.groups(columns);
    let mut line = 0;
    for group in 0..groups {
        for (row, scales) in scales.chunks_exact(groups).enumerate() {
            lines[line][row] = scales[group].to_bits();
        }
        line += 1;
        if format.has_zero_points() {
            for (row, zero_points) in zero_points.chunks_exact(groups).enumerate() {
                lines[line][row] = (i32::from(zero_points[group]) + format.offset()) as u32;
            }
            line += 1;
        }
        let range = group * format.group()..columns.min((group + 1) * format.group());
        let of_codes = range.len().next_multiple_of(STEP) / format.columns_of_a_word();
        for (row, codes) in codes.chunks_exact(columns).enumerate() {
            fill_row(format, &codes[range.clone()], row, &mut lines[line..][..of_codes]);
        }
        line += of_codes;
    }
}

fn fill_row(format: CodeFormat, codes: &[i8], row: usize, lines: &mut [Line]) {
    let per_step = STEP / format.columns_of_a_word();
    let (steps, rest) = codes.as_chunks::<STEP>();
    let mut last = [-format.offset() as i8; STEP];
    last[..rest.len()].copy_from_slice(rest);
    let last = std::iter::once(&last).filter(|_| !rest.is_empty());
    for (codes, lines) in steps.iter().chain(last).zip(lines.chunks_exact_mut(per_step)) {
        let words = words(format, codes);
        for (line, word) in lines.iter_mut().zip(words) {
            line[row] = word;
        }
    }
}

/// The words of a step; two bits fill one of them, four bits two, eight all.
fn words(format: CodeFormat, codes: &[i8; STEP]) -> [u32; 4] {
    let offset = format.offset() as u8;
    let from_zero = codes.map(|code| (code as u8).wrapping_add(offset));
    let of = |first: usize| {
        u32::from_le_bytes([
            from_zero[first],
            from_zero[first + 1],
            from_zero[first + 2],
            from_zero[first + 3],
        ])
    };
    match format.bits() {
        8 => [of(0), of(4), of(8), of(12)],
        4 => [of(0) | of(4) << 4, of(8) | of(12) << 4, 0, 0],
        _ => [of(0) | of(4) << 2 | of(8) << 4 | of(12) << 6, 0, 0, 0],
    }
}
