//! Bounds of memory against what a phase has to hold, counted by hand.

use crate::support::checkpoint::checkpoint;
use llmopt_forward::{Batch, Engine, State};
use llmopt_linalg::{Gemm, KernelChoice, Precision};

/// Tokens in two chunks of rows.
const TOKENS: usize = 300;

fn engine() -> Engine {
    Engine::new(Gemm::new(Precision::F32, KernelChoice::Portable).unwrap())
}

/// Phase `number` of `folder` needs at least `floats` numbers, and the bound is not far above.
#[track_caller]
fn check(folder: &str, number: usize, threads: usize, floats: usize) {
    let program = checkpoint(folder).program;
    let phase = &program.blocks[0].phases[number];
    let batch = Batch::of_lengths([TOKENS]);
    let bound = engine().working_bytes(&program, phase, &batch, threads).unwrap() as usize;
    let scratch =
        threads * (64 * 4 * (256 + 2 * 16 + 2) * 4 + engine().gemm().scratch_bytes(256, 192));
    let needed = floats * 4;
    assert!((needed..2 * needed + scratch).contains(&bound), "{bound} for {needed}");
}

#[test]
fn attention_holds_queries_keys_values_and_what_they_mix_to() {
    // 8 heads and 2 of keys and values, 8 columns each in a hidden state of 64; both chunks have
    // the normed hidden state.
    let program = checkpoint("llama").program;
    let columns: usize = program.taps.iter().skip(2).take(4).map(|tap| tap.width).sum();
    check("llama", 0, 2, TOKENS * columns);
}

#[test]
fn gated_rows_live_in_chunks_alone() {
    // The normed hidden state, gate, up, their product and what comes of it: in one chunk or two.
    let columns = 64 + 3 * 96;
    check("llama", 1, 1, 256 * columns);
    check("llama", 1, 2, 2 * 256 * columns);
    check("llama", 1, 8, 2 * 256 * columns);
}

#[test]
fn what_is_carried_and_kept_is_counted() {
    let program = checkpoint("mixtral").program;
    let batch = Batch::of_lengths([3, 4]);
    let router = &program.blocks[0].phases[1];
    let columns: usize = router.carried.iter().map(|&tap| program.width(tap)).sum();
    assert_eq!(Engine::carried_bytes(&program, router, &batch), 7 * columns as u64 * 4);
    let llama = checkpoint("llama").program;
    let keys: usize = llama.taps.iter().filter(|tap| tap.name == "k").map(|tap| tap.width).sum();
    let layers = llama.blocks.len();
    assert_eq!(State::bytes_per_token(&llama), (2 * keys * layers * 4) as u64);
}
