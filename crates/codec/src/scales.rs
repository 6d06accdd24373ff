//! Scales as stored: rounded to the model's dtype, one per tile, row by row.

use crate::DecodeError;
use llmopt_scheme::{Numeric, QuantizedMatrix, Tiles};
use llmopt_tensor::{Dtype, rounded};

/// The bytes of `scales`, which `dtype` holds exactly.
pub(crate) fn encode(scales: &[f32], dtype: Dtype) -> Vec<u8> {
    let exact = |&scale: &f32| rounded(dtype, scale) == scale;
    debug_assert!(scales.iter().all(exact), "scales are rounded before codes are chosen");
    let mut bytes = vec![0; scales.len() * dtype.bits() / 8];
    llmopt_tensor::encode(dtype, scales, &mut bytes).expect("scales have a plain float type");
    bytes
}

/// The scales in `bytes`, all of them finite.
pub(crate) fn decode(bytes: &[u8], dtype: Dtype, tiles: Tiles) -> Result<Vec<f32>, DecodeError> {
    let mut scales = vec![0.0; tiles.count()];
    llmopt_tensor::decode(dtype, bytes, &mut scales).expect("scales have a plain float type");
    match scales.iter().position(|scale| !scale.is_finite()) {
        Some(tile) => {
            let (down, across) = (tile / tiles.across(), tile % tiles.across());
            Err(DecodeError::Scale { down, across, value: scales[tile] })
        }
        None => Ok(scales),
    }
}

/// Refuses a scale of zero, unless every code under it stands for zero anyway.
pub(crate) fn check_zeros(matrix: &QuantizedMatrix, weights: Numeric) -> Result<(), DecodeError> {
    let tiles = matrix.grid.tiles;
    for (tile, _) in matrix.grid.scales.iter().enumerate().filter(|(_, scale)| **scale == 0.0) {
        let zero = matrix.grid.zero_points.get(tile).copied().unwrap_or(0);
        // E4M3 has a negative zero.
        let is_zero = |code: i8| match weights {
            Numeric::Int { .. } => code == zero,
            Numeric::E4m3 => code & 0x7f == 0,
        };
        let (down, across) = (tile / tiles.across(), tile % tiles.across());
        let mut rows = tiles.row_range(down);
        let columns = tiles.column_range(across);
        let codes = |row: usize| {
            let start = row * tiles.columns();
            &matrix.codes[start + columns.start..start + columns.end]
        };
        if !rows.all(|row| codes(row).iter().copied().all(is_zero)) {
            return Err(DecodeError::ZeroScale { down, across });
        }
    }
    Ok(())
}
