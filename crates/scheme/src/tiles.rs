//! Which scale belongs to which weight.

use crate::Granularity;
use std::ops::Range;

/// A matrix cut into tiles, each with one scale. Channels, groups and blocks are all tiles, so that
/// no algorithm tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
}

/// Why a matrix cannot be cut as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Groups must fill a row.
    #[error("a row of {columns} columns is no whole number of groups of {group}")]
    Group {
        /// Length of a row.
        columns: usize,
        /// Length of a group.
        group: usize,
    },
    /// A tile without area.
    #[error("a tile of no rows or no columns")]
    Empty,
}

impl Tiles {
    /// Cuts a matrix of `rows` by `columns`.
    ///
    /// # Errors
    /// [`TileError`] if groups do not divide a row or a tile has no area.
    pub fn new(granularity: Granularity, rows: usize, columns: usize) -> Result<Self, TileError> {
        let (tile_rows, tile_columns) = match granularity {
            Granularity::Channel => (1, columns.max(1)),
            Granularity::Group(group) if group > 0 && !columns.is_multiple_of(group) => {
                return Err(TileError::Group { columns, group });
            }
            Granularity::Group(group) => (1, group),
            Granularity::Block { rows, columns } => (rows, columns),
        };
        if tile_rows == 0 || tile_columns == 0 {
            return Err(TileError::Empty);
        }
        Ok(Self { rows, columns, tile_rows, tile_columns })
    }

    /// The same tiles over so many rows.
    pub fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Height of a tile; the lowest may be less high.
    pub fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// Width of a tile; the rightmost may be narrower.
    pub fn tile_columns(&self) -> usize {
        self.tile_columns
    }

    /// Tiles from top to bottom.
    pub fn down(&self) -> usize {
        self.rows.div_ceil(self.tile_rows)
    }

    /// Tiles from left to right.
    pub fn across(&self) -> usize {
        self.columns.div_ceil(self.tile_columns)
    }

    /// Tiles in all.
    pub fn count(&self) -> usize {
        self.down() * self.across()
    }

    /// The tile of a weight; tiles are numbered row by row.
    pub fn index(&self, row: usize, column: usize) -> usize {
        row / self.tile_rows * self.across() + column / self.tile_columns
    }

    /// The rows that the tiles of row `down` of tiles cover.
    pub fn row_range(&self, down: usize) -> Range<usize> {
        let first = down * self.tile_rows;
        first..(first + self.tile_rows).min(self.rows)
    }

    /// The columns that the tiles of column `across` of tiles cover.
    pub fn column_range(&self, across: usize) -> Range<usize> {
        let first = across * self.tile_columns;
        first..(first + self.tile_columns).min(self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_lies_in_the_ranges_of_its_tile() {
        let check = |granularity, rows, columns, count| {
            let tiles = Tiles::new(granularity, rows, columns).expect("divides");
            assert_eq!(tiles.count(), count, "{granularity:?}");
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                let tile = tiles.index(row, column);
                assert!(tiles.row_range(tile / tiles.across()).contains(&row));
                assert!(tiles.column_range(tile % tiles.across()).contains(&column));
            }
        };
        check(Granularity::Channel, 3, 7, 3);
        check(Granularity::Group(4), 3, 12, 9);
        check(Granularity::Block { rows: 4, columns: 5 }, 9, 11, 9);
    }

    #[test]
    fn groups_must_divide_a_row() {
        let error = Tiles::new(Granularity::Group(5), 2, 12).expect_err("12 / 5");
        assert_eq!(error.to_string(), "a row of 12 columns is no whole number of groups of 5");
        assert_eq!(Tiles::new(Granularity::Group(0), 2, 12), Err(TileError::Empty));
    }
}
