//! Every family's seeded checkpoint runs as the definitions of its operations say.

use crate::support::checkpoint::{Checkpoint, FOLDERS, checkpoint};
use crate::support::model::Runner;
use crate::support::twin::Twin;
use crate::support::{difference, on_threads};
use llmopt_forward::{Engine, State};
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_scheme::Activations;

fn engine(choice: KernelChoice) -> Engine {
    Engine::new(Gemm::new(Precision::F32, choice).unwrap())
}

/// Token ids of sequences of unequal length; the longest crosses every window of the checkpoints.
fn sequences(checkpoint: &Checkpoint) -> Vec<Vec<u32>> {
    let vocabulary = checkpoint.program.vocabulary as u32;
    let sequence = |length: u32| (0..length).map(|i| (i * i * 7 + length) % vocabulary).collect();
    [3, 1, 77, 20].into_iter().map(sequence).collect()
}

fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

#[test]
fn logits_are_those_of_the_definitions() {
    for folder in FOLDERS {
        let checkpoint = checkpoint(folder);
        let sequences = sequences(&checkpoint);
        let expected: Vec<f64> = sequences
            .iter()
            .flat_map(|tokens| Twin::logits(&checkpoint.program, &checkpoint.tensors, tokens))
            .flatten()
            .collect();
        for choice in [KernelChoice::Auto, KernelChoice::Portable] {
            let runner = Runner::new(engine(choice), &checkpoint);
            let found = runner.logits(&slices(&sequences), None);
            let error = difference(found.values(), &expected);
            assert!(error < 2e-5, "{folder}: off by {error}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for folder in ["llama", "gemma2", "qwen3_moe"] {
        let checkpoint = checkpoint(folder);
        let mut sequences = sequences(&checkpoint);
        for activations in [Activations::None, Activations::Int8Token] {
            let mut runner = Runner::new(engine(KernelChoice::Auto), &checkpoint);
            runner.activations = activations;
            for _ in 0..2 {
                let run =
                    |threads| on_threads(threads, || runner.logits(&slices(&sequences), None));
                let alone = run(1);
                assert_eq!(alone, run(2), "{folder}");
                assert_eq!(alone, run(4), "{folder}");
                // Then with more than one chunk of rows.
                sequences.push((0..300).map(|i| i % 50).collect());
            }
        }
    }
}

#[test]
fn neighbours_in_a_batch_change_nothing() {
    for folder in ["llama", "gemma2", "mixtral"] {
        let checkpoint = checkpoint(folder);
        let runner = Runner::new(engine(KernelChoice::Portable), &checkpoint);
        let sequences = sequences(&checkpoint);
        let together = runner.logits(&slices(&sequences), None);
        let alone = slices(&sequences)
            .into_iter()
            .flat_map(|tokens| runner.logits(&[tokens], None).into_values());
        assert!(together.values().iter().copied().eq(alone), "{folder}");
    }
}

#[test]
fn a_state_goes_on_where_a_sequence_stopped() {
    for folder in FOLDERS {
        let checkpoint = checkpoint(folder);
        let runner = Runner::new(engine(KernelChoice::Auto), &checkpoint);
        let mut sequences = sequences(&checkpoint);
        if State::outgrown(&checkpoint.program, 40, 77) {
            sequences[2].truncate(60);
        }
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let whole =
            sequences.iter().flat_map(|tokens| runner.logits(&[tokens], None).into_values());
        let whole: Vec<f64> = whole.map(f64::from).collect();
        let mut state = State::new(&checkpoint.program, sequences.len());
        let mut parts = vec![Vec::new(); sequences.len()];
        // Unequal first parts, then a token each, until the longest goes on alone.
        let mut ends = [2, 0, 40, 20];
        let mut begins = [0; 4];
        while begins[..] != lengths {
            let now: Vec<&[u32]> = (0..4).map(|i| &sequences[i][begins[i]..ends[i]]).collect();
            let logits = runner.logits(&now, Some(&mut state));
            let mut rows = logits.values().chunks(logits.columns());
            for (part, tokens) in parts.iter_mut().zip(&now) {
                tokens.iter().for_each(|_| part.extend_from_slice(rows.next().unwrap()));
            }
            begins = ends;
            ends = [0, 1, 2, 3].map(|i| lengths[i].min(ends[i] + 1));
        }
        assert_eq!(state.tokens(2), lengths[2]);
        let error = difference(&parts.concat(), &whole);
        assert!(error < 2e-5, "{folder}: off by {error}");
    }
}

#[test]
fn sequences_come_and_go_and_leave_the_others_as_they_were() {
    for folder in ["llama", "gemma2", "phi3"] {
        let checkpoint = checkpoint(folder);
        let program = &checkpoint.program;
        let runner = Runner::new(engine(KernelChoice::Portable), &checkpoint);
        let tokens: Vec<u32> = (0..30).map(|i| i * 7 % 50).collect();
        let mut state = State::new(program, 0);
        let lengths =
            |state: &State| (0..state.sequences()).map(|n| state.tokens(n)).collect::<Vec<_>>();
        (0..3).for_each(|_| state.add(program));
        runner.logits(&[&tokens[..5], &tokens[3..20], &tokens[..9]], Some(&mut state));
        state.remove(1);
        state.remove(7);
        state.add(program);
        assert_eq!(lengths(&state), [5, 9, 0], "{folder}");
        state.clear(program, 0);
        let found = runner.logits(&[&tokens[..8], &tokens[9..12], &tokens[2..4]], Some(&mut state));
        assert_eq!(lengths(&state), [8, 12, 2], "{folder}");
        let alone = |tokens: &[u32]| runner.logits(&[tokens], None).into_values();
        let (whole, columns) = (alone(&tokens[..12]), found.columns());
        let expected = [alone(&tokens[..8]), whole[9 * columns..].to_vec(), alone(&tokens[2..4])];
        let expected: Vec<f64> = expected.concat().into_iter().map(f64::from).collect();
        let error = difference(found.values(), &expected);
        assert!(error < 2e-5, "{folder}: off by {error}");
    }
}

#[test]
fn factors_that_follow_the_length_say_from_where() {
    for (folder, expected) in [("phi3", Some(64)), ("llama", None), ("gemma3", None)] {
        assert_eq!(State::rotated_alike(&checkpoint(folder).program), expected, "{folder}");
    }
}

#[test]
fn long_factors_outgrow_what_is_kept() {
    for (folder, from, to, expected) in [
        ("phi3", 64, 65, true),
        ("phi3", 0, 77, false),
        ("phi3", 65, 66, false),
        ("phi3", 63, 64, false),
        ("llama", 64, 65, false),
    ] {
        let program = checkpoint(folder).program;
        assert_eq!(State::outgrown(&program, from, to), expected, "{folder} {from} {to}");
    }
}
