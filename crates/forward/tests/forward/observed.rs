//! What is watched is what the phase computes with, and watching it changes nothing.

use crate::support::checkpoint::{Checkpoint, FOLDERS, checkpoint};
use crate::support::model::Runner;
use crate::support::{noise, on_threads};
use llmopt_arch::program::{Operation, Phase, Program, Tap};
use llmopt_forward::{Batch, Engine, ForwardError, Matrix, Taps};
use llmopt_linalg::{Gemm, KernelChoice, Precision};

/// More rows than one chunk has.
const LENGTHS: [usize; 3] = [5, 1, 290];

fn engine() -> Engine {
    Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).unwrap())
}

fn embedded(program: &Program) -> Taps {
    let tokens = LENGTHS.iter().sum();
    let values = noise(3, tokens * program.hidden);
    Taps::new(Matrix::from_values(tokens, program.hidden, values).unwrap())
}

/// What matrices of the phase multiply, each once.
fn inputs(phase: &Phase) -> Vec<Tap> {
    let mut taps: Vec<Tap> = Vec::new();
    for linear in phase.operations.iter().filter_map(Operation::linear) {
        if !taps.contains(&linear.input) {
            taps.push(linear.input);
        }
    }
    taps
}

/// Goes through the blocks of a model; `visit` sees every phase with the taps before it.
fn walk(checkpoint: &Checkpoint, visit: impl Fn(&Runner<'_>, &Phase, &Batch, &Taps)) {
    let runner = Runner::new(engine(), checkpoint);
    let (program, batch) = (runner.program, Batch::of_lengths(LENGTHS));
    let mut taps = embedded(program);
    for phase in program.blocks.iter().flat_map(|block| &block.phases) {
        visit(&runner, phase, &batch, &taps);
        let weights = runner.weights(phase);
        runner.engine.run(program, phase, &weights, &batch, &mut taps, None).unwrap();
    }
}

fn observed(
    runner: &Runner<'_>,
    phase: &Phase,
    batch: &Batch,
    taps: &mut Taps,
    watched: &[Tap],
) -> Result<Vec<Matrix>, ForwardError> {
    let weights = runner.weights(phase);
    runner.engine.observe(runner.program, phase, &weights, batch, taps, watched)
}

#[test]
fn watched_taps_are_those_that_a_phase_would_carry() {
    for folder in FOLDERS {
        walk(&checkpoint(folder), |runner, phase, batch, before| {
            let watched = inputs(phase);
            if watched.is_empty() {
                return;
            }
            let mut carrying = phase.clone();
            carrying.carried.extend(watched.iter().filter(|tap| !phase.carried.contains(tap)));
            let mut carried = before.clone();
            let weights = runner.weights(phase);
            let program = runner.program;
            runner.engine.run(program, &carrying, &weights, batch, &mut carried, None).unwrap();
            let seen = observed(runner, phase, batch, &mut before.clone(), &watched).unwrap();
            assert_eq!(seen.len(), watched.len());
            for (tap, seen) in watched.iter().zip(&seen) {
                assert_eq!(Some(seen), carried.get(*tap), "{folder}: {} {tap:?}", phase.name);
            }
        });
    }
}

#[test]
fn watching_changes_neither_what_is_carried_nor_with_threads() {
    for folder in ["llama", "gemma2", "mixtral", "qwen3_moe"] {
        walk(&checkpoint(folder), |runner, phase, batch, before| {
            let mut expected = before.clone();
            let weights = runner.weights(phase);
            let program = runner.program;
            runner.engine.run(program, phase, &weights, batch, &mut expected, None).unwrap();
            let seen = |threads| {
                let mut taps = before.clone();
                let watched = inputs(phase);
                let seen =
                    on_threads(threads, || observed(runner, phase, batch, &mut taps, &watched));
                assert_eq!(taps, expected, "{folder}: {}", phase.name);
                seen.unwrap()
            };
            assert_eq!(seen(1), seen(4), "{folder}: {}", phase.name);
        });
    }
}

#[test]
fn an_expert_shows_the_rows_that_are_routed_to_it() {
    for (folder, experts) in [("mixtral", 6), ("qwen3_moe", 5)] {
        let seen = std::cell::Cell::new(0);
        walk(&checkpoint(folder), |runner, phase, batch, before| {
            let gather = phase.operations.iter().find_map(|operation| match operation {
                &Operation::Gather { input, routes, expert, output } => {
                    Some((input, routes, expert, output))
                }
                _ => None,
            });
            let Some((input, routes, expert, output)) = gather else { return };
            let (input, routes) = (before.get(input).unwrap(), before.get(routes).unwrap());
            let chosen = (0..input.rows()).filter(|&row| routes.row(row)[expert] != 0.0);
            let expected: Vec<f32> = chosen.flat_map(|row| input.row(row)).copied().collect();
            let watched = inputs(phase);
            assert_eq!(watched[0], output);
            let found = observed(runner, phase, batch, &mut before.clone(), &watched).unwrap();
            assert_eq!(found[0].values(), expected, "{folder}: {}", phase.name);
            assert_eq!(found[1].rows(), found[0].rows(), "{folder}: {}", phase.name);
            assert!((1..input.rows()).contains(&found[0].rows()), "{folder}: {}", phase.name);
            seen.set(seen.get() + 1);
        });
        assert_eq!(seen.get(), experts, "{folder}");
    }
}

#[test]
fn a_tap_that_is_only_read_stays_as_it_was() {
    let checkpoint = checkpoint("mixtral");
    walk(&checkpoint, |runner, phase, batch, before| {
        let read = phase.operations.iter().find_map(|operation| match operation {
            &Operation::Gather { input, .. } => Some(input),
            _ => None,
        });
        let Some(read) = read else { return };
        let mut taps = before.clone();
        let seen = observed(runner, phase, batch, &mut taps, &[read]).unwrap();
        assert_eq!(Some(&seen[0]), before.get(read), "{}", phase.name);
        // The last expert carries it no further.
        assert_eq!(taps.get(read).is_some(), phase.carried.contains(&read), "{}", phase.name);
    });
}

#[test]
fn the_hidden_state_is_watched_as_the_phase_leaves_it() {
    let checkpoint = checkpoint("llama");
    let runner = Runner::new(engine(), &checkpoint);
    let phase = &runner.program.blocks[0].phases[0];
    let mut taps = embedded(runner.program);
    let batch = Batch::of_lengths(LENGTHS);
    let seen = observed(&runner, phase, &batch, &mut taps, &[Program::HIDDEN]).unwrap();
    assert_eq!(Some(&seen[0]), taps.hidden());
    assert_ne!(Some(&seen[0]), embedded(runner.program).hidden());
}

#[test]
fn what_is_watched_must_be_finite() {
    let mut checkpoint = checkpoint("llama");
    let name = "model.layers.0.mlp.gate_proj.weight";
    checkpoint.tensors.get_mut(name).unwrap().fill(f32::MAX);
    let runner = Runner::new(engine(), &checkpoint);
    let mut phase = runner.program.blocks[0].phases[1].clone();
    let watched = inputs(&phase);
    let down = phase
        .operations
        .iter()
        .position(|operation| operation.linear().is_some_and(|linear| linear.input == watched[1]));
    // Nothing that is carried depends on it.
    phase.operations.truncate(down.unwrap());
    let (mut taps, batch) = (embedded(runner.program), Batch::of_lengths(LENGTHS));
    let error = observed(&runner, &phase, &batch, &mut taps, &watched).unwrap_err();
    let ForwardError::NotFinite { phase, row, .. } = error else { panic!("{error}") };
    assert_eq!((phase.as_str(), row), ("model.layers.0.mlp", 0));
}
