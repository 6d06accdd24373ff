//! What of a tensor stays, given the units that do.

use super::axis::Axis;
use super::span::Span;
use crate::Model;
use std::ops::Range;

/// The units that stay in one place, each list ascending; `None` keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Intermediate channels of the layer's MLP, or of the expert.
    pub channels: Option<&'a [usize]>,
    /// Key-value groups of the layer's attention.
    pub groups: Option<&'a [usize]>,
}

/// The places that stay in each dimension of a tensor, in order; neighbours are one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// By dimension: rows, then columns.
    pub dimensions: Vec<Vec<Range<usize>>>,
}

impl Model {
    /// What of a tensor stays when `kept` does in its layer, or in its expert. `None` when it stays
    /// whole because no dimension ranges over an axis that loses something.
    pub fn slices(&self, tensor: &str, kept: Kept<'_>) -> Option<Slice> {
        let spans = self.spans(self.get(tensor)?)?;
        let is_cut = |span: &Span| kept.of(span).is_some();
        if !spans.iter().flatten().any(is_cut) {
            return None;
        }
        Some(Slice { dimensions: spans.iter().map(|spans| sliced(spans, kept)).collect() })
    }
}

impl Slice {
    /// The shape of what stays.
    pub fn shape(&self) -> Vec<usize> {
        self.dimensions.iter().map(|places| places.iter().map(Range::len).sum()).collect()
    }

    /// Rows that stay.
    pub fn rows(&self) -> &[Range<usize>] {
        self.dimensions.first().map_or(&[], Vec::as_slice)
    }

    /// Columns that stay; none of a vector, which has none.
    pub fn columns(&self) -> &[Range<usize>] {
        self.dimensions.get(1).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Kept<'a> {
    fn of(self, span: &Span) -> Option<&'a [usize]> {
        match span.axis? {
            Axis::Ffn => self.channels,
            Axis::Heads => self.groups,
            Axis::Layers => None,
        }
    }
}

fn sliced(spans: &[Span], kept: Kept<'_>) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let mut start = 0;
    for span in spans {
        match kept.of(span) {
            Some(units) => (0..span.copies).for_each(|copy| {
                units.iter().for_each(|&unit| push(&mut places, span.place(start, copy, unit)));
            }),
            None => push(&mut places, start..start + span.length()),
        }
        start += span.length();
    }
    places
}

/// Adds a range, to the last one where that ends at its start.
fn push(places: &mut Vec<Range<usize>>, range: Range<usize>) {
    match places.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => places.push(range),
    }
}
