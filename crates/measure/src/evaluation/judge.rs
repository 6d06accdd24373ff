//! What a sweep shows, added up: losses of every token, and the distance of hidden states.

use crate::evaluation::logits::LogitFile;
use llmopt_eval::{BlockError, Pair, PairLoss, Single, TokenLoss};
use llmopt_forward::Matrix;
use llmopt_run::Error;
use llmopt_sweep::{Batches, Judge, Position, begun, by_sequence};
use rayon::prelude::*;
use std::ops::Range;

/// Sums of every position, batch after batch.
pub(super) struct Losses<'a> {
    batches: &'a Batches,
    sums: Sums,
    blocks: Blocks,
    logits: Option<LogitFile>,
}

/// Distances of hidden states from the reference's, by layer and sequence.
#[derive(Default)]
struct Blocks {
    /// After each layer of the artifact.
    after: Vec<Vec<BlockError>>,
    /// After each layer of the artifact, from the reference's hidden states before it: of the sequences
    /// of the first batch.
    added: Vec<Vec<BlockError>>,
}

/// One sum per position, for each batch.
enum Sums {
    Alone(Vec<Vec<Single>>),
    Against(Vec<Vec<Pair>>),
}

/// What came of a sequence. It does not depend on which others went through the models with it.
pub(super) struct Seen {
    pub(super) losses: Found,
    /// The distance of its hidden states after each layer of the artifact.
    pub(super) after: Vec<BlockError>,
    /// What each layer adds by itself, if it was in the first batch.
    pub(super) added: Vec<BlockError>,
}

/// What came of the tokens of a sequence whose probability was asked for.
pub(super) enum Found {
    Alone(Vec<TokenLoss>),
    Against(Vec<PairLoss>),
}

impl Found {
    /// The losses of an artifact without a reference; none of any other.
    pub(super) fn alone(&self) -> &[TokenLoss] {
        match self {
            Self::Alone(losses) => losses,
            Self::Against(_) => &[],
        }
    }

    /// The losses of an artifact beside its reference; none of any other.
    pub(super) fn against(&self) -> &[PairLoss] {
        match self {
            Self::Alone(_) => &[],
            Self::Against(losses) => losses,
        }
    }
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
    pub(super) fn bytes(batches: &Batches, against: bool, layers: usize) -> u64 {
        let sum = if against { size_of::<Pair>() } else { size_of::<Single>() };
        // Positions of a batch are listed once more while it is looked at.
        let looking = (batches.tokens() * (sum + size_of::<Position>())) as u64;
        looking + Self::kept_bytes(batches, against, layers)
    }

    /// Bytes of what came of the sequences.
    pub(super) fn kept_bytes(batches: &Batches, against: bool, layers: usize) -> u64 {
        let (loss, blocks) = match against {
            true => (size_of::<PairLoss>(), 2 * layers * size_of::<BlockError>()),
            false => (size_of::<TokenLoss>(), 0),
        };
        let sequences = batches.sequences().len();
        (batches.tokens() * loss + sequences * (blocks + size_of::<Seen>())) as u64
    }

    /// What came of each sequence, in order.
    ///
    /// # Errors
    /// If the logits that were asked for cannot be given their name.
    pub(super) fn finished(self) -> Result<Vec<Seen>, Error> {
        let Self { batches, sums, blocks, logits } = self;
        let losses: Vec<Found> = match sums {
            Sums::Alone(sums) => {
                by_sequence(batches, sums, Single::finish).into_iter().map(Found::Alone).collect()
            }
            Sums::Against(sums) => {
                by_sequence(batches, sums, Pair::finish).into_iter().map(Found::Against).collect()
            }
        };
        logits.map(LogitFile::publish).transpose()?;
        let of = |layers: &[Vec<BlockError>], sequence: usize| -> Vec<BlockError> {
            layers.iter().filter_map(|layer| layer.get(sequence).copied()).collect()
        };
        let seen = |(sequence, losses)| Seen {
            losses,
            after: of(&blocks.after, sequence),
            added: of(&blocks.added, sequence),
        };
        Ok(losses.into_iter().enumerate().map(seen).collect())
    }
}

impl Judge for Losses<'_> {
    fn after_layer(&mut self, layer: usize, hidden: &[&Matrix]) -> Result<(), Error> {
        let &[reference, artifact] = hidden else { return Ok(()) };
        let layer = of_layer(&mut self.blocks.after, layer);
        add(layer, self.batches, reference, artifact);
        Ok(())
    }

    fn wants_blocks_alone(&self) -> bool {
        matches!(self.sums, Sums::Against(_))
    }

    fn after_block_alone(&mut self, layer: usize, reference: &Matrix, artifact: &Matrix) {
        let layer = of_layer(&mut self.blocks.added, layer);
        add(layer, self.batches, reference, artifact);
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

fn of_layer(layers: &mut Vec<Vec<BlockError>>, layer: usize) -> &mut Vec<BlockError> {
    if layers.len() <= layer {
        layers.resize_with(layer + 1, Vec::new);
    }
    &mut layers[layer]
}

/// Adds the distances of hidden states of a batch, each sequence by itself. Batches come in order, so that
/// their sequences are those after the ones that are there.
fn add(layer: &mut Vec<BlockError>, batches: &Batches, reference: &Matrix, artifact: &Matrix) {
    let columns = reference.columns();
    let first = layer.len();
    let (mut spans, mut begin) = (Vec::new(), 0);
    for (number, sequence) in batches.sequences()[first..].iter().enumerate() {
        let end = begin + sequence.tokens.len();
        if end > reference.rows() {
            break;
        }
        let parts = (begin..end).step_by(TOKENS_PER_PART);
        spans.extend(parts.map(|part| (number, part..end.min(part + TOKENS_PER_PART))));
        layer.push(BlockError::default());
        begin = end;
    }
    let between = |(number, rows): &(usize, Range<usize>)| {
        let values = rows.start * columns..rows.end * columns;
        let mut error = BlockError::default();
        error.add(columns, &reference.values()[values.clone()], &artifact.values()[values]);
        (*number, error)
    };
    let parts: Vec<(usize, BlockError)> = spans.par_iter().map(between).collect();
    parts.iter().for_each(|(number, part)| layer[first + number].merge(part));
}

/// Tokens of a part of a sum. It is constant, so that sums do not depend on threads.
const TOKENS_PER_PART: usize = 64;
