//! Nanoseconds per weight of every method and scheme, on one thread: the best of several runs on a
//! band of 16 rows of 4096 normally distributed weights, BF16 scales.
//!
//! `cargo run --release -p llmopt-quant --example speed`

#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use llmopt_quant::{Nearest, Quantizer, Search};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};
use llmopt_tensor::Dtype;
use ndarray::Array2;
use std::time::Instant;

const ROWS: usize = 16;
const COLUMNS: usize = 4096;
const RUNS: usize = 300;

fn main() {
    let weights = normal(ROWS, COLUMNS);
    println!("{:<32}{:>10}{:>10}", "ns/weight", "rtn", "search");
    for scheme in schemes() {
        let measure = |quantizer: &dyn Quantizer| {
            let run = || {
                let start = Instant::now();
                let matrix = quantizer.quantize(weights.view(), &scheme, Dtype::BF16);
                std::hint::black_box(matrix).expect("finite weights");
                start.elapsed().as_secs_f64()
            };
            let best = (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min);
            best * 1e9 / (ROWS * COLUMNS) as f64
        };
        let name = format!("{scheme} {:?}", scheme.granularity);
        println!("{name:<32}{:>10.2}{:>10.2}", measure(&Nearest), measure(&Search));
    }
}

fn schemes() -> Vec<Scheme> {
    let block = Granularity::Block { rows: 128, columns: 128 };
    let row = |weights, granularity, symmetric| Scheme {
        weights,
        granularity,
        symmetric,
        activations: Activations::None,
    };
    let int = |bits| Numeric::Int { bits };
    vec![
        row(int(8), Granularity::Channel, true),
        row(int(8), Granularity::Channel, false),
        row(int(8), Granularity::Group(128), true),
        row(int(4), Granularity::Channel, true),
        row(int(4), Granularity::Group(128), true),
        row(int(4), Granularity::Group(32), true),
        row(int(4), Granularity::Group(128), false),
        row(int(4), Granularity::Group(32), false),
        row(int(3), Granularity::Group(64), true),
        row(Numeric::E4m3, Granularity::Channel, true),
        row(Numeric::E4m3, block, true),
    ]
}

/// Sums of twelve uniform numbers from a linear congruential generator.
fn normal(rows: usize, columns: usize) -> Array2<f32> {
    let mut state = 1u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0
    };
    Array2::from_shape_simple_fn((rows, columns), || {
        (0..12).map(|_| uniform()).sum::<f32>() * 0.02 - 0.12
    })
}
