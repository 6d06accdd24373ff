//! Sites and segments of the families' own programs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

/// The seeded checkpoints, and a model through the engine.
#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../../forward/tests/forward/support"]
mod support {
    pub(crate) mod checkpoint;
    pub(crate) mod model;
}

use llmopt_arch::program::{Operation, Phase, Program, Tap};
use llmopt_calib::{InputSite, input_sites, segments};
use llmopt_forward::{Batch, Engine, Matrix, Taps};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use std::collections::BTreeSet;
use support::checkpoint::{FOLDERS, checkpoint};
use support::model::Runner;

const LENGTHS: [usize; 3] = [3, 1, 40];

fn engine() -> Engine {
    Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).unwrap())
}

/// Hidden states that look like noise.
fn hidden(program: &Program) -> Matrix {
    let tokens: usize = LENGTHS.iter().sum();
    let wave = |i: usize| ((i * i) as f32 * 0.37).sin();
    let values = (0..tokens * program.hidden).map(wave).collect();
    Matrix::from_values(tokens, program.hidden, values).unwrap()
}

/// Runs these phases one after the other; `visit` sees what is carried behind each.
fn run<'p>(
    runner: &Runner<'_>,
    phases: impl Iterator<Item = &'p Phase>,
    hidden: &Matrix,
    mut visit: impl FnMut(usize, &Taps),
) -> Matrix {
    let (batch, mut taps) = (Batch::of_lengths(LENGTHS), Taps::new(hidden.clone()));
    for (number, phase) in phases.enumerate() {
        let weights = runner.weights(phase);
        runner.engine.run(runner.program, phase, &weights, &batch, &mut taps, None).unwrap();
        visit(number, &taps);
    }
    taps.into_hidden().unwrap()
}

/// The inputs of all `sites` as whole phases show them.
fn seen(
    runner: &Runner<'_>,
    phases: &[Phase],
    sites: &[InputSite],
    hidden: &Matrix,
) -> Vec<Matrix> {
    let (batch, mut taps) = (Batch::of_lengths(LENGTHS), Taps::new(hidden.clone()));
    let mut found = Vec::new();
    for (number, phase) in phases.iter().enumerate() {
        let here = sites.iter().filter(|site| site.phase == number);
        let watched: Vec<Tap> = here.map(|site| site.tap).collect();
        let (weights, engine) = (runner.weights(phase), &runner.engine);
        let seen = engine.observe(runner.program, phase, &weights, &batch, &mut taps, &watched);
        found.extend(seen.unwrap());
    }
    found
}

#[test]
fn segments_compute_the_bits_of_the_block_and_stop_at_its_sites() {
    for folder in FOLDERS {
        let checkpoint = checkpoint(folder);
        let runner = Runner::new(engine(), &checkpoint);
        let mut hidden = hidden(runner.program);
        for block in &runner.program.blocks {
            let sites = input_sites(block, |_| true).unwrap();
            let expected = seen(&runner, &block.phases, &sites, &hidden);
            let behind = run(&runner, block.phases.iter(), &hidden, |_, _| ());
            // All sites, and each alone, as in a run that has done the others.
            let alone = (0..sites.len()).map(|site| site..site + 1);
            for chosen in std::iter::once(0..sites.len()).chain(alone) {
                let cut = segments(block, &sites[chosen.clone()]);
                let mut found = Vec::new();
                let phases = cut.iter().map(|segment| &segment.phase);
                let last = run(&runner, phases, &hidden, |number, taps| {
                    let site = cut[number].site.map(|site| &sites[chosen.start + site]);
                    found.extend(site.map(|site| taps.get(site.tap).unwrap().clone()));
                });
                assert_eq!(found, expected[chosen], "{folder}");
                assert_eq!(last, behind, "{folder}");
            }
            hidden = behind;
        }
    }
}

#[test]
fn every_matrix_of_a_block_is_at_one_site_that_fits_it() {
    for folder in FOLDERS {
        let program = checkpoint(folder).program;
        for block in &program.blocks {
            let sites = input_sites(block, |_| true).unwrap();
            let linears = block.phases.iter().flat_map(|phase| &phase.operations);
            let mut matrices: BTreeSet<&str> = linears
                .filter_map(Operation::linear)
                .map(|linear| linear.weight.as_str())
                .collect();
            for site in &sites {
                assert_eq!(site.extent.columns, program.width(site.tap), "{folder}: {site:?}");
                for tensor in &site.tensors {
                    assert!(matrices.remove(tensor.as_str()), "{folder}: {tensor} is at two sites");
                }
            }
            assert!(matrices.is_empty(), "{folder}: {matrices:?} are at none");
            let taps: BTreeSet<(usize, Tap)> =
                sites.iter().map(|site| (site.phase, site.tap)).collect();
            assert_eq!(taps.len(), sites.len(), "{folder}: one input at two sites");
        }
    }
}

/// Sites of the first block of a family: how many tensors each has, whether it is an expert's, and
/// whether its outputs are added to the hidden state.
#[track_caller]
fn check(folder: &str, expected: &[(usize, bool, bool)]) {
    let program = checkpoint(folder).program;
    let sites = input_sites(&program.blocks[0], |_| true).unwrap();
    let told = |site: &InputSite| {
        (site.tensors.len(), site.expert.is_some(), site.extent.residual == Some(program.hidden))
    };
    assert_eq!(sites.iter().map(told).collect::<Vec<_>>(), expected, "{folder}");
}

#[test]
fn matrices_that_share_their_inputs_share_a_site() {
    let expert = [(2, true, false), (1, true, false)];
    // Query, key and value; output; gate and up; down.
    let dense = [(3, false, false), (1, false, true), (2, false, false), (1, false, true)];
    check("llama", &dense);
    check("qwen3", &dense);
    // One matrix for query, key and value, and one for gate and up.
    check("phi3", &[(1, false, false), (1, false, true), (1, false, false), (1, false, true)]);
    // Norms behind both, and a factor on both.
    let apart = dense.map(|(tensors, expert, _)| (tensors, expert, false));
    for folder in ["gemma2", "gemma3_text", "olmo2", "granite"] {
        check(folder, &apart);
    }
    // The router is a matrix of its own.
    let mixtral = [&dense[..2], &[(1, false, false)], &expert, &expert, &expert].concat();
    check("mixtral", &mixtral);
}
