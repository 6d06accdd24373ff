//! What a sequence keeps between calls.

use crate::batch::Batch;
use crate::cache::Kept;
use llmopt_arch::program::{Attention, Operation, Program, RopeScaling, Tap};
use std::collections::BTreeMap;

/// Keys, already rotated, and values of every earlier token, for each sequence of a batch.
pub struct State {
    sequences: usize,
    layers: BTreeMap<(usize, Tap), Vec<Kept>>,
}

impl State {
    /// An empty state for so many sequences.
    pub fn new(program: &Program, sequences: usize) -> Self {
        let layers = attentions(program).map(|(layer, attention)| {
            let kept = || Kept::new(attention.key_value_heads, attention.head_width);
            ((layer, attention.key), std::iter::repeat_with(kept).take(sequences).collect())
        });
        Self { sequences, layers: layers.collect() }
    }

    /// Adds an empty sequence behind the others.
    pub fn add(&mut self, program: &Program) {
        for (key, kept) in Self::new(program, 1).layers {
            self.layers.entry(key).or_default().extend(kept);
        }
        self.sequences += 1;
    }

    /// Empties a sequence, to be run again from its first token.
    pub fn clear(&mut self, program: &Program, sequence: usize) {
        for (key, kept) in Self::new(program, 1).layers {
            let old = self.layers.get_mut(&key).and_then(|layer| layer.get_mut(sequence));
            old.into_iter().zip(kept).for_each(|(old, empty)| *old = empty);
        }
    }

    /// Keeps the first tokens of a sequence alone.
    pub fn truncate(&mut self, sequence: usize, tokens: usize) {
        let kept = self.layers.values_mut().filter_map(|layer| layer.get_mut(sequence));
        kept.for_each(|kept| kept.truncate(tokens));
    }

    /// Lets go of a sequence. Those behind it move up.
    pub fn remove(&mut self, sequence: usize) {
        if sequence < self.sequences {
            self.layers.values_mut().for_each(|layer| drop(layer.remove(sequence)));
            self.sequences -= 1;
        }
    }

    /// Bytes that one token of one sequence keeps, over all layers. Room is made for
    /// [`State::STEP`] tokens at a time.
    pub fn bytes_per_token(program: &Program) -> u64 {
        let width = |attention: &Attention| attention.key_value_heads * attention.head_width;
        let floats: usize = attentions(program).map(|(_, attention)| 2 * width(attention)).sum();
        (floats * size_of::<f32>()) as u64
    }

    /// Tokens for which room is made at once.
    pub const STEP: usize = crate::cache::BLOCK;

    /// How many sequences it is for.
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// Tokens that it holds of a sequence: where the next batch of it starts. While a model's layers
    /// are run, this is the first layer's number.
    pub fn tokens(&self, sequence: usize) -> usize {
        let first = self.layers.values().next().and_then(|layer| layer.get(sequence));
        first.map_or(0, Kept::tokens)
    }

    /// Whether a sequence that grows from `from` tokens to `to` passes from short to long rotary
    /// factors. What is kept of it was rotated with the short ones: run it again from its first
    /// token, as Transformers does with Phi-3. (Dynamic scaling changes with every token; what is
    /// kept stays as it is, there as here.)
    pub fn outgrown(program: &Program, from: usize, to: usize) -> bool {
        scalings(program).any(|scaling| match scaling {
            RopeScaling::Long { original, .. } => (1..=*original).contains(&from) && to > *original,
            _ => false,
        })
    }

    /// The length up to which rotary factors do not depend on the length. A longer prompt that is read
    /// in pieces is rotated otherwise than one that is read whole. `None` if they never depend on it.
    pub fn rotated_alike(program: &Program) -> Option<usize> {
        let limits = scalings(program).filter_map(|scaling| match scaling {
            RopeScaling::Dynamic { original, .. } | RopeScaling::Long { original, .. } => {
                Some(*original)
            }
            _ => None,
        });
        limits.min()
    }

    /// What `attention` of `layer` keeps of each sequence, once it is found to be what `batch`
    /// continues.
    pub(crate) fn of(
        &mut self,
        layer: usize,
        attention: &Attention,
        batch: &Batch,
    ) -> Result<&mut [Kept], String> {
        let (found, expected) = (self.sequences, batch.sequences().len());
        if found != expected {
            return Err(format!("the state is of {found} sequences, the batch of {expected}"));
        }
        let Some(kept) = self.layers.get_mut(&(layer, attention.key)) else {
            return Err(format!("the state has no keys of layer {layer}"));
        };
        let lengths = kept.iter().map(Kept::tokens).zip(batch.sequences()).enumerate();
        for (number, (tokens, sequence)) in lengths {
            if tokens != sequence.start {
                return Err(format!(
                    "sequence {number} starts at token {}, but layer {layer} of the state holds {tokens}",
                    sequence.start
                ));
            }
        }
        Ok(kept)
    }
}

fn scalings(program: &Program) -> impl Iterator<Item = &RopeScaling> {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    phases.flat_map(|phase| &phase.operations).filter_map(|operation| match operation {
        Operation::Rotate { rope, .. } => Some(&rope.scaling),
        _ => None,
    })
}

/// Every attention with the layer it is in.
fn attentions(program: &Program) -> impl Iterator<Item = (usize, &Attention)> {
    let phases = program.blocks.iter().flat_map(|b| b.phases.iter().map(move |p| (b.layer, p)));
    phases.flat_map(|(layer, phase)| {
        phase.operations.iter().filter_map(move |operation| match operation {
            Operation::Attend(attention) => Some((layer, attention)),
            _ => None,
        })
    })
}
