//! A layer to measure with: attention and a gated MLP, in the proportions of a model, but no wider than
//! a probe may be.

use crate::measure::{WIDEST, noise};
use llmopt_arch::Program;
use llmopt_arch::program::{
    Activation, Attention, Embedding, Head, Linear, Operation, Phase, Rope, RopeScaling, Tap,
    TapFacts,
};
use llmopt_forward::{Batch, Engine, ForwardError, Linear as Packed, Matrix, Taps, Weights};
use llmopt_linalg::Gemm;
use llmopt_sweep::Work;
use llmopt_sweep::count::phase;

pub(super) struct Layer {
    program: Program,
    phase: Phase,
    weights: Weights,
    batch: Batch,
}

/// Widths of its taps.
#[derive(Clone, Copy)]
struct Shape {
    hidden: usize,
    heads: usize,
    head_width: usize,
    inner: usize,
}

impl Layer {
    /// One in the proportions of `program`.
    pub(super) fn like(program: &Program, gemm: Gemm) -> Self {
        let shape = Shape::of(program);
        let program = shape.program();
        let phase = shape.phase();
        let mut weights = Weights::default();
        for operation in &phase.operations {
            match operation {
                Operation::Linear(linear) => {
                    let packed = gemm.pack(linear.rows, linear.columns);
                    weights.linears.insert(linear.weight.clone(), Packed::new(packed));
                }
                Operation::Norm { weight, width, .. } => {
                    weights.vectors.insert(weight.clone(), vec![1.0; *width]);
                }
                _ => {}
            }
        }
        Self { program, phase, weights, batch: Batch::of_lengths([LENGTH; SEQUENCES]) }
    }

    /// What a run takes.
    pub(super) fn work(&self) -> Work {
        phase(&self.program, &self.phase, &self.batch)
    }

    pub(super) fn run(&self, engine: &Engine) -> Result<(), ForwardError> {
        let (tokens, hidden) = (self.batch.tokens(), self.program.hidden);
        let hidden = Matrix::from_values(tokens, hidden, noise(tokens * hidden));
        let mut taps = Taps::new(hidden.expect("as many values as rows times columns"));
        engine.run(&self.program, &self.phase, &self.weights, &self.batch, &mut taps, None)
    }
}

impl Shape {
    fn of(program: &Program) -> Self {
        let operations =
            || program.blocks.iter().flat_map(|block| &block.phases).flat_map(|p| &p.operations);
        let attention = operations().find_map(|operation| match operation {
            Operation::Attend(attention) => Some((attention.heads, attention.head_width)),
            _ => None,
        });
        let (heads, head_width) = attention.unwrap_or((8, 64));
        let head_width = head_width.min(WIDEST);
        let widest = operations().filter_map(Operation::linear).map(|linear| linear.rows).max();
        Self {
            hidden: program.hidden.min(WIDEST),
            heads: heads.min(WIDEST / head_width).max(1),
            head_width,
            inner: widest.unwrap_or(WIDEST).min(3 * WIDEST),
        }
    }

    fn program(self) -> Program {
        let width = self.heads * self.head_width;
        let Self { hidden, inner, .. } = self;
        let widths = [hidden, hidden, width, width, width, width, hidden, inner, inner, inner];
        let tap = |width| TapFacts { name: String::new(), width };
        Program {
            hidden,
            vocabulary: 1,
            context: None,
            taps: widths.map(tap).to_vec(),
            embedding: Embedding { tensor: String::new(), scale: 1.0 },
            blocks: Vec::new(),
            head: Head {
                norm: self.phase(),
                tensor: String::new(),
                bias: None,
                scale: 1.0,
                cap: None,
            },
        }
    }

    fn phase(self) -> Phase {
        let Self { hidden, heads, head_width, inner } = self;
        let width = heads * head_width;
        let norm = || Operation::Norm {
            input: Program::HIDDEN,
            output: NORMED,
            weight: "norm".to_owned(),
            epsilon: 1e-5,
            from_one: false,
            width: hidden,
        };
        let linear = |input, output, [rows, columns]: [usize; 2]| {
            let Tap(number) = output;
            let weight = format!("{number} of {}", if input == UNITS { "units" } else { "hidden" });
            Operation::Linear(Linear { input, output, weight, bias: None, rows, columns })
        };
        let add = || Operation::Add { input: OUT, output: Program::HIDDEN, scale: 1.0 };
        let rope = Rope { theta: 1e4, width: head_width, scaling: RopeScaling::None };
        let attend = Operation::Attend(Attention {
            query: QUERY,
            key: KEY,
            value: VALUE,
            output: ATTENDED,
            heads,
            key_value_heads: heads,
            head_width,
            scale: 1.0 / (head_width as f32).sqrt(),
            window: None,
            cap: None,
        });
        let gate =
            Operation::Gate { gate: GATE, up: UP, output: UNITS, activation: Activation::Silu };
        let operations = vec![
            norm(),
            linear(NORMED, QUERY, [width, hidden]),
            linear(NORMED, KEY, [width, hidden]),
            linear(NORMED, VALUE, [width, hidden]),
            Operation::Rotate { taps: vec![QUERY, KEY], head_width, rope },
            attend,
            linear(ATTENDED, OUT, [hidden, width]),
            add(),
            norm(),
            linear(NORMED, GATE, [inner, hidden]),
            linear(NORMED, UP, [inner, hidden]),
            gate,
            linear(UNITS, OUT, [hidden, inner]),
            add(),
        ];
        let name = "a probe".to_owned();
        Phase { name, expert: None, operations, carried: vec![Program::HIDDEN] }
    }
}

const NORMED: Tap = Tap(1);
const QUERY: Tap = Tap(2);
const KEY: Tap = Tap(3);
const VALUE: Tap = Tap(4);
const ATTENDED: Tap = Tap(5);
const OUT: Tap = Tap(6);
const GATE: Tap = Tap(7);
const UP: Tap = Tap(8);
const UNITS: Tap = Tap(9);
/// Tokens of a sequence, and sequences of the batch.
const LENGTH: usize = 256;
const SEQUENCES: usize = 2;
