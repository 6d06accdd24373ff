//! Running a phase.

use crate::batch::Batch;
use crate::bind::bind;
use crate::buffers::Buffers;
use crate::chunk;
use crate::error::ForwardError;
use crate::matrix::Matrix;
use crate::ops::attention::{attend, kept_of};
use crate::ops::experts::{gather, scatter};
use crate::ops::finite::first_row_not_finite;
use crate::outline::{Outline, Segment, Work};
use crate::segment::Ropes;
use crate::state::State;
use crate::taps::Taps;
use crate::weights::Weights;
use llmopt_arch::program::{Attention, Phase, Program, Tap};
use llmopt_linalg::{Gemm, give_back_freed};
use std::sync::Arc;

/// Runs programs. It spreads work over the threads of the rayon pool in which it is called; results
/// do not depend on their number.
///
/// It keeps the memory that a run worked in for the next one, no more than
/// [`Engine::working_bytes`] of the last, until [`Engine::release`].
#[derive(Clone)]
pub struct Engine {
    pub(crate) gemm: Gemm,
    pub(crate) buffers: Arc<Buffers>,
}

impl Engine {
    /// An engine on this matrix product, for which all weights must be packed.
    pub fn new(gemm: Gemm) -> Self {
        Self { gemm, buffers: Arc::default() }
    }

    /// The matrix product.
    pub fn gemm(&self) -> Gemm {
        self.gemm
    }

    /// Gives the memory of the last run back to the system: before much else is allocated.
    pub fn release(&self) {
        self.buffers.release();
        give_back_freed();
    }

    /// Keeps the memory of a matrix that an engine made, for its next run.
    pub fn recycle(&self, matrix: Matrix) {
        self.buffers.give(matrix.into_values());
    }

    /// Runs `phase` on the rows of `batch`: takes the taps that it reads, and leaves those that it
    /// carries. With a state, attention goes on where each sequence stopped in this layer.
    ///
    /// # Errors
    /// [`ForwardError`], and then taps and state are of no further use.
    pub fn run(
        &self,
        program: &Program,
        phase: &Phase,
        weights: &Weights,
        batch: &Batch,
        taps: &mut Taps,
        state: Option<(&mut State, usize)>,
    ) -> Result<(), ForwardError> {
        self.passed(program, phase, weights, batch, taps, state, &[]).map(drop)
    }

    /// As [`Engine::run`] on whole sequences, and returns what the taps `watched` held in the end, in
    /// their order: also those whose rows are the tokens of one expert.
    ///
    /// # Errors
    /// [`ForwardError`], and then taps are of no further use.
    pub fn observe(
        &self,
        program: &Program,
        phase: &Phase,
        weights: &Weights,
        batch: &Batch,
        taps: &mut Taps,
        watched: &[Tap],
    ) -> Result<Vec<Matrix>, ForwardError> {
        self.passed(program, phase, weights, batch, taps, None, watched)
    }

    #[expect(clippy::too_many_arguments, reason = "what `run` and `observe` take, together")]
    fn passed(
        &self,
        program: &Program,
        phase: &Phase,
        weights: &Weights,
        batch: &Batch,
        taps: &mut Taps,
        state: Option<(&mut State, usize)>,
        watched: &[Tap],
    ) -> Result<Vec<Matrix>, ForwardError> {
        let outline = Outline::new(program, phase, watched)?;
        let threads = rayon::current_num_threads();
        let limit = self.observing_bytes(program, phase, batch, watched, threads)?;
        self.buffers.begin(limit as usize);
        let mut run = Run {
            gemm: self.gemm,
            buffers: &self.buffers,
            program,
            phase,
            weights,
            batch,
            taps,
            state,
            ropes: Ropes::default(),
            rows: batch.tokens(),
        };
        run.begin(&outline)?;
        for stage in &outline.stages {
            run.stage(&stage.work)?;
            run.let_go(&stage.ends);
        }
        let seen = run.seen(watched)?;
        run.end(&outline)?;
        Ok(seen)
    }
}

