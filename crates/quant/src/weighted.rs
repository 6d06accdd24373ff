//! Scale search where the error of each column counts by its importance.

use crate::band::{Fit, Tile, quantized};
use crate::extent::Extent;
use crate::nearest::absmax;
use crate::normalized::Room;
use crate::search::fitted;
use crate::sums::{Alike, LANES, Weighted};
use crate::target::{Affine, Target};
use crate::{QuantError, Quantizer, Search};
use llmopt_scheme::{QuantizedMatrix, Scheme};
use llmopt_tensor::Dtype;
use ndarray::ArrayView2;

/// [`Search`] for the least weighted error: column by column, squared errors count by importance.
#[derive(Clone, Debug)]
pub struct WeightedSearch {
    /// By column; the greatest is one.
    importance: Vec<f32>,
}

impl Search {
    /// The search where the squared error of a column counts by its `importance`, such as the sum of
    /// the squares of its inputs. What is not a positive number counts as zero.
    pub fn weighted(importance: &[f64]) -> WeightedSearch {
        let valid = |&value: &f64| if value > 0.0 && value.is_finite() { value } else { 0.0 };
        let greatest = importance.iter().map(valid).fold(0.0, f64::max);
        let relative = |value: &f64| (valid(value) / greatest.max(f64::MIN_POSITIVE)) as f32;
        WeightedSearch { importance: importance.iter().map(relative).collect() }
    }
}

impl Quantizer for WeightedSearch {
    fn name(&self) -> &'static str {
        Search.name()
    }

    fn working_bytes(&self, rows: usize, columns: usize, scheme: &Scheme) -> usize {
        Search.working_bytes(rows, columns, scheme).saturating_mul(2)
    }

    fn quantize(
        &self,
        weights: ArrayView2<'_, f32>,
        scheme: &Scheme,
        scale_dtype: Dtype,
    ) -> Result<QuantizedMatrix, QuantError> {
        let (found, expected) = (self.importance.len(), weights.ncols());
        if found != expected {
            return Err(QuantError::Importance { found, expected });
        }
        quantized(weights, scheme, scale_dtype, WeightedFit::new(&self.importance))
    }
}

/// The search, with what it keeps from tile to tile.
pub(crate) struct WeightedFit<'a> {
    importance: &'a [f32],
    room: Room,
    of_tile: Vec<f32>,
}

impl<'a> WeightedFit<'a> {
    /// `importance` is given by column, and is not negative.
    pub(crate) fn new(importance: &'a [f32]) -> Self {
        Self { importance, room: Room::default(), of_tile: Vec::new() }
    }
}

impl Fit for WeightedFit<'_> {
    #[inline(always)]
    fn fit(&mut self, tile: &Tile<'_>, extent: Extent, target: Target) -> Affine {
        let importance = &self.importance[tile.columns()];
        self.of_tile.clear();
        for _ in tile.segments() {
            self.of_tile.extend_from_slice(importance);
        }
        self.of_tile.resize(tile.len().next_multiple_of(LANES), 0.0);
        let nearest = absmax(extent, target);
        let tile = self.room.normalized(tile, extent);
        if importance.iter().all(|&value| value == 0.0) {
            return fitted(Alike, &tile, nearest, target);
        }
        fitted(Weighted(self.of_tile.as_chunks().0), &tile, nearest, target)
    }
}
