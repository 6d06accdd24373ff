//! How long a solver takes for a matrix, part by part: `solver [rows [columns [runs]]]`.

use llmopt_linalg::{Gemm, KernelChoice, Precision, Symmetric};
use llmopt_quant::{Moments, Settings, Solver, squared_outputs};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};
use llmopt_tensor::Dtype;
use std::time::Instant;

fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse().ok());
    let rows: usize = numbers.next().unwrap_or(2048);
    let columns: usize = numbers.next().unwrap_or(2048);
    let runs = numbers.next().unwrap_or(3).max(1);
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("f32 is everywhere");
    let mut gram = Symmetric::zeros(columns);
    gram.add_products(gemm, &random((columns + 1) * columns, 1.0));
    let weights = random(rows * columns, 0.05);
    let (int4, activations) = (Numeric::Int { bits: 4 }, Activations::None);
    let granularity = Granularity::Group(128);
    let scheme = Scheme { weights: int4, granularity, symmetric: true, activations };
    let moments = Moments { gram: &gram, cross: None, residual: None, tokens: 1 };
    let prepared = |name| {
        let settings = Settings::named(name).expect("a name").on(&scheme);
        Solver::prepare(gemm, &moments, &settings).expect("finite moments")
    };
    print("prepare", median(runs, || prepared("gptq")));
    for name in ["gptq", "gptq+cd"] {
        let solver = prepared(name);
        let rounded = || solver.rounded(&weights, &scheme, Dtype::BF16).expect("it fits");
        print(name, median(runs, rounded));
    }
    print("squared outputs", median(runs, || squared_outputs(gemm, &gram, &weights)));
}

#[expect(clippy::print_stdout, reason = "a table is what it is for")]
fn print(what: &str, seconds: f64) {
    println!("{what:<18} {seconds:>8.3}");
}

/// The median of several runs after one that does not count, in seconds.
fn median<T>(runs: usize, work: impl Fn() -> T) -> f64 {
    let timed = || {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = std::iter::repeat_with(timed).take(runs + 1).skip(1).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Uniform in `[-scale, scale)`.
fn random(length: usize, scale: f32) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    (0..length).map(|_| next()).collect()
}