struct Run<'a> {
    gemm: Gemm,
    buffers: &'a Buffers,
    program: &'a Program,
    phase: &'a Phase,
    weights: &'a Weights,
    batch: &'a Batch,
    taps: &'a mut Taps,
    state: Option<(&'a mut State, usize)>,
    ropes: Ropes,
    /// Of the batch.
    rows: usize,
}

impl<'a> Run<'a> {
    /// Lets go of what the phase neither reads nor carries, and looks whether the rest fits.
    fn begin(&mut self, outline: &Outline<'_>) -> Result<(), ForwardError> {
        self.taps
            .retain(|tap| outline.begins_with.contains(&tap) || self.phase.carried.contains(&tap));
        for &tap in &outline.begins_with {
            self.whole(tap)?;
        }
        let fits = |tap: Tap, matrix: &Matrix| {
            tap.0 < self.program.taps.len()
                && matrix.columns() == self.program.width(tap)
                && self.fits(matrix.rows())
        };
        let strange = self.taps.iter().find(|(tap, matrix)| !fits(*tap, matrix));
        match strange.map(|(tap, matrix)| (tap, matrix.rows(), matrix.columns())) {
            Some((tap, rows, columns)) => Err(self.unfit(tap, format!("{rows} by {columns}"))),
            None => Ok(()),
        }
    }

    fn stage(&mut self, work: &Work<'a>) -> Result<(), ForwardError> {
        match work {
            Work::Rows(segment) => self.rows(segment),
            Work::Attend(attention) => self.attend(attention),
            &Work::Gather { input, routes, expert, output } => {
                let (input, routes) = (self.of_batch(input)?, self.of_batch(routes)?);
                let rows = gather(self.buffers, input, routes, expert);
                self.taps.insert(output, rows);
                Ok(())
            }
            &Work::Scatter { input, routes, expert, output } => {
                if self.taps.get(output).is_some() {
                    self.of_batch(output)?;
                }
                let zeros = || Matrix::zeros(self.rows, self.program.width(output));
                let mut sums = self.taps.take(output).unwrap_or_else(zeros);
                let routes = self.of_batch(routes)?;
                let fits = scatter(self.whole(input)?, routes, expert, &mut sums);
                self.taps.insert(output, sums);
                let what = || format!("scatter: rows of another expert than {expert}");
                if fits { Ok(()) } else { Err(ForwardError::program(self.phase, what())) }
            }
        }
    }

    fn rows(&mut self, segment: &Segment<'a>) -> Result<(), ForwardError> {
        let (program, phase) = (self.program, self.phase);
        let bound = bind(program, phase, segment, self.weights, self.batch, &mut self.ropes)?;
        let mut written = Vec::new();
        for &tap in &segment.changes {
            written.push(self.taps.take(tap).ok_or_else(|| self.unfit(tap, "missing"))?);
        }
        let read: Result<Vec<&Matrix>, _> =
            segment.reads.iter().map(|&tap| self.whole(tap)).collect();
        let read = read?;
        let rows = match segment.rotates() {
            true => self.rows,
            false => read.first().copied().or(written.first()).map_or(self.rows, Matrix::rows),
        };
        let taken = segment.reads.iter().zip(read.iter().copied());
        let mut taken = taken.chain(segment.changes.iter().zip(&written));
        if let Some((&tap, matrix)) = taken.find(|(_, matrix)| matrix.rows() != rows) {
            return Err(self.unfit(tap, format!("{} rows beside {rows}", matrix.rows())));
        }
        let made = segment.makes.iter().map(|&tap| self.buffers.matrix(rows, program.width(tap)));
        written.extend(made);
        chunk::run(self.gemm, self.buffers, &bound, &self.ropes, rows, &read, &mut written);
        for (&tap, matrix) in segment.changes.iter().chain(&segment.makes).zip(written) {
            self.taps.insert(tap, matrix);
        }
        Ok(())
    }

