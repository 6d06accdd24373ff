//! How fast sums of products and the Cholesky factor are: `gram [order [rows [runs]]]`.

use llmopt_linalg::{Gemm, Precision, Symmetric};
use std::time::Instant;

fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse().ok());
    let order: usize = numbers.next().unwrap_or(2048);
    let count = numbers.next().unwrap_or(4096);
    let runs = numbers.next().unwrap_or(3).max(1);
    let rows = random(count * order);
    let (n, k) = (order as f64, count as f64);
    for precision in [Precision::F32, Precision::Bf16] {
        for gemm in Gemm::available(precision).take(1) {
            let mut sums = Symmetric::zeros(order);
            let seconds = median(runs, || timed(|| sums.add_products(gemm, &rows)));
            // Half of what a full product takes.
            print(gemm.name(), order, seconds, n * n * k);
        }
    }
    let mut matrix = Symmetric::zeros(order);
    matrix.add_to_diagonal(1.0);
    let seconds = median(runs, || {
        let matrix = matrix.clone();
        timed(|| drop(matrix.cholesky()))
    });
    print("f64 cholesky", order, seconds, n.powi(3) / 3.0);
}

#[expect(clippy::print_stdout, reason = "a table is what it is for")]
fn print(what: &str, order: usize, seconds: f64, operations: f64) {
    println!("{what:<18} {order:>6} {seconds:>8.3} {:>8.1}", operations / seconds / 1e9);
}

fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// The median of several runs after one that does not count.
fn median(runs: usize, seconds: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = std::iter::repeat_with(seconds).take(runs + 1).skip(1).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Uniform in [-1, 1).
fn random(length: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}
