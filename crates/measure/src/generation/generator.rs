//! The logits of a step, and what the model keeps of the sequences that run.

use crate::generation::loaded::Loaded;
use crate::generation::schedule::Part;
use llmopt_arch::Program;
use llmopt_forward::{Batch, Matrix, Sequence, State, Taps};
use llmopt_run::Error;

/// A model with the sequences that run, in the order of the schedule.
pub(crate) struct Generator<'a> {
    loaded: &'a Loaded<'a>,
    state: State,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(loaded: &'a Loaded<'a>) -> Self {
        Self { loaded, state: State::new(loaded.variant.program(), 0) }
    }

    /// Lets go of what is kept of a sequence; those behind it move up.
    pub(super) fn remove(&mut self, place: usize) {
        self.state.remove(place);
    }

    /// Keeps the memory of logits for the next step.
    pub(crate) fn recycle(&self, logits: Matrix) {
        self.loaded.engine.recycle(logits);
    }

    /// Keeps the first tokens of a sequence alone.
    pub(super) fn truncate(&mut self, place: usize, tokens: usize) {
        self.state.truncate(place, tokens);
    }

    /// Computes the parts of a step, whose tokens are `tokens`, one after the other, and returns the
    /// logits of each that catches up: after its last token and before each that is proposed.
    pub(crate) fn logits(&mut self, parts: &[Part], tokens: Vec<u32>) -> Result<Matrix, Error> {
        let Loaded { variant, engine, head, .. } = self.loaded;
        let program = variant.program();
        (self.state.sequences()..parts.len()).for_each(|_| self.state.add(program));
        let again = parts.iter().enumerate().filter(|(_, part)| part.again);
        again.for_each(|(place, _)| self.state.clear(program, place));
        let hidden = self.hidden(parts, tokens)?;
        let last = last_rows(parts, &hidden);
        engine.recycle(hidden);
        engine.logits(program, &last, head).map_err(|error| variant.failed(error))
    }

    /// The hidden states of all rows, after the last norm.
    fn hidden(&mut self, parts: &[Part], tokens: Vec<u32>) -> Result<Matrix, Error> {
        let Loaded { variant, engine, blocks, norm, .. } = self.loaded;
        let program = variant.program();
        let sequence = |part: &Part| {
            let (start, length) = (part.tokens.start, part.tokens.len());
            Sequence { length, start }
        };
        let batch = &Batch::new(parts.iter().map(sequence).collect());
        let mut taps = Taps::new(variant.embedded(tokens.into_iter())?);
        for (block, weights) in program.blocks.iter().zip(blocks) {
            for (phase, weights) in block.phases.iter().zip(weights) {
                let state = Some((&mut self.state, block.layer));
                let run = engine.run(program, phase, weights, batch, &mut taps, state);
                run.map_err(|error| variant.failed(error))?;
            }
        }
        let run = engine.run(program, &program.head.norm, norm, batch, &mut taps, None);
        run.map_err(|error| variant.failed(error))?;
        Ok(taps.take(Program::HIDDEN).unwrap_or_else(|| Matrix::zeros(0, program.hidden)))
    }
}

/// The last rows of each part that catches up.
fn last_rows(parts: &[Part], hidden: &Matrix) -> Vec<f32> {
    let mut end = 0;
    let mut last = Vec::new();
    for part in parts {
        end += part.tokens.len();
        if part.catches_up {
            last.extend_from_slice(hidden.rows_of(end - 1 - part.drafted..end));
        }
    }
    last
}
