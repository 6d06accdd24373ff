//! Attention, block by block, against attention with a whole score matrix.

use crate::support::twin::{Rows, Twin};
use crate::support::{difference, noise, on_threads};
use llmopt_arch::program::{
    Attention, Block, Embedding, Head, Operation, Phase, Program, Tap, TapFacts,
};
use llmopt_forward::{Batch, Engine, Matrix, Sequence, State, Taps, Weights};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use std::collections::BTreeMap;

const QUERY: Tap = Tap(1);
const KEY: Tap = Tap(2);
const VALUE: Tap = Tap(3);
const OUTPUT: Tap = Tap(4);

/// One layer that does nothing but attend.
fn program((heads, key_value_heads, head_width, window, cap): Shape) -> Program {
    let (queries, keys) = (heads * head_width, key_value_heads * head_width);
    let tap = |(name, width): (&str, usize)| TapFacts { name: name.to_owned(), width };
    let attention = Attention {
        query: QUERY,
        key: KEY,
        value: VALUE,
        output: OUTPUT,
        heads,
        key_value_heads,
        head_width,
        scale: 2.0,
        window,
        cap,
    };
    let phase = |operations: Vec<Operation>, carried: Vec<Tap>| Phase {
        name: "model.layers.0.self_attn".to_owned(),
        expert: None,
        operations,
        carried,
    };
    let taps = [("hidden", 1), ("q", queries), ("k", keys), ("v", keys), ("mixed", queries)];
    let head = Head {
        norm: phase(Vec::new(), Vec::new()),
        tensor: String::new(),
        bias: None,
        scale: 1.0,
        cap: None,
    };
    Program {
        hidden: 1,
        vocabulary: 1,
        context: None,
        taps: taps.map(tap).into(),
        embedding: Embedding { tensor: String::new(), scale: 1.0 },
        blocks: vec![Block {
            layer: 0,
            phases: vec![phase(vec![Operation::Attend(attention)], vec![OUTPUT])],
        }],
        head,
    }
}

/// Queries, keys and values of one sequence.
fn inputs(program: &Program, seed: u64, length: usize) -> [Matrix; 3] {
    [QUERY, KEY, VALUE].map(|tap| {
        let width = program.width(tap);
        let values = noise(seed * 3 + tap.0 as u64, length * width);
        Matrix::from_values(length, width, values).unwrap()
    })
}

fn run(program: &Program, batch: &Batch, inputs: [Matrix; 3], state: Option<&mut State>) -> Matrix {
    let engine = Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).unwrap());
    let mut taps = Taps::default();
    [QUERY, KEY, VALUE].into_iter().zip(inputs).for_each(|(tap, matrix)| taps.insert(tap, matrix));
    let phase = &program.blocks[0].phases[0];
    let state = state.map(|state| (state, 0));
    engine.run(program, phase, &Weights::default(), batch, &mut taps, state).unwrap();
    taps.take(OUTPUT).unwrap()
}

fn expected(program: &Program, inputs: &[Matrix; 3]) -> Vec<f64> {
    let rows = |matrix: &Matrix| -> Rows {
        let rows = matrix.values().chunks(matrix.columns());
        rows.map(|row| row.iter().copied().map(f64::from).collect()).collect()
    };
    let taps = [QUERY, KEY, VALUE].into_iter().zip(inputs.iter().map(rows)).collect();
    let tensors = BTreeMap::new();
    let mut twin = Twin::new(&tensors, taps);
    twin.run(program, &program.blocks[0].phases[0].operations[0]);
    twin.taps[&OUTPUT].concat()
}

/// Rows of several sequences, end to end.
fn joined(parts: &[[Matrix; 3]]) -> [Matrix; 3] {
    [0, 1, 2].map(|which| {
        let rows = parts.iter().map(|part| part[which].rows()).sum();
        let values: Vec<f32> = parts.iter().flat_map(|p| p[which].values()).copied().collect();
        Matrix::from_values(rows, parts[0][which].columns(), values).unwrap()
    })
}

/// Heads, key and value heads, columns of a head, window, cap.
type Shape = (usize, usize, usize, Option<usize>, Option<f32>);

const SHAPES: [Shape; 7] = [
    (1, 1, 1, None, None),
    (6, 2, 7, None, Some(3.0)),
    (5, 5, 16, Some(1), None),
    (10, 2, 5, Some(50), None),
    (4, 2, 8, Some(257), Some(2.0)),
    (3, 1, 33, Some(400), None),
    (2, 2, 3, Some(10_000), None),
];

#[test]
fn sequences_of_unequal_length_are_those_of_whole_score_matrices() {
    for shape in SHAPES {
        let program = program(shape);
        let lengths = [1, 611, 0, 64, 65, 300, 2];
        let parts: Vec<[Matrix; 3]> =
            (0..).zip(lengths).map(|(seed, length)| inputs(&program, seed, length)).collect();
        let batch = Batch::of_lengths(lengths);
        let found = run(&program, &batch, joined(&parts), None);
        let expected: Vec<f64> = parts.iter().flat_map(|part| expected(&program, part)).collect();
        let error = difference(found.values(), &expected);
        assert!(error < 2e-6, "{shape:?}: off by {error}");
        for threads in [1, 4] {
            assert_eq!(on_threads(threads, || run(&program, &batch, joined(&parts), None)), found);
        }
    }
}

#[test]
fn what_a_state_keeps_is_seen_again() {
    for shape in SHAPES {
        let program = program(shape);
        let all = [inputs(&program, 8, 530), inputs(&program, 9, 70)];
        let mut state = State::new(&program, 2);
        let mut found = [Vec::new(), Vec::new()];
        // Ends of what each call adds to the two sequences: prompts, single tokens, blocks.
        let ends = [[200, 1], [201, 1], [202, 2], [270, 66], [271, 67], [529, 67], [530, 70]];
        let mut begins = [0, 0];
        for ends in ends {
            let sequence = |i: usize| Sequence { start: begins[i], length: ends[i] - begins[i] };
            let batch = Batch::new(vec![sequence(0), sequence(1)]);
            let part = |i: usize| {
                all[i].clone().map(|whole| {
                    let rows = whole.rows_of(begins[i]..ends[i]).to_vec();
                    Matrix::from_values(ends[i] - begins[i], whole.columns(), rows).unwrap()
                })
            };
            let output = run(&program, &batch, joined(&[part(0), part(1)]), Some(&mut state));
            let cut = (ends[0] - begins[0]) * output.columns();
            found[0].extend_from_slice(&output.values()[..cut]);
            found[1].extend_from_slice(&output.values()[cut..]);
            begins = ends;
        }
        assert_eq!([state.tokens(0), state.tokens(1)], [530, 70]);
        for (found, inputs) in found.iter().zip(&all) {
            let error = difference(found, &expected(&program, inputs));
            assert!(error < 2e-6, "{shape:?}: off by {error}");
            // How the tokens came shows in no bit.
            let whole = Batch::of_lengths([inputs[0].rows()]);
            assert_eq!(found, run(&program, &whole, inputs.clone(), None).values(), "{shape:?}");
        }
    }
}
