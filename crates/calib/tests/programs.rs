//! Sites and watches of the families' own programs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

/// The seeded checkpoints, and a model through the engine.
#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../../forward/tests/forward/support"]
mod support {
    pub(crate) mod checkpoint;
    pub(crate) mod model;
}

use llmopt_arch::program::{Operation, Phase, Program, Tap};
use llmopt_calib::{InputSite, Watch, input_sites, watches};
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

/// The inputs of all `sites` as the phases of `watched` show them.
fn seen(
    runner: &Runner<'_>,
    watched: &[Watch],
    sites: usize,
    hidden: &Matrix,
) -> Vec<Option<Matrix>> {
    let batch = Batch::of_lengths(LENGTHS);
    let (mut taps, mut found) = (Taps::new(hidden.clone()), vec![None; sites]);
    for Watch { phase, sites, taps: watched } in watched {
        let weights = runner.weights(phase);
        let engine = &runner.engine;
        let seen = engine.observe(runner.program, phase, &weights, &batch, &mut taps, watched);
        sites.iter().zip(seen.unwrap()).for_each(|(&site, seen)| found[site] = Some(seen));
    }
    found
}

/// The phases as they are, each with its sites.
fn whole(phases: &[Phase], sites: &[InputSite]) -> Vec<Watch> {
    let watch = |(number, phase): (usize, &Phase)| {
        let here: Vec<usize> =
            (0..sites.len()).filter(|&site| sites[site].phase == number).collect();
        let taps = here.iter().map(|&site| sites[site].tap).collect();
        Watch { phase: phase.clone(), sites: here, taps }
    };
    phases.iter().enumerate().map(watch).collect()
}

#[test]
fn what_is_cut_down_sees_the_same_bits_as_the_whole() {
    for folder in FOLDERS {
        let checkpoint = checkpoint(folder);
        let runner = Runner::new(engine(), &checkpoint);
        let mut hidden = hidden(runner.program);
        for block in &runner.program.blocks {
            let sites = input_sites(block, |_| true).unwrap();
            let expected = seen(&runner, &whole(&block.phases, &sites), sites.len(), &hidden);
            assert!(expected.iter().all(Option::is_some), "{folder}: a site without inputs");
            let all = seen(&runner, &watches(block, &sites), sites.len(), &hidden);
            assert_eq!(all, expected, "{folder}");
            // Each site alone, as in a run that has memory for one.
            for (number, site) in sites.iter().enumerate() {
                let watched = watches(block, std::slice::from_ref(site));
                let found = seen(&runner, &watched, 1, &hidden);
                assert_eq!(found[0], expected[number], "{folder}: {:?}", site.tensors);
                let steps = |phases: &mut dyn Iterator<Item = &Phase>| -> usize {
                    phases.map(|phase| phase.operations.len()).sum()
                };
                let cut = steps(&mut watched.iter().map(|watch| &watch.phase));
                assert!(cut < steps(&mut block.phases.iter()), "{folder}: nothing was left out");
            }
            let batch = Batch::of_lengths(LENGTHS);
            let mut taps = Taps::new(hidden);
            for phase in &block.phases {
                let weights = runner.weights(phase);
                let engine = &runner.engine;
                engine.run(runner.program, phase, &weights, &batch, &mut taps, None).unwrap();
            }
            hidden = taps.into_hidden().unwrap();
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
