//! How fast each kernel that this machine has multiplies: `gemm [n [runs]]`.

use llmopt_linalg::{Gemm, Packed, Precision};
use std::time::Instant;

/// Rows of inputs in one call, as a forward pass cuts them.
const CHUNK: usize = 256;

#[expect(clippy::print_stdout, reason = "a table is what it is for")]
fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse().ok());
    let n = numbers.next().unwrap_or(2048);
    let runs = numbers.next().unwrap_or(7);
    let values: Vec<f32> = (0..n * n).map(|i| (i * 7919 % 1021) as f32 / 512.0 - 1.0).collect();
    for precision in [Precision::F32, Precision::Bf16] {
        for gemm in Gemm::available(precision) {
            let mut weights = gemm.pack(n, n);
            for mut band in weights.bands_mut(n.next_multiple_of(Packed::BAND_STEP)) {
                band.fill(&values);
            }
            for threads in [1, 2] {
                let rate = rate(gemm, &values, &weights, threads, runs);
                println!("{:<18} {threads} {rate:>8.1}", gemm.name());
            }
        }
    }
}

/// The median of several runs, in 10^9 additions and multiplications a second.
fn rate(gemm: Gemm, inputs: &[f32], weights: &Packed, threads: usize, runs: usize) -> f64 {
    let n = weights.rows();
    let mut out = vec![0.0; n * n];
    let mut times: Vec<f64> = (0..=runs)
        .map(|_| {
            let begun = Instant::now();
            multiply(gemm, inputs, weights, threads, &mut out);
            begun.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    2.0 * (n as f64).powi(3) / times[times.len() / 2] / 1e9
}

fn multiply(gemm: Gemm, inputs: &[f32], weights: &Packed, threads: usize, out: &mut [f32]) {
    let n = weights.columns();
    let share = n.div_ceil(threads) * n;
    std::thread::scope(|scope| {
        for (inputs, out) in inputs.chunks(share).zip(out.chunks_mut(share)) {
            scope.spawn(move || {
                for (inputs, out) in inputs.chunks(CHUNK * n).zip(out.chunks_mut(CHUNK * n)) {
                    gemm.multiply(inputs, weights, 0..n, out);
                }
            });
        }
    });
}
