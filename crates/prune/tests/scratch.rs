//! What calls allocate, against what the functions beside them promise.

#![expect(unsafe_code, reason = "an allocator that counts")]

use llmopt_linalg::vector::silu_slopes;
use llmopt_linalg::{Cross, Gemm, KernelChoice, Precision, Symmetric};
use llmopt_prune::{Constant, Gated, Moments, Regression, Search, Tangent};

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
fn regressions_allocate_what_they_promise_at_most() {
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("some kernel");
    for (rows, columns, width, step) in
        [(200, 900, 1, 0.05), (700, 640, 128, 0.01), (60, 1000, 1, 0.0), (300, 800, 4, 0.2)]
    {
        let mut gram = Symmetric::zeros(columns);
        for i in 0..columns {
            gram.set(i, i, 2.0 + (i % 7) as f64);
        }
        let (cross, residual) = (Cross::zeros(columns), vec![0.5; rows * columns]);
        let (inputs, outputs) = (vec![0.01; columns], vec![0.1; rows]);
        let constant = Some(Constant { tokens: 9, inputs: &inputs, residual: Some(&outputs) });
        let weights: Vec<f32> = (0..rows * columns).map(|i| (i % 101) as f32 * 0.01).collect();
        let (cross, residual) = (Some(&cross), Some(&residual[..]));
        let moments = Moments { weights: &weights, gram: &gram, cross, residual, constant };

        let what = format!("{rows} x {columns}");
        let promised = Regression::prepare_bytes(gemm, rows, columns, 1);
        let prepare = || Regression::prepare(gemm, &moments, 0.01);
        let mut regression = check(&what, promised, prepare).expect("finite moments");
        let search = Search { step, rounds: 2 };
        let promised = Regression::select_bytes(rows, columns, width, &search, 1);
        let keep = (columns - 30) / width - 1;
        let chosen = check(&what, promised, || regression.select(width, keep, &search));
        assert_eq!(chosen.expect("a set").kept.len(), keep);
        let kept: Vec<usize> = (0..columns * 2 / 3).collect();
        let promised = Regression::refit_bytes(rows, columns, kept.len(), 1);
        check(&what, promised, || regression.refit(&kept)).expect("weights");
    }
}

#[test]
fn moving_a_layer_allocates_what_it_promises_at_most() {
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("some kernel");
    for [units, inputs, outputs] in [[900, 300, 300], [200, 700, 640], [1100, 100, 900]] {
        let some = |count: usize, period: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919) % period) as f32 / period as f32 - 0.5).collect()
        };
        let tokens = 1200;
        let (seen, targets) = (some(tokens * inputs, 997), some(tokens * outputs, 991));
        let (gate, up) = (some(units * inputs, 983), some(units * inputs, 977));
        let down = some(outputs * units, 971);
        let promised = Tangent::bytes(gemm, tokens, [units, inputs, outputs], 1);
        check(&format!("{units} {inputs} {outputs}"), promised, || {
            let (gate, up, down) = (gate.clone(), up.clone(), down.clone());
            let slopes = silu_slopes;
            let gated = Gated { gate, up, down, gate_bias: None, up_bias: None, inputs, slopes };
            let mut tangent = Tangent::new(gemm, gated);
            tangent.add(&seen, &targets);
            let mut descent = tangent.descent(2).expect("finite sums");
            while descent.is_open() {
                descent.add(&seen);
                descent.step();
            }
            descent.into_gated()
        });
    }
}
