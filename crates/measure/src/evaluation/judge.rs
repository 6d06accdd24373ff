//! What a sweep shows, added up: losses of every token, and the distance of hidden states.

use crate::evaluation::logits::LogitFile;
use llmopt_eval::{BlockError, Pair, PairLoss, Single, TokenLoss};
use llmopt_forward::Matrix;
use llmopt_run::Error;
use llmopt_sweep::{Batches, Judge, Position, begun, by_sequence};
use rayon::prelude::*;

/// Sums of every position, batch after batch.
pub(super) struct Losses<'a> {
    batches: &'a Batches,
    sums: Sums,
    blocks: Blocks,
    logits: Option<LogitFile>,
}

/// Distances of hidden states from the reference's, layer after layer.
#[derive(Default)]
pub(super) struct Blocks {
    /// After each layer of the artifact.
    pub(super) after: Vec<BlockError>,
    /// After each layer of the artifact, from the reference's hidden states before it.
    pub(super) added: Vec<BlockError>,
}

/// One sum per position, for each batch.
enum Sums {
    Alone(Vec<Vec<Single>>),
    Against(Vec<Vec<Pair>>),
}

/// What came of the tokens of every sequence whose probability was asked for.
pub(super) enum Found {
    Alone(Vec<Vec<TokenLoss>>),
    Against(Vec<Vec<PairLoss>>),
}

impl<'a> Losses<'a> {
    pub(super) fn new(batches: &'a Batches, against: bool, logits: Option<LogitFile>) -> Self {
        let sums = match against {
            true => Sums::Against(begun(batches, Pair::new)),
            false => Sums::Alone(begun(batches, Single::new)),
        };
        Self { batches, sums, blocks: Blocks::default(), logits }
    }

    /// Bytes that it holds to the end.
    pub(super) fn bytes(batches: &Batches, against: bool) -> u64 {
        let (sum, loss) = match against {
            true => (size_of::<Pair>(), size_of::<PairLoss>()),
            false => (size_of::<Single>(), size_of::<TokenLoss>()),
        };
        // Positions of a batch are listed once more while it is looked at.
        (batches.tokens() * (sum + loss + size_of::<Position>())) as u64
    }

    /// What was found, and the distances after each layer.
    ///
    /// # Errors
    /// If the logits that were asked for cannot be given their name.
    pub(super) fn finished(self) -> Result<(Found, Blocks), Error> {
        let found = match self.sums {
            Sums::Alone(sums) => Found::Alone(by_sequence(self.batches, sums, Single::finish)),
            Sums::Against(sums) => Found::Against(by_sequence(self.batches, sums, Pair::finish)),
        };
        self.logits.map(LogitFile::publish).transpose()?;
        Ok((found, self.blocks))
    }
}

impl Judge for Losses<'_> {
    fn after_layer(&mut self, layer: usize, hidden: &[&Matrix]) -> Result<(), Error> {
        let &[reference, artifact] = hidden else { return Ok(()) };
        merge(&mut self.blocks.after, layer, reference, artifact);
        Ok(())
    }

    fn wants_blocks_alone(&self) -> bool {
        matches!(self.sums, Sums::Against(_))
    }

    fn after_block_alone(&mut self, layer: usize, reference: &Matrix, artifact: &Matrix) {
        merge(&mut self.blocks.added, layer, reference, artifact);
    }

    fn logits(&mut self, batch: usize, first: usize, logits: &[&Matrix]) -> Result<(), Error> {
        match (&mut self.sums, logits) {
            (Sums::Alone(sums), [artifact]) => {
                let sums = sums[batch].par_iter_mut().enumerate();
                sums.for_each(|(row, sum)| sum.update(first, artifact.row(row)));
            }
            (Sums::Against(sums), [reference, artifact]) => {
                let sums = sums[batch].par_iter_mut().enumerate();
                sums.for_each(|(row, sum)| {
                    sum.update(first, reference.row(row), artifact.row(row));
                });
            }
            _ => {}
        }
        match (&self.logits, logits.last()) {
            (Some(file), Some(artifact)) => file.write(batch, first, artifact),
            _ => Ok(()),
        }
    }
}

/// Adds the distance of hidden states of a batch to that of their layer.
fn merge(layers: &mut Vec<BlockError>, layer: usize, reference: &Matrix, artifact: &Matrix) {
    let columns = reference.columns();
    let between = |(reference, artifact): (&[f32], &[f32])| {
        let mut error = BlockError::default();
        error.add(columns, reference, artifact);
        error
    };
    let values = columns * TOKENS_PER_PART;
    let parts: Vec<BlockError> = reference
        .values()
        .par_chunks(values)
        .zip(artifact.values().par_chunks(values))
        .map(between)
        .collect();
    if layers.len() <= layer {
        layers.resize_with(layer + 1, BlockError::default);
    }
    parts.iter().for_each(|part| layers[layer].merge(part));
}

/// Tokens of a part of a sum. It is constant, so that sums do not depend on threads.
const TOKENS_PER_PART: usize = 64;
