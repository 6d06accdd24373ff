//! What calls allocate, against what the functions beside them promise.

#![expect(unsafe_code, reason = "an allocator that counts")]

use llmopt_linalg::{Cross, Gemm, KernelChoice, Precision, Symmetric};
use llmopt_quant::{
    Moments, Rounding, Settings, Solver, output_error, output_error_bytes, squared_outputs,
    squared_outputs_bytes,
};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};
use llmopt_tensor::Dtype;

#[path = "../../linalg/tests/counting/mod.rs"]
mod counting;

/// Checks what `work` allocates on a pool of one thread, its result included.
fn check<T: Send>(what: &str, promised: u64, work: impl FnOnce() -> T + Send) -> T {
    let (most, result) = counting::most(work);
    let most = most as u64;
    assert!(most <= promised, "{what}: {most} of {promised}");
    assert!(most * 4 >= promised, "{what}: {most} of {promised}");
    result
}

#[test]
fn solvers_allocate_what_they_promise_at_most() {
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("some kernel");
    for (rows, columns, granularity) in [
        (300, 1280, Granularity::Group(128)),
        (1500, 640, Granularity::Channel),
        (200, 1152, Granularity::Group(384)),
        (130, 1024, Granularity::Group(32)),
    ] {
        let weights = Numeric::Int { bits: 4 };
        let activations = Activations::None;
        let scheme = Scheme { weights, granularity, symmetric: false, activations };
        let mut gram = Symmetric::zeros(columns);
        gram.add_to_diagonal(2.0);
        let (cross, residual) = (Cross::zeros(columns), vec![0.0; rows * columns]);
        let (cross, residual) = (Some(&cross), Some(&residual[..]));
        let moments = Moments { gram: &gram, cross, residual, tokens: 9 };
        let settings = Settings::named("qep+cd").expect("a name").on(&scheme);
        let weights: Vec<f32> = (0..rows * columns).map(|i| (i % 101) as f32 * 0.01).collect();

        let promised = Solver::prepare_bytes(gemm, columns, 1);
        let solver = check("prepare", promised, || Solver::prepare(gemm, &moments, &settings));
        let solver = solver.expect("finite moments");
        let promised = Solver::quantize_bytes(gemm, rows, columns, &scheme, 1);
        let quantize = || solver.quantize(&weights, &scheme, Dtype::BF16);
        let matrix = check(&scheme.to_string(), promised, quantize).expect("a scheme that fits");
        let promised = Rounding::bytes(rows, columns, &scheme);
        let rounding = solver.rounding(settings.correction, &weights, &scheme, Dtype::BF16);
        let rounding = rounding.expect("a scheme that fits");
        check("a copy", promised, || rounding.clone());
        let mut values = vec![0.0; weights.len()];
        matrix.dequantize_into(&mut values);
        let promised = output_error_bytes(gemm, rows, columns, 1);
        check("output error", promised, || output_error(gemm, &moments, &weights, &values));
        let promised = squared_outputs_bytes(gemm, rows, columns, 1);
        check("squared outputs", promised, || squared_outputs(gemm, &gram, &weights));
    }
}
