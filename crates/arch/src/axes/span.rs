//! Dimensions as runs of units, from the expressions of a family's shapes.

use super::axis::Axis;
use super::data::{GROUPS, HEADS};
use crate::expression::Expression;
use crate::{Family, sizes::Sizes};
use std::ops::Range;

/// A part of a dimension: `copies` times, one after the other, `units` runs of `width` places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Whose units; without one, they are no units of any axis.
    pub(crate) axis: Option<Axis>,
    /// The dimension of the family's file that counts the units.
    pub(crate) size: &'static str,
    pub(crate) copies: usize,
    pub(crate) units: usize,
    pub(crate) width: usize,
}

impl Span {
    /// The spans of a dimension, in order. `None` when its units do not lie together.
    pub(crate) fn all(
        expression: &'static Expression,
        family: &'static Family,
        sizes: &Sizes,
    ) -> Option<Vec<Self>> {
        let is_unit = |name: &str| family.axes.of_size(name).is_some();
        let terms = expression.terms(is_unit, |name| sizes.find(name))?;
        let span = |term: crate::expression::Term<'static>| {
            let Some(unit) = term.unit else { return Some(Self::fixed(term.width)) };
            // The query heads that read a group lie together, in the order of the groups.
            let (size, heads) = match unit {
                HEADS => (GROUPS, heads_per_group(sizes)?),
                _ => (unit, 1),
            };
            Some(Self {
                axis: family.axes.of_size(unit),
                size,
                copies: term.copies,
                units: sizes.find(size)?,
                width: heads.checked_mul(term.width)?,
            })
        };
        terms.into_iter().map(span).collect()
    }

    /// Places that stay whatever is pruned.
    fn fixed(width: usize) -> Self {
        Self { axis: None, size: "", copies: 1, units: 1, width }
    }

    pub(crate) fn length(&self) -> usize {
        self.copies * self.units * self.width
    }

    /// The places of a unit in one copy, for a span that begins at `start`.
    pub(crate) fn place(&self, start: usize, copy: usize, unit: usize) -> Range<usize> {
        let first = start + (copy * self.units + unit) * self.width;
        first..first + self.width
    }
}

/// Query heads that read a group, if that is a whole number.
pub(crate) fn heads_per_group(sizes: &Sizes) -> Option<usize> {
    let (heads, groups) = (sizes.find(HEADS)?, sizes.find(GROUPS)?);
    heads.is_multiple_of(groups).then(|| heads / groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the sizes are, every dimension can be cut.
    #[test]
    fn every_shape_of_every_family_is_made_of_spans() {
        for family in Family::all() {
            let templates = family.before.iter().chain(&family.block.tensors).chain(&family.after);
            let is_unit = |name: &str| family.axes.of_size(name).is_some();
            for dimension in templates.flat_map(|template| &template.shape) {
                let terms = dimension.terms(is_unit, |_| Some(1));
                assert!(terms.is_some(), "{} {dimension:?}", family.name());
            }
        }
    }
}
