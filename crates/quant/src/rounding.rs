//! A matrix between rounding and descent, from which several methods go on.

use crate::settings::Descent;
use crate::solver::Solver;
use crate::work::{Rounded, Work};
use llmopt_scheme::{Scheme, Tiles};

/// A matrix whose columns are rounded: the codes of a method without descent, and where one with
/// descent begins. A copy goes on to the same bits as the original.
#[derive(Clone)]
pub struct Rounding<'s> {
    pub(crate) solver: &'s Solver<'s>,
    pub(crate) work: Work,
}

impl Rounding<'_> {
    /// With codes and scales gone over again, if they are.
    #[must_use]
    pub fn descended(mut self, descent: Option<Descent>) -> Self {
        if let Some(Descent { rounds }) = descent {
            self.solver.descend(&mut self.work, rounds);
        }
        self
    }

    /// The codes, and the errors that they leave.
    pub fn finished(self) -> Rounded {
        self.work.finished(self.solver.unit, self.solver.damping)
    }

    /// The memory that one holds.
    pub fn bytes(rows: usize, columns: usize, scheme: &Scheme) -> u64 {
        Tiles::new(scheme.granularity, rows, columns).map_or(0, |tiles| Work::bytes(tiles) as u64)
    }
}
