//! Seconds that half of the columns take to choose, and the others to refit, with the bytes that each
//! may allocate. The options are columns, rows, and columns of a unit.
//!
//! `cargo run --release -p llmopt-prune --example selection -- 2048 768 1`

#![expect(clippy::print_stdout, reason = "the table is what it is run for")]

use llmopt_linalg::{Gemm, KernelChoice, Precision, Symmetric};
use llmopt_prune::{Moments, Regression, Search};
use std::time::Instant;

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|size| size.parse().ok());
    let mut size = |usual| sizes.next().unwrap_or(usual);
    let (columns, rows, width) = (size(2048), size(768), size(1));
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("some kernel");
    let (weights, gram) = (normal(rows * columns), gram(gemm, columns));
    let weights = &weights;
    let moments = Moments { weights, gram: &gram, cross: None, residual: None, constant: None };
    let prepare = || Regression::prepare(gemm, &moments, 0.01).expect("finite moments");
    let mut regression = timed("prepare", prepare);
    let keep = columns / width / 2;
    for rounds in [0, 20] {
        let search = Search { rounds, ..Search::default() };
        let select = || regression.select(width, keep, &search).expect("a set");
        let chosen = timed(&format!("select, {rounds} rounds"), select);
        let share = chosen.loss / regression.energy();
        println!("{:>24} {share:.5} of the energy, {} swaps", "loses", chosen.swaps);
        let kept: Vec<usize> =
            chosen.kept.iter().flat_map(|unit| unit * width..(unit + 1) * width).collect();
        timed("refit", || regression.refit(&kept).expect("weights"));
    }
    let threads = rayon::current_num_threads();
    let bytes = Regression::select_bytes(rows, columns, width, &Search::default(), threads);
    println!("{:>24} {} MiB", "select allocates", bytes >> 20);
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what:>24} {:.2} s", start.elapsed().as_secs_f64());
    done
}

/// The moments of inputs with much in common.
fn gram(gemm: Gemm, columns: usize) -> Symmetric {
    let (tokens, shared) = (2 * columns, 64);
    let (common, factors) = (normal(tokens * shared), normal(shared * columns));
    let mut inputs = normal(tokens * columns);
    for (row, common) in inputs.chunks_exact_mut(columns).zip(common.chunks_exact(shared)) {
        for (factor, line) in common.iter().zip(factors.chunks_exact(columns)) {
            row.iter_mut().zip(line).for_each(|(x, f)| *x += 0.2 * factor * f);
        }
    }
    let mut gram = Symmetric::zeros(columns);
    gram.add_products(gemm, &inputs);
    gram
}

/// Sums of twelve uniform numbers from a linear congruential generator.
fn normal(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}
