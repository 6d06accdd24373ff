//! What a site's inputs showed, made ready for the matrices that read it.

use crate::moments::Moments;
use crate::settings::Settings;
use llmopt_linalg::{Damping, Factor, Gemm, Symmetric, Undamped};
use rayon::prelude::*;

/// The order of columns and the factor of the Gram matrix that rounding goes by. Made once for the
/// matrices that share an input.
///
/// Work is spread over the rayon pool in which it is called. Results do not depend on the number of
/// threads.
pub struct Solver<'a> {
    pub(crate) gemm: Gemm,
    pub(crate) moments: Moments<'a>,
    pub(crate) settings: Settings,
    /// The column at each place. The last place is rounded first.
    pub(crate) order: Vec<usize>,
    /// Of the Gram matrix in this order, times `unit` and with `damping` on its diagonal.
    pub(crate) factor: Factor,
    /// What makes the mean of the Gram matrix's diagonal one.
    pub(crate) unit: f64,
    pub(crate) damping: f64,
    /// What the square of a column's rounding error costs once the columns after it have made up for
    /// what they can: the square of the factor's diagonal. By column, the greatest at most one.
    pub(crate) importance: Vec<f32>,
    dead_columns: usize,
}

/// Why there is no solver.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SolverError {
    /// The moments are wrong.
    #[error("a second moment of the inputs is not finite")]
    NotFinite,
    /// The moments are wrong: what they sum up cannot have been squares.
    #[error("the Gram matrix of the inputs has no Cholesky factor, even with damping {damping}")]
    NotPositiveDefinite {
        /// The damping tried last.
        damping: f64,
    },
}

impl From<Undamped> for SolverError {
    fn from(undamped: Undamped) -> Self {
        match undamped {
            Undamped::NotFinite => Self::NotFinite,
            Undamped::NotPositiveDefinite { share } => Self::NotPositiveDefinite { damping: share },
        }
    }
}

impl<'a> Solver<'a> {
    /// Makes the moments ready for methods with these settings. Of `gemm`, what computes in f32 is taken:
    /// [`Gemm::in_f32`].
    ///
    /// Allocates [`Solver::prepare_bytes`].
    ///
    /// # Errors
    /// [`SolverError`] if the moments are not those of finite inputs.
    pub fn prepare(
        gemm: Gemm,
        moments: &Moments<'a>,
        settings: &Settings,
    ) -> Result<Self, SolverError> {
        let diagonal = moments.gram.diagonal();
        let order = order(&diagonal, settings);
        let gemm = gemm.in_f32();
        let (factor, damping) = moments.gram.damped_cholesky_by(gemm, &order, settings.damping)?;
        let Damping { unit, share: damping } = damping;
        let importance = importance(&factor, &order);
        let dead_columns = diagonal.iter().filter(|&&value| value == 0.0).count();
        let (moments, settings) = (*moments, *settings);
        Ok(Self { gemm, moments, settings, order, factor, unit, damping, importance, dead_columns })
    }

    /// The most memory that [`Solver::prepare`] takes on so many threads; what the solver keeps,
    /// [`Solver::bytes`], is part of it.
    pub fn prepare_bytes(gemm: Gemm, columns: usize, threads: usize) -> u64 {
        let vectors = columns * (2 * size_of::<f64>() + size_of::<usize>() + size_of::<f32>());
        let factoring = Symmetric::cholesky_by_bytes(gemm, columns, threads);
        Symmetric::bytes(columns) + (vectors + factoring) as u64
    }

    /// The memory that a solver holds.
    pub fn bytes(columns: usize) -> u64 {
        Factor::bytes(columns) + (columns * (size_of::<usize>() + size_of::<f32>())) as u64
    }

    /// Length of an input.
    pub fn columns(&self) -> usize {
        self.order.len()
    }

    /// What was added to the diagonal of the Gram matrix, relative to its mean.
    pub fn damping(&self) -> f64 {
        self.damping
    }

    /// How many columns saw zeros alone. They get the codes nearest to them, and no other column
    /// hears of their errors.
    pub fn dead_columns(&self) -> usize {
        self.dead_columns
    }

    /// Writes rows of the damped Gram matrix, by column and not in the solver's order.
    pub(crate) fn damped_rows(&self, rows: std::ops::Range<usize>, out: &mut [f32]) {
        let mut elements = vec![0.0; self.columns()];
        for (row, out) in rows.zip(out.chunks_exact_mut(self.columns())) {
            self.moments.gram.copy_row(row, &mut elements);
            for (out, element) in out.iter_mut().zip(&elements) {
                *out = (element * self.unit) as f32;
            }
            out[row] = (elements[row] * self.unit + self.damping) as f32;
        }
    }
}

/// The columns, those to be rounded first at the end.
fn order(diagonal: &[f64], settings: &Settings) -> Vec<usize> {
    let mut order: Vec<usize> = (0..diagonal.len()).collect();
    if settings.act_order {
        let group = settings.group.unwrap_or(diagonal.len()).max(1);
        let sums: Vec<f64> = diagonal.chunks(group).map(|group| group.iter().sum()).collect();
        let descending = |values: &[f64], a: usize, b: usize| values[b].total_cmp(&values[a]);
        order.par_sort_by(|&a, &b| {
            let groups =
                descending(&sums, a / group, b / group).then((a / group).cmp(&(b / group)));
            groups.then(descending(diagonal, a, b))
        });
    }
    order.reverse();
    order
}

fn importance(factor: &Factor, order: &[usize]) -> Vec<f32> {
    let diagonal = factor.diagonal();
    let greatest = diagonal.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut importance = vec![0.0; order.len()];
    for (&column, &value) in order.iter().zip(&diagonal) {
        importance[column] = (value / greatest).powi(2) as f32;
    }
    importance
}
