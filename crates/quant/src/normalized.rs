//! A tile as the search sees it: side by side, and of ordinary size.

use crate::band::Tile;
use crate::extent::Extent;
use crate::sums::{LANES, sum_of_squares};

/// A tile times a power of two that brings its greatest magnitude close to one, so that sums of
/// squares neither overflow nor vanish.
pub(crate) struct Normalized<'a> {
    /// Zeros fill the last lanes. They change no sum.
    pub(crate) weights: &'a [[f32; LANES]],
    /// How many there are without them.
    pub(crate) count: usize,
    pub(crate) extent: Extent,
    /// What the weights were multiplied by.
    pub(crate) factor: f32,
    /// Root of the mean of the squares.
    pub(crate) root_mean_square: f32,
}

/// Room for the weights of a tile, kept from one to the next.
#[derive(Default)]
pub(crate) struct Room(Vec<f32>);

impl Room {
    #[inline(always)]
    pub(crate) fn normalized(&mut self, tile: &Tile<'_>, extent: Extent) -> Normalized<'_> {
        let factor = normalizing_factor(extent.magnitude());
        self.0.resize(tile.len().next_multiple_of(LANES), 0.0);
        let mut rest = &mut self.0[..];
        for segment in tile.segments() {
            let (filled, after) = rest.split_at_mut(segment.len());
            for (normalized, &weight) in filled.iter_mut().zip(segment) {
                *normalized = weight * factor;
            }
            rest = after;
        }
        rest.fill(0.0);
        let weights = self.0.as_chunks().0;
        let mean_square = sum_of_squares(weights) / tile.len() as f64;
        let root_mean_square = mean_square.sqrt() as f32;
        Normalized {
            weights,
            count: tile.len(),
            extent: extent.scaled(factor),
            factor,
            root_mean_square,
        }
    }
}

/// The power of two that takes `magnitude` to [1, 2), as far as there is a normal number for it.
#[inline(always)]
fn normalizing_factor(magnitude: f32) -> f32 {
    let exponent = (magnitude.to_bits() >> 23) as i32 - 127;
    f32::from_bits(((127 - exponent.clamp(-126, 126)) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_brought_close_to_one() {
        let check = |magnitude: f32, expected| {
            assert_eq!(magnitude * normalizing_factor(magnitude), expected, "{magnitude}");
        };
        check(1.0, 1.0);
        check(0.75, 1.5);
        check(96.0, 1.5);
        check(f32::MIN_POSITIVE, 1.0);
        check(f32::MAX, 3.999_999_8);
        // The least subnormal cannot reach one with one multiplication.
        check(1e-45, 1.0 / 8_388_608.0);
    }
}
