//! From the last hidden states to logits, a slice of the vocabulary at a time.
//!
//! A slice has a constant number of rows, so that whoever sums over the vocabulary groups its sums
//! alike under every budget. How many slices are in memory together is the budget's affair.

use crate::count;
use crate::meter::Meter;
use crate::reading::{Judge, Reading};
use crate::stream::Stream;
use llmopt_arch::Program;
use llmopt_forward::{Engine, Linear, Matrix};
use llmopt_model::ROW_STEP;
use llmopt_run::Error;
use std::ops::Range;

impl Reading<'_> {
    /// Takes the streams through the last norm, and shows their logits.
    pub(crate) fn judge_logits(
        &self,
        streams: Vec<Stream>,
        meter: &Meter<'_>,
        judge: &mut dyn Judge,
    ) -> Result<(), Error> {
        let mut streams = self.parted_at_head(streams)?;
        for stream in &mut streams {
            let norm = &self.variants[stream.leader()].program().head.norm;
            self.run(stream, norm, meter)?;
        }
        let vocabulary = self.variants.iter().map(|variant| variant.program().vocabulary).min();
        let slices: Vec<Range<usize>> = slices(vocabulary.unwrap_or(0)).collect();
        for held in slices.chunks(self.memory.head_slices) {
            self.judge_held(&streams, held, meter, judge)?;
        }
        Ok(())
    }

    /// Forks every stream whose models have different heads.
    fn parted_at_head(&self, streams: Vec<Stream>) -> Result<Vec<Stream>, Error> {
        let mut waiting = streams;
        let mut done = Vec::new();
        while let Some(mut stream) = waiting.pop() {
            let leader = &self.variants[stream.leader()];
            let leaves = |member: usize| Ok(!leader.ends_as(&self.variants[member])?);
            let parted =
                stream.fork(leaves, |store| store.copied(|| self.store(leader.program())))?;
            waiting.extend(parted);
            done.push(stream);
        }
        Ok(done)
    }

    /// Shows the logits of some slices, of every batch.
    fn judge_held(
        &self,
        streams: &[Stream],
        held: &[Range<usize>],
        meter: &Meter<'_>,
        judge: &mut dyn Judge,
    ) -> Result<(), Error> {
        let heads = self.heads(streams, held)?;
        for stream in streams {
            let program = self.variants[stream.leader()].program();
            let rows = held.iter().map(Range::len).sum();
            meter.did(count::head_weights(program, rows) * stream.count());
        }
        for batch in 0..self.batches.len() {
            self.run.go_on()?;
            let rows = self.requested_rows(streams, batch)?;
            for (number, slice) in held.iter().enumerate() {
                let mut logits = Vec::with_capacity(streams.len());
                for ((stream, rows), head) in streams.iter().zip(&rows).zip(&heads) {
                    let program = self.variants[stream.leader()].program();
                    let found = self.run.engine.logits(program, rows, &head[number]);
                    logits
                        .push(found.map_err(|error| self.variants[stream.leader()].failed(error))?);
                }
                let shown: Vec<&Matrix> = logits.iter().collect();
                judge.logits(batch, slice.start, &self.by_variant(streams, &shown))?;
                logits.into_iter().for_each(|logits| self.run.engine.recycle(logits));
                for (stream, rows) in streams.iter().zip(&rows) {
                    let program = self.variants[stream.leader()].program();
                    let positions = rows.len() / program.hidden.max(1);
                    meter.did(count::head(program, positions, slice.len()) * stream.count());
                }
            }
        }
        Ok(())
    }

    /// The weights of some slices, of every stream.
    fn heads(&self, streams: &[Stream], held: &[Range<usize>]) -> Result<Vec<Vec<Linear>>, Error> {
        let of_stream = |stream: &Stream| {
            let leader = &self.variants[stream.leader()];
            let rows = held.iter().cloned();
            rows.map(|rows| leader.head_rows(rows, self.run.engine.gemm())).collect()
        };
        streams.iter().map(of_stream).collect()
    }

    /// The rows of a batch whose logits are asked for, of every stream.
    fn requested_rows(&self, streams: &[Stream], batch: usize) -> Result<Vec<Vec<f32>>, Error> {
        let positions = self.batches.positions_of(batch);
        let picked = |hidden: &Matrix| {
            let mut values = Vec::with_capacity(positions.len() * hidden.columns());
            positions.iter().for_each(|position| values.extend(hidden.row(position.row)));
            values
        };
        Ok(self.hidden_of_all(streams, batch)?.iter().map(|hidden| picked(hidden)).collect())
    }
}

/// The slices of a vocabulary.
pub(crate) fn slices(vocabulary: usize) -> impl Iterator<Item = Range<usize>> {
    (0..vocabulary).step_by(SLICE_ROWS).map(move |first| first..vocabulary.min(first + SLICE_ROWS))
}

/// Tokens of the vocabulary whose logits are computed at a time.
pub(crate) const SLICE_ROWS: usize = 8 * ROW_STEP;

/// Bytes that the head takes beside its weights: rows asked for, and logits of a slice.
pub(crate) fn working_bytes(
    engine: &Engine,
    program: &Program,
    rows: usize,
    threads: usize,
) -> u64 {
    let requested = (rows * program.hidden * size_of::<f32>()) as u64;
    requested + engine.logits_bytes(program, rows, SLICE_ROWS, threads)
}
