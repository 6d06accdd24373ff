//! A whole model through the engine.

use super::checkpoint::Checkpoint;
use llmopt_arch::program::{self, Operation, Phase, Program};
use llmopt_forward::{Batch, Engine, ForwardError, Linear, Matrix, Sequence, State, Taps, Weights};
use llmopt_scheme::Activations;
use std::collections::BTreeMap;

/// A checkpoint with an engine.
pub(crate) struct Runner<'a> {
    pub(crate) engine: Engine,
    pub(crate) program: &'a Program,
    pub(crate) tensors: &'a BTreeMap<String, Vec<f32>>,
    pub(crate) activations: Activations,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(engine: Engine, checkpoint: &'a Checkpoint) -> Self {
        let Checkpoint { program, tensors } = checkpoint;
        Self { engine, program, tensors, activations: Activations::None }
    }

    /// Logits of every token of these sequences, laid end to end.
    pub(crate) fn logits(&self, sequences: &[&[u32]], state: Option<&mut State>) -> Matrix {
        self.run(sequences, state).unwrap()
    }

    pub(crate) fn run(
        &self,
        sequences: &[&[u32]],
        mut state: Option<&mut State>,
    ) -> Result<Matrix, ForwardError> {
        let length = |(number, tokens): (usize, &&[u32])| Sequence {
            length: tokens.len(),
            start: state.as_ref().map_or(0, |state| state.tokens(number)),
        };
        let batch = Batch::new(sequences.iter().enumerate().map(length).collect());
        let mut taps = Taps::new(self.embedded(&sequences.concat()));
        for block in &self.program.blocks {
            for phase in &block.phases {
                let state = state.as_mut().map(|state| (&mut **state, block.layer));
                let weights = self.weights(phase);
                self.engine.run(self.program, phase, &weights, &batch, &mut taps, state)?;
            }
        }
        let norm = &self.program.head.norm;
        self.engine.run(self.program, norm, &self.weights(norm), &batch, &mut taps, None)?;
        let hidden = taps.into_hidden().unwrap();
        let head = &self.program.head;
        let values = &self.tensors[&head.tensor];
        let mut slice = self.linear(values.len() / hidden.columns(), hidden.columns(), values);
        slice.bias = head.bias.as_ref().map(|name| self.tensors[name].clone());
        slice.activations = Activations::None;
        self.engine.logits(self.program, hidden.values(), &slice)
    }

    fn embedded(&self, tokens: &[u32]) -> Matrix {
        let (embedding, width) = (&self.program.embedding, self.program.hidden);
        let table = &self.tensors[&embedding.tensor];
        let rows = tokens.iter().flat_map(|&token| &table[token as usize * width..][..width]);
        let values = rows.map(|x| x * embedding.scale).collect();
        Matrix::from_values(tokens.len(), width, values).unwrap()
    }

    /// The tensors that `phase` names.
    pub(crate) fn weights(&self, phase: &Phase) -> Weights {
        let mut weights = Weights::default();
        for operation in &phase.operations {
            match operation {
                Operation::Linear(program::Linear { weight, bias, rows, columns, .. }) => {
                    let mut linear = self.linear(*rows, *columns, &self.tensors[weight]);
                    linear.bias = bias.as_ref().map(|name| self.tensors[name].clone());
                    weights.linears.insert(weight.clone(), linear);
                }
                Operation::Norm { weight, .. } => {
                    weights.vectors.insert(weight.clone(), self.tensors[weight].clone());
                }
                _ => {}
            }
        }
        weights
    }

    fn linear(&self, rows: usize, columns: usize, values: &[f32]) -> Linear {
        let mut linear = Linear::new(self.engine.gemm().pack(rows, columns));
        for mut band in linear.packed.bands_mut(16) {
            let rows = band.rows();
            band.fill(&values[rows.start * columns..rows.end * columns]);
        }
        linear.activations = self.activations;
        linear
    }
}