    fn attend(&mut self, attention: &Attention) -> Result<(), ForwardError> {
        let wrong = |what| ForwardError::State { phase: self.phase.name.clone(), what };
        let mut state = self.state.take();
        let kept = match &mut state {
            Some((state, layer)) => Some(state.of(*layer, attention, self.batch)),
            None => self.batch.begins_later().map(Err),
        };
        let kept = kept.transpose().map_err(wrong)?;
        let (key, value) = (self.of_batch(attention.key)?, self.of_batch(attention.value)?);
        let gemm = self.gemm.in_f32();
        let of_batch;
        let kept = match kept {
            Some(kept) => {
                for (kept, (_, rows)) in kept.iter_mut().zip(self.batch.rows()) {
                    kept.extend(gemm, key.rows_of(rows.clone()), value.rows_of(rows));
                }
                &*kept
            }
            None => {
                of_batch = kept_of(gemm, attention, self.batch, [key, value]);
                &of_batch[..]
            }
        };
        let query = self.of_batch(attention.query)?;
        let output = attend(gemm, self.buffers, attention, self.batch, query, kept);
        self.taps.insert(attention.output, output);
        self.state = state;
        Ok(())
    }

    /// What is watched, finite throughout.
    fn seen(&mut self, watched: &[Tap]) -> Result<Vec<Matrix>, ForwardError> {
        let mut seen = Vec::with_capacity(watched.len());
        for &tap in watched {
            self.check_finite(tap, self.whole(tap)?)?;
            let matrix = match self.phase.carried.contains(&tap) {
                true => self.taps.get(tap).cloned(),
                false => self.taps.take(tap),
            };
            seen.extend(matrix);
        }
        Ok(seen)
    }

    /// Lets go of what is not carried. Of what this phase made of the rest, every number is finite.
    fn end(&mut self, outline: &Outline<'_>) -> Result<(), ForwardError> {
        self.taps.retain(|tap| self.phase.carried.contains(&tap));
        for (tap, matrix) in self.taps.iter().filter(|(tap, _)| outline.makes.contains(tap)) {
            self.check_finite(tap, matrix)?;
        }
        Ok(())
    }

    fn check_finite(&self, tap: Tap, matrix: &Matrix) -> Result<(), ForwardError> {
        let Some(row) = first_row_not_finite(matrix) else { return Ok(()) };
        let tap = self.program.taps[tap.0].name.clone();
        Err(ForwardError::NotFinite { phase: self.phase.name.clone(), tap, row })
    }

    fn let_go(&mut self, taps: &[Tap]) {
        let matrices = taps.iter().filter_map(|&tap| self.taps.take(tap));
        matrices.for_each(|matrix| self.buffers.give(matrix.into_values()));
    }

    fn whole(&self, tap: Tap) -> Result<&Matrix, ForwardError> {
        self.taps.get(tap).ok_or_else(|| self.unfit(tap, "missing"))
    }

    /// A tap that has all rows of the batch.
    fn of_batch(&self, tap: Tap) -> Result<&Matrix, ForwardError> {
        let matrix = self.whole(tap)?;
        let all = matrix.rows() == self.rows;
        all.then_some(matrix).ok_or_else(|| self.unfit(tap, format!("{} rows", matrix.rows())))
    }

    /// Whether a tap may begin a phase with so many rows: those of the batch or, in a part of an
    /// expert's phase, those that go to the expert.
    fn fits(&self, rows: usize) -> bool {
        rows == self.rows || (self.phase.expert.is_some() && rows < self.rows)
    }

    fn unfit(&self, tap: Tap, found: impl Into<String>) -> ForwardError {
        let known = self.program.taps.get(tap.0);
        ForwardError::Tap {
            phase: self.phase.name.clone(),
            tap: known.map_or_else(|| format!("tap {}", tap.0), |known| known.name.clone()),
            expected: format!("{} by {}", self.rows, known.map_or(0, |known| known.width)),
            found: found.into(),
        }
    }
}
