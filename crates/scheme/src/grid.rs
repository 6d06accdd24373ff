//! The values that the codes of one matrix can stand for.

use crate::{Levels, Tiles};

/// Levels, scaled and shifted per tile: a weight is `scale * (level - zero point)`.
///
/// Scales are as they will be stored, rounded, before any code is chosen. `value` is all that an
/// algorithm needs to ask; the fields are for those who build and store grids.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// What a code stands for before it is scaled.
    pub levels: Levels,
    /// Which scale belongs to which weight.
    pub tiles: Tiles,
    /// A scale per tile; negative ones mirror the levels.
    pub scales: Vec<f32>,
    /// A zero point per tile, in units of the scale; empty when all are zero.
    pub zero_points: Vec<i8>,
}

impl Grid {
    /// The weight that `code` stands for at `row`, `column`.
    pub fn value(&self, row: usize, column: usize, code: i8) -> f32 {
        let tile = self.tiles.index(row, column);
        self.scales[tile] * (self.levels.value(code) - self.zero_point(tile))
    }

    /// The code whose value lies nearest to `weight` at `row`, `column`.
    pub fn nearest(&self, row: usize, column: usize, weight: f32) -> i8 {
        let tile = self.tiles.index(row, column);
        let level = self.levels.nearest(weight / self.scales[tile] + self.zero_point(tile));
        self.levels.code(level)
    }

    /// The zero point of a tile.
    #[inline(always)]
    pub fn zero_point(&self, tile: usize) -> f32 {
        self.zero_points.get(tile).map_or(0.0, |&zero| f32::from(zero))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Granularity, Numeric};

    #[test]
    fn values_are_scaled_and_shifted_by_their_tile() {
        let grid = Grid {
            levels: Levels::new(Numeric::Int { bits: 4 }),
            tiles: Tiles::new(Granularity::Group(2), 2, 4).expect("divides"),
            scales: vec![0.5, 2.0, -1.0, 4.0],
            zero_points: vec![0, 1, -2, 7],
        };
        let check = |row, column, code, value: f32| {
            assert_eq!(grid.value(row, column, code), value);
            assert_eq!(grid.nearest(row, column, value), code);
        };
        check(0, 1, -8, -4.0);
        check(0, 2, 3, 4.0);
        check(1, 0, 3, -5.0);
        check(1, 3, -8, -60.0);
    }
}
