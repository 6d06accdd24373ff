//! Weights that stay codes: how they lie in memory, and the product of integers with them.
//!
//! Inputs become integers, too: sixteen bits in two bytes, or eight. Sums over a segment of columns are
//! exact, so that every kernel, batch and thread count gives the same bits; only then do scales enter,
//! segment after segment, each product rounded before it is added.

mod inputs;
mod multiply;
mod panel;

pub use inputs::{CodedInputs, InputCodes};
pub(crate) use inputs::{STRIP, Strip};
pub(crate) use multiply::{CodeKernel, multiply};
pub(crate) use panel::{Panel, Segment, fill};

/// How the codes of a matrix are laid out. Rows come in panels of sixteen. A panel is, for each group of
/// columns, a line of sixteen scales, a line of zero points where there are any, and then lines whose
/// word `r` holds consecutive columns of row `r`: four of eight bits, eight of four, sixteen of two.
///
/// Codes are stored from zero up. Those of several columns share a byte so that a shift and a mask give
/// four neighbouring columns: the lowest bits of the four bytes are columns 0 to 3, the next 4 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFormat {
    bits: u32,
    /// Columns that share a scale.
    group: usize,
    zero_points: bool,
}

/// Columns whose products are summed as integers at most. With codes of eight bits and inputs of sixteen
/// their sum stays below 2^31.
pub(crate) const SEGMENT: usize = 128;

/// Columns that kernels take at once.
pub(crate) const STEP: usize = 16;

impl CodeFormat {
    /// Codes of up to `bits` bits, of which `group` columns share a scale: all of `columns` for a scale
    /// per row. `None` where no kernel takes them: groups must be 16, 32, 64 or a multiple of 128, and
    /// divide the columns.
    pub fn new(bits: u8, group: usize, columns: usize, zero_points: bool) -> Option<Self> {
        let bits = match bits {
            1 | 2 => 2,
            3 | 4 => 4,
            5..=8 => 8,
            _ => return None,
        };
        let whole = group >= columns;
        let aligned = group.is_multiple_of(SEGMENT) || [16, 32, 64].contains(&group);
        let fits = whole || (aligned && columns.is_multiple_of(group));
        let group = group.min(columns);
        (fits && group > 0).then_some(Self { bits, group, zero_points })
    }

    /// Bits that a code takes in memory: 2, 4 or 8.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// What is added to a signed code to make the least one zero.
    pub(crate) fn offset(self) -> i32 {
        1 << (self.bits - 1)
    }

    /// Columns that a word of a line holds.
    pub(crate) fn columns_of_a_word(self) -> usize {
        32 / self.bits as usize
    }

    /// Columns whose products are summed as integers.
    pub(crate) fn segment(self) -> usize {
        self.group.min(SEGMENT)
    }

    pub(crate) fn group(self) -> usize {
        self.group
    }

    /// Whether zero points are kept.
    pub fn has_zero_points(self) -> bool {
        self.zero_points
    }

    /// Scales of a row.
    pub fn groups(self, columns: usize) -> usize {
        columns.div_ceil(self.group)
    }

    /// Lines of a panel.
    pub(crate) fn lines(self, columns: usize) -> usize {
        let of_scales = 1 + usize::from(self.zero_points);
        let of_codes = columns.next_multiple_of(STEP).div_ceil(self.columns_of_a_word());
        self.groups(columns) * of_scales + of_codes
    }
}

#[cfg(test)]
mod tests;
