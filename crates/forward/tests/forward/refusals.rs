//! What cannot run is refused by name.

use crate::support::checkpoint::{Checkpoint, checkpoint};
use crate::support::model::Runner;
use crate::support::noise;
use llmopt_arch::program::{Operation, Phase, Program, Tap};
use llmopt_forward::{Batch, Engine, ForwardError, Linear, Matrix, Sequence, State, Taps, Weights};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_scheme::Activations;

/// A phase about to run on five tokens.
struct Case {
    program: Program,
    phase: Phase,
    weights: Weights,
    batch: Batch,
    taps: Taps,
    state: Option<State>,
}

fn engine() -> Engine {
    Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).unwrap())
}

fn case(checkpoint: &Checkpoint, phase: usize) -> Case {
    let program = checkpoint.program.clone();
    let phase = program.blocks[0].phases[phase].clone();
    let weights = Runner::new(engine(), checkpoint).weights(&phase);
    let hidden = noise(1, 5 * program.hidden);
    let taps = Taps::new(Matrix::from_values(5, program.hidden, hidden).unwrap());
    Case { program, phase, weights, batch: Batch::of_lengths([2, 3]), taps, state: None }
}

/// The message with which phase 0 or 1 of layer 0 of `folder` fails once `change` is made.
#[track_caller]
fn check(folder: &str, phase: usize, change: impl FnOnce(&mut Case), expected: &str) {
    let mut case = case(&checkpoint(folder), phase);
    change(&mut case);
    let Case { program, phase, weights, batch, mut taps, mut state } = case;
    let state = state.as_mut().map(|state| (state, 0));
    let error = engine().run(&program, &phase, &weights, &batch, &mut taps, state).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn first_linear(weights: &mut Weights) -> &mut Linear {
    weights.linears.values_mut().next().unwrap()
}

#[test]
fn a_weight_that_is_not_given() {
    let change = |case: &mut Case| {
        drop(case.weights.linears.remove("model.layers.0.self_attn.k_proj.weight"))
    };
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn`: no weight `model.layers.0.self_attn.k_proj.weight` was given",
    );
    let change = |case: &mut Case| case.weights.vectors.clear();
    check(
        "llama",
        1,
        change,
        "`model.layers.0.mlp`: no weight `model.layers.0.post_attention_layernorm.weight` was given",
    );
    let change = |case: &mut Case| first_linear(&mut case.weights).bias = None;
    check(
        "qwen2",
        0,
        change,
        "`model.layers.0.self_attn`: no weight `model.layers.0.self_attn.k_proj.bias` was given",
    );
}

#[test]
fn a_weight_of_another_size() {
    let change =
        |case: &mut Case| first_linear(&mut case.weights).packed = engine().gemm().pack(3, 4);
    check(
        "llama",
        1,
        change,
        "`model.layers.0.mlp`: `model.layers.0.mlp.down_proj.weight` is 3 by 4, but the program expects 64 by 96",
    );
    let change =
        |case: &mut Case| case.weights.vectors.values_mut().for_each(|gains| gains.truncate(63));
    check(
        "llama",
        1,
        change,
        "`model.layers.0.mlp`: `model.layers.0.post_attention_layernorm.weight` is 63, but the program expects 64",
    );
    let change = |case: &mut Case| first_linear(&mut case.weights).bias = Some(vec![0.0; 9]);
    check(
        "qwen2",
        0,
        change,
        "`model.layers.0.self_attn`: `model.layers.0.self_attn.k_proj.bias` is 9, but the program expects 48",
    );
    check(
        "mistral",
        1,
        change,
        "`model.layers.0.mlp`: `model.layers.0.mlp.down_proj.weight, bias` is 9, but the program expects 0",
    );
}

#[test]
fn activations_in_groups_of_none() {
    let change =
        |case: &mut Case| first_linear(&mut case.weights).activations = Activations::Fp8Group(0);
    check(
        "llama",
        1,
        change,
        "`model.layers.0.mlp`: linear: groups of no columns for the inputs of `model.layers.0.mlp.down_proj.weight`",
    );
}

#[test]
fn a_hidden_state_of_another_batch() {
    let change = |case: &mut Case| case.batch = Batch::of_lengths([7]);
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn`: `hidden` is 5 by 64, but the batch and the program expect 7 by 64",
    );
    let change = |case: &mut Case| case.taps = Taps::default();
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn`: `hidden` is missing, but the batch and the program expect 5 by 64",
    );
}

#[test]
fn a_state_of_other_sequences() {
    let later = |case: &mut Case| case.batch = Batch::new(vec![Sequence { start: 4, length: 5 }]);
    check(
        "llama",
        0,
        later,
        "`model.layers.0.self_attn`: sequence 0 starts at token 4, but no state holds those before",
    );
    let change = |case: &mut Case| {
        later(case);
        case.state = Some(State::new(&case.program, 1));
    };
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn`: sequence 0 starts at token 4, but layer 0 of the state holds 0",
    );
    let change = |case: &mut Case| case.state = Some(State::new(&case.program, 3));
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn`: the state is of 3 sequences, the batch of 2",
    );
}

#[test]
fn a_program_that_contradicts_itself() {
    let operation = |number: usize, change: fn(&mut Operation)| {
        move |case: &mut Case| change(&mut case.phase.operations[number])
    };
    let none = |one: &mut Operation| {
        if let Operation::Add { input, .. } = one {
            *input = Tap(99)
        }
    };
    check("llama", 1, operation(5, none), "`model.layers.0.mlp`: add: there is no tap 99");
    let other = |one: &mut Operation| {
        if let Operation::Gate { output, .. } = one {
            *output = Program::HIDDEN
        }
    };
    check(
        "llama",
        1,
        operation(3, other),
        "`model.layers.0.mlp`: gate: `hidden` has 64 columns, expected 96",
    );
    let narrow = |one: &mut Operation| {
        if let Operation::Norm { width, .. } = one {
            *width = 0
        }
    };
    check(
        "llama",
        1,
        operation(0, narrow),
        "`model.layers.0.mlp`: norm: 64 columns of `hidden` cannot be cut into runs of 0",
    );
    let none = |one: &mut Operation| {
        if let Operation::Attend(attention) = one {
            attention.key_value_heads = 0
        }
    };
    check(
        "llama",
        0,
        operation(5, none),
        "`model.layers.0.self_attn`: attend: 8 heads cannot share 0 keys and values",
    );
    let carried = |case: &mut Case| case.phase.carried.push(Tap(99));
    check("llama", 0, carried, "`model.layers.0.self_attn`: there is no tap 99 to carry");
}

#[test]
fn a_value_that_is_not_finite() {
    for value in [f32::NAN, f32::INFINITY, 1e30] {
        let change = |case: &mut Case| {
            let gains = case.weights.vectors.values_mut().next().unwrap();
            gains.fill(value);
        };
        check(
            "llama",
            1,
            change,
            "`model.layers.0.mlp` made a value of `hidden` that is not finite, in row 0 of the batch",
        );
    }
    let change = |case: &mut Case| {
        let mut hidden = case.taps.take(Program::HIDDEN).unwrap();
        hidden.values_mut()[2 * 64] = f32::NAN;
        case.taps.insert(Program::HIDDEN, hidden);
    };
    check(
        "llama",
        0,
        change,
        "`model.layers.0.self_attn` made a value of `hidden` that is not finite, in row 2 of the batch",
    );
}

#[test]
fn rows_of_another_expert() {
    let checkpoint = checkpoint("mixtral");
    let mut program = checkpoint.program.clone();
    let runner = Runner::new(engine(), &checkpoint);
    let hidden = noise(1, 5 * program.hidden);
    let mut taps = Taps::new(Matrix::from_values(5, program.hidden, hidden).unwrap());
    let batch = Batch::of_lengths([5]);
    let mut run = |phase: &Phase| {
        let weights = runner.weights(phase);
        engine().run(&program, phase, &weights, &batch, &mut taps, None)
    };
    run(&checkpoint.program.blocks[0].phases[1]).unwrap();
    let mut phase = checkpoint.program.blocks[0].phases[2].clone();
    if let Some(Operation::Scatter { expert, .. }) = phase.operations.last_mut() {
        *expert += 1;
    }
    let error = run(&phase).unwrap_err();
    assert!(matches!(error, ForwardError::Program { .. }), "{error}");
    program.taps.clear();
}

#[test]
fn fewer_rows_than_an_operation_needs() {
    // In a part of an expert's phase, taps may begin with its rows alone.
    let short = |case: &mut Case, tap: usize, rows: usize| {
        let columns = case.program.width(Tap(tap));
        let values = noise(2, rows * columns);
        case.taps.insert(Tap(tap), Matrix::from_values(rows, columns, values).unwrap());
    };
    let tap = |name: &str| {
        let taps = checkpoint("mixtral").program.taps;
        taps.iter().position(|tap| tap.name == name).unwrap()
    };
    let gathered = |case: &mut Case| {
        short(case, tap("x"), 3);
        short(case, tap("routes"), 5);
    };
    check(
        "mixtral",
        2,
        gathered,
        "`model.layers.0.block_sparse_moe.experts.0`: `x` is 3 rows, but the batch and the program expect 5 by 64",
    );
    let beside = |case: &mut Case| {
        short(case, tap("gate"), 2);
        short(case, tap("up"), 3);
        case.phase.operations.retain(|one| matches!(one, Operation::Gate { .. }));
        case.phase.carried = vec![Tap(tap("inner"))];
    };
    check(
        "mixtral",
        2,
        beside,
        "`model.layers.0.block_sparse_moe.experts.0`: `up` is 3 rows beside 2, but the batch and the program expect 5 by 32",
    );
    let elsewhere = |case: &mut Case| short(case, Program::HIDDEN.0, 3);
    check(
        "mixtral",
        0,
        elsewhere,
        "`model.layers.0.self_attn`: `hidden` is 3 by 64, but the batch and the program expect 5 by 64",
    );
}

#[test]
fn a_head_of_another_width() {
    let program = checkpoint("llama").program;
    let mut slice = Linear::new(engine().gemm().pack(5, 32));
    let error = engine().logits(&program, &noise(1, 64), &slice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`model.norm`: `lm_head.weight` is 32, but the program expects 64"
    );
    slice = Linear::new(engine().gemm().pack(5, 64));
    let error = engine().logits(&program, &noise(1, 65), &slice).unwrap_err();
    assert!(matches!(error, ForwardError::Size { .. }), "{error}");
}
