//! The norm of what a unit consists of: the baseline that needs no data.

/// Where a matrix, row-major, has the weights of units.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// Each unit owns neighbouring rows, the same number of them.
    Rows(&'a [f32]),
    /// Each unit owns neighbouring columns of a matrix with `columns`, the same number of them.
    Columns {
        /// The weights.
        weights: &'a [f32],
        /// Columns of the matrix.
        columns: usize,
    },
}

/// The Euclidean norm of all the weights that a unit owns, for each unit: for an intermediate channel
/// its rows of gate and up and its column of down. Allocates the result and a row of numbers.
///
/// # Panics
/// If a matrix does not have the same number of weights for each unit.
pub fn magnitude(sides: &[Side<'_>], units: usize) -> Vec<f64> {
    let mut sums = vec![0.0; units];
    for side in sides {
        match *side {
            Side::Rows(weights) => add(&mut sums, weights),
            Side::Columns { weights, columns } => {
                assert!(columns > 0 && weights.len().is_multiple_of(columns), "whole rows");
                weights.chunks_exact(columns).for_each(|row| add(&mut sums, row));
            }
        }
    }
    sums.iter().map(|sum| sum.sqrt()).collect()
}

/// Adds the squares of each unit's neighbouring weights.
fn add(sums: &mut [f64], weights: &[f32]) {
    assert!(!sums.is_empty() && weights.len().is_multiple_of(sums.len()), "whole units");
    let units = weights.chunks(weights.len() / sums.len());
    for (sum, unit) in sums.iter_mut().zip(units) {
        *sum += unit.iter().map(|&weight| f64::from(weight).powi(2)).sum::<f64>();
    }
}
