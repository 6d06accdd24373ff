//! Weights times rows a second, one thread, of every kind of weights: how far kernels are from reading.
//!
//! `cargo run --release -p llmopt-linalg --example codes`

#![expect(clippy::print_stdout, reason = "an example talks")]

use llmopt_linalg::{CodeFormat, Gemm, InputCodes, KernelChoice, Packed, Precision};
use std::time::Instant;

const COLUMNS: usize = 2048;
const ROWS: usize = 65_536;
/// Rows that are filled at once.
const STEP: usize = 128;

fn main() {
    println!("10^9 weights times rows a second (GB/s of weights read)");
    for (name, gemm) in [
        ("f32", Gemm::new(Precision::F32, KernelChoice::Auto)),
        ("bf16", Gemm::new(Precision::Bf16, KernelChoice::Auto)),
    ] {
        let gemm = gemm.expect("always there");
        let mut packed = gemm.pack(ROWS, COLUMNS);
        let weights = vec![0.5; STEP * COLUMNS];
        packed.bands_mut(STEP).iter_mut().for_each(|band| band.fill(&weights));
        rates(name, gemm, &packed, InputCodes::Int16);
    }
    for kernel in [KernelChoice::Auto, KernelChoice::Avx2] {
        let Ok(gemm) = Gemm::new(Precision::F32, kernel) else { continue };
        for (bits, group) in [(8, COLUMNS), (4, 128), (2, 32)] {
            let format = CodeFormat::new(bits, group, COLUMNS, false).expect("a kernel takes it");
            let mut packed = gemm.pack_codes(ROWS, COLUMNS, format);
            fill_codes(&mut packed, format);
            for (inputs, to) in [("int16", InputCodes::Int16), ("int8", InputCodes::Int8)] {
                let name = format!("int{bits} g{group}, {inputs} inputs, {}", gemm.code_kernel());
                rates(&name, gemm, &packed, to);
            }
        }
    }
}

/// Memory that nothing was written to is all one page, and in the cache.
fn fill_codes(packed: &mut Packed, format: CodeFormat) {
    let codes = vec![1; STEP * COLUMNS];
    let scales = vec![0.5; STEP * format.groups(COLUMNS)];
    packed.bands_mut(STEP).iter_mut().for_each(|band| band.fill_codes(&codes, &scales, &[]));
}

fn rates(name: &str, gemm: Gemm, packed: &Packed, to: InputCodes) {
    let mut line = format!("{name:48}");
    for m in [1, 2, 4, 8, 16, 64] {
        let inputs: Vec<f32> = (0..m * COLUMNS).map(|i| (i % 251) as f32 - 125.0).collect();
        let mut out = vec![0.0; m * ROWS];
        let begun = Instant::now();
        let ready = gemm.inputs(&inputs, packed, to);
        let rounding = begun.elapsed().as_secs_f64();
        let mut best = f64::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            gemm.multiply_inputs(&ready, packed, 0..ROWS, &mut out);
            best = best.min(begun.elapsed().as_secs_f64());
        }
        let products = (m * ROWS * COLUMNS) as f64 / best / 1e9;
        line += &format!(" {m:2}: {products:6.1}");
        if m == 64 {
            line += &format!("; {:.2} ns an input", rounding * 1e9 / inputs.len() as f64);
        }
        if m == 1 {
            line += &format!(" ({:4.1})", packed.bytes() as f64 / best / 1e9);
        }
    }
    println!("{line}");
}
