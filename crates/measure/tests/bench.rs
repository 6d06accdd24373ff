//! A bench of two models: every number agrees with the others. How fast it is, no test can say.

use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use llmopt_measure::{Bench, BenchRequest, BenchedModel, Spread, bench};
use llmopt_run::{Cancel, Resources, Silent};
use std::path::Path;

const PROMPT: usize = 6;
const TOKENS: usize = 5;

fn benched(family: &str, seed: u64) -> Bench {
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families");
    let request = BenchRequest {
        model: families.join(family),
        against: Some(families.join(family)),
        batches: vec![2, 1],
        prompt: PROMPT,
        tokens: TOKENS,
        runs: 3,
        seed,
        precision: Precision::F32,
        code_inputs: InputCodes::Int16,
        kernel: KernelChoice::Auto,
    };
    let resources = Resources { memory: 256 << 20, threads: 1 };
    bench(&request, resources, &Silent, &Cancel::new()).expect("a model that fits")
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
}

#[test]
fn numbers_agree_with_each_other() {
    for family in ["llama", "qwen3_moe"] {
        let found = benched(family, 0);
        assert_eq!(found.protocol.batches, [1, 2]);
        found.models.iter().for_each(|model| check_model(model, &found));
        let [model, original] = &found.models[..] else { panic!("{} models", found.models.len()) };
        for (ours, theirs) in model.batches.iter().zip(&original.batches) {
            let ratio = ours.tokens_per_second.median / theirs.tokens_per_second.median;
            assert_eq!((ours.speed_up, theirs.speed_up), (Some(ratio), None));
        }
        assert_eq!(model.weights, original.weights);
        assert_eq!(model.weights.experts > 0, family == "qwen3_moe");
    }
}

fn check_model(model: &BenchedModel, found: &Bench) {
    let weights = model.weights;
    let alone = model.batches[0].tokens_per_second.median;
    for batch in &model.batches {
        let (sequences, bytes) = (batch.batch as f64, batch.bytes_per_token);
        near(bytes.head as f64, (weights.head as f64 / sequences).round());
        let layers = bytes.layers * batch.batch as u64;
        assert!(layers + 2 >= weights.layers && layers <= weights.layers + weights.experts + 2);
        // Prompts of 6, 5 more: in the mean 9 tokens are seen.
        assert_eq!(bytes.cache, 9 * model.cache_bytes_per_token);
        let rate = batch.tokens_per_second.median;
        near(batch.bytes_per_second, bytes.total() as f64 * rate);
        near(batch.bandwidth_share, batch.bytes_per_second / found.bandwidth.all_threads.median);
        near(batch.batching_gain.expect("a sequence alone is measured"), rate / alone);
        near(batch.tokens_per_core_second * batch.core_seconds_per_1000_tokens, 1000.0);
        assert!(batch.inter_token_p50_seconds <= batch.inter_token_p99_seconds);
        let prompts = batch.prompt_tokens_per_second;
        for Spread { low, median, high } in [prompts, batch.tokens_per_second] {
            assert!(0.0 < low && low <= median && median <= high, "{low} {median} {high}");
        }
        near(prompts.median, PROMPT as f64 * sequences / batch.first_token_seconds.median);
    }
}

#[test]
fn weights_that_fit_in_the_cache_are_marked_where_the_system_tells_of_one() {
    let found = benched("llama", 3);
    assert_eq!(found.protocol.seed, 3);
    let weights = found.models[0].weights.total();
    let expected = found.machine.last_level_cache.map(|cache| weights < 4 * cache);
    assert_eq!(found.models[0].fits_in_cache, expected);
    let notes = found.notes.join("\n");
    assert_eq!(notes.contains("fit in the last-level cache"), expected == Some(true), "{notes}");
    // A quarter of 512 MiB, less what the program itself takes: smaller than usual, and it is said.
    assert!(found.bandwidth.buffer_bytes <= 128 << 20 && notes.contains("the buffer"), "{notes}");
}
