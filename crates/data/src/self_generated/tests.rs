//! Drawn windows: the same everywhere, and likelier than chance.

use super::*;
use llmopt_linalg::{Gemm, KernelChoice, Precision};
use llmopt_run::{Cancel, Silent};
use std::path::Path;

const SELF_GENERATED: SelfGenerated =
    SelfGenerated { windows: 70, window: 61, first: None, seed: 3 };
const AMPLE: Resources = Resources { memory: 1 << 30, threads: 2 };

fn tiny() -> Variant {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-llama");
    Variant::open(&folder).expect("a model")
}

fn engine() -> Engine {
    Engine::new(Gemm::new(Precision::F32, KernelChoice::Auto).expect("a kernel"))
}

fn drawn(own: SelfGenerated, resources: Resources) -> Result<Vec<Vec<u32>>, Error> {
    with_tiny(resources, |variant, run| own.drawn(variant, run))
}

fn with_tiny<T>(resources: Resources, work: impl FnOnce(&Variant, Run<'_>) -> T) -> T {
    let (engine, scratch, cancel) = (engine(), std::env::temp_dir(), Cancel::new());
    let run =
        Run { engine: &engine, resources, scratch: &scratch, events: &Silent, cancel: &cancel };
    work(&tiny(), run)
}

/// Keeps all logits.
struct Kept(Vec<Vec<Vec<f32>>>);

impl Judge for Kept {
    fn after_layer(&mut self, _layer: usize, _hidden: &[&Matrix]) -> Result<(), Error> {
        Ok(())
    }

    fn logits(&mut self, batch: usize, _first: usize, logits: &[&Matrix]) -> Result<(), Error> {
        let rows = self.0[batch].iter_mut().enumerate();
        rows.for_each(|(row, kept)| kept.extend(logits[0].row(row)));
        Ok(())
    }
}

/// What the model expects behind each token of the windows but the last, as log-probabilities at the
/// temperature of the draws.
fn expected(windows: &[Vec<u32>]) -> Vec<Vec<f64>> {
    let (variant, engine, batches) = (tiny(), engine(), SELF_GENERATED.batches(windows.to_vec()));
    let nothing = |batch| vec![Vec::new(); batches.positions_of(batch).len()];
    let mut kept = Kept((0..batches.len()).map(nothing).collect());
    let reading = Reading {
        variants: from_ref(&variant),
        batches: &batches,
        memory: &SELF_GENERATED.memory(&variant, &engine, AMPLE).expect("a plan"),
        run: Run {
            engine: &engine,
            resources: AMPLE,
            scratch: Path::new("."),
            events: &Silent,
            cancel: &Cancel::new(),
        },
    };
    reading.sweep(&mut kept).expect("a sweep");
    let normal = |logits: Vec<f32>| {
        let logits = logits.into_iter().map(|logit| f64::from(logit) / TEMPERATURE);
        let sum: f64 = logits.clone().map(f64::exp).sum();
        logits.map(|logit| logit - sum.ln()).collect()
    };
    kept.0.into_iter().flatten().map(normal).collect()
}

/// Nats per token of the windows, where the model expects this.
fn loss(windows: &[Vec<u32>], expected: &[Vec<f64>]) -> f64 {
    let tokens = windows.iter().flat_map(|window| &window[1..]);
    let losses = tokens.zip(expected).map(|(&token, expected)| -expected[token as usize]);
    losses.sum::<f64>() / expected.len() as f64
}

#[test]
fn windows_depend_on_neither_threads_nor_budget() {
    let expected = drawn(SELF_GENERATED, AMPLE).expect("windows");
    for threads in [1, 4] {
        assert_eq!(
            drawn(SELF_GENERATED, Resources { threads, ..AMPLE }).expect("windows"),
            expected
        );
        let smallest = match drawn(SELF_GENERATED, Resources { memory: 10 << 20, threads }) {
            Err(Error::Budget { smallest, .. }) => smallest,
            other => panic!("{other:?}"),
        };
        let tight = Resources { memory: smallest, threads };
        assert!(SELF_GENERATED.memory(&tiny(), &engine(), tight).expect("a plan").spills);
        assert_eq!(drawn(SELF_GENERATED, tight).expect("windows"), expected);
    }
    assert_ne!(
        drawn(SelfGenerated { seed: 4, ..SELF_GENERATED }, AMPLE).expect("windows"),
        expected
    );
}

#[test]
fn tokens_are_drawn_from_what_the_model_expects_behind_the_draft() {
    let draft = SELF_GENERATED.draft(1024);
    let redrawn = with_tiny(AMPLE, |variant, run| {
        let memory = SELF_GENERATED.memory(variant, run.engine, AMPLE)?;
        SELF_GENERATED.redrawn(draft.clone(), variant, run, &memory)
    });
    let expected = expected(&draft);
    let entropy = |expected: &Vec<f64>| -expected.iter().map(|p| p * p.exp()).sum::<f64>();
    let entropy = expected.iter().map(entropy).sum::<f64>() / expected.len() as f64;
    // The mean of 4200 draws, whose standard deviation is about .05.
    let found = loss(&redrawn.expect("a sweep"), &expected);
    assert!((found - entropy).abs() < 0.2, "{found}, with an entropy of {entropy}");
}

#[test]
fn a_model_expects_its_own_windows_far_more_than_random_ids() {
    let loss = |windows: &[Vec<u32>]| loss(windows, &expected(windows));
    let (random, own) =
        (loss(&SELF_GENERATED.draft(1024)), loss(&drawn(SELF_GENERATED, AMPLE).expect("windows")));
    assert!(own < random - 2.0, "{own} nats per token against {random} of random ids");
}

#[test]
fn the_first_token_stays() {
    let draft = SELF_GENERATED.draft(1024);
    let windows = drawn(SELF_GENERATED, AMPLE).expect("windows");
    assert!(windows.iter().zip(&draft).all(|(window, draft)| window[0] == draft[0]));
    let windows = drawn(SelfGenerated { first: Some(1), windows: 2, ..SELF_GENERATED }, AMPLE)
        .expect("windows");
    assert!(windows.iter().all(|window| window[0] == 1 && window.len() == 61));
}

#[test]
fn a_draft_is_spread_over_the_vocabulary() {
    let mut counts = [0_u32; 10];
    let draft = SelfGenerated { windows: 100, ..SELF_GENERATED }.draft(10);
    draft.into_iter().flatten().for_each(|id| counts[id as usize] += 1);
    // 610 each, with a standard deviation of 23.
    assert!(counts.iter().all(|count| count.abs_diff(610) < 90), "{counts:?}");
}

#[test]
fn more_windows_than_memory_are_refused() {
    for windows in [1 << 26, usize::MAX] {
        let error =
            drawn(SelfGenerated { windows, ..SELF_GENERATED }, AMPLE).expect_err("too many");
        assert!(error.to_string().ends_with("windows of 61 tokens do not fit in memory"));
    }
}
