//! Nanoseconds per logit of each accumulator, on one thread: the best of several runs over a
//! vocabulary of 128,000 in slices of 2048.
//!
//! `cargo run --release -p llmopt-eval --example logits`

#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use llmopt_eval::{Pair, PairLoss, Single, compare};
use std::hint::black_box;
use std::time::Instant;

const VOCABULARY: usize = 128_000;
const SLICE: usize = 2048;
const RUNS: usize = 200;

fn main() {
    let reference: Vec<f32> = (0..VOCABULARY).map(|i| ((i * 7919) % 2003) as f32 / 100.0).collect();
    let artifact: Vec<f32> = reference.iter().map(|logit| logit * 1.001).collect();
    let slices = || {
        let places = (0..).step_by(SLICE);
        places.zip(reference.chunks(SLICE).zip(artifact.chunks(SLICE)))
    };
    let single = best(|| {
        let mut single = Single::new(3);
        slices().for_each(|(first, (logits, _))| single.update(first, logits));
        black_box(single.finish());
    });
    let pair = best(|| {
        let mut pair = Pair::new(3);
        slices().for_each(|(first, (reference, artifact))| pair.update(first, reference, artifact));
        black_box(pair.finish());
    });
    let logits = VOCABULARY as f64;
    println!("single {:>8.2} ns/logit", single * 1e9 / logits);
    println!("pair   {:>8.2} ns/logit and model", pair * 1e9 / (2.0 * logits));
    for (windows, length) in [(64, 255), (400, 255), (500, 2047)] {
        let windows = losses(windows, length);
        let start = Instant::now();
        black_box(compare(&windows));
        let tokens = windows.len() * length;
        println!("compare {tokens:>8} tokens {:>8.3} s", start.elapsed().as_secs_f64());
    }
}

fn best(run: impl Fn()) -> f64 {
    let timed = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| timed()).fold(f64::INFINITY, f64::min)
}

fn losses(windows: usize, length: usize) -> Vec<Vec<PairLoss>> {
    let loss = |i: usize| PairLoss {
        nll_reference: 2.0,
        nll: 2.1,
        kld: ((i * 7919) % 100_003) as f64 / 1e6,
        agrees: !i.is_multiple_of(9),
        p_reference: 0.135,
        p: 0.122,
    };
    (0..windows).map(|w| (0..length).map(|t| loss(w * length + t)).collect()).collect()
}
