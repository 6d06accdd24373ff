//! Codes against plain sums: exact between kernels, bounded against f64.

use super::{CodeFormat, CodeKernel, CodedInputs, InputCodes, Panel};
use crate::kernels::codes;
use crate::tests::random;
use crate::{Gemm, KernelChoice, Packed, Precision};
use std::ops::Range;

/// A matrix of codes, and the weights that they stand for.
struct Coded {
    rows: usize,
    columns: usize,
    format: CodeFormat,
    group: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i8>,
}

impl Coded {
    fn random((rows, columns): (usize, usize), bits: u8, group: usize, asymmetric: bool) -> Self {
        let format = CodeFormat::new(bits, group, columns, asymmetric).expect("a kernel takes it");
        let groups = columns.div_ceil(group);
        let half = f32::from(1u8 << (bits - 1));
        let code = |x: &f32| (x * half).floor() as i8;
        let scale = |x: &f32| 0.01 + 0.004 * x;
        Self {
            rows,
            columns,
            format,
            group,
            codes: random(rows * columns, 11).iter().map(code).collect(),
            scales: random(rows * groups, 12).iter().map(scale).collect(),
            zero_points: match asymmetric {
                true => random(rows * groups, 13).iter().map(code).collect(),
                false => Vec::new(),
            },
        }
    }

    fn packed(&self, gemm: Gemm) -> Packed {
        let mut packed = gemm.pack_codes(self.rows, self.columns, self.format);
        let groups = self.format.groups(self.columns);
        for mut band in packed.bands_mut(32) {
            let Range { start, end } = band.rows();
            let of_groups = start * groups..end * groups;
            let zero_points = self.zero_points.get(of_groups.clone()).unwrap_or_default();
            let codes = &self.codes[start * self.columns..end * self.columns];
            band.fill_codes(codes, &self.scales[of_groups], zero_points);
        }
        packed
    }

    fn weight(&self, row: usize, column: usize) -> f64 {
        let tile = row * self.format.groups(self.columns) + column / self.group;
        let zero_point = self.zero_points.get(tile).map_or(0, |&zero| i32::from(zero));
        let code = i32::from(self.codes[row * self.columns + column]);
        f64::from(self.scales[tile]) * f64::from(code - zero_point)
    }
}

fn portable() -> Gemm {
    Gemm::new(Precision::F32, KernelChoice::Portable).expect("plain Rust")
}

/// Shapes, widths, groups and symmetry: whole and broken segments, every width, rows that fill no panel.
const CASES: [((usize, usize), u8, usize, bool); 14] = [
    ((16, 128), 8, 128, false),
    ((33, 128), 4, 128, false),
    ((33, 256), 4, 128, true),
    ((40, 256), 4, 32, false),
    ((40, 64), 2, 16, true),
    ((17, 192), 2, 64, false),
    ((50, 51), 8, 51, false),
    ((5, 300), 8, 300, true),
    ((19, 576), 8, 576, false),
    ((19, 576), 4, 32, true),
    ((16, 512), 4, 256, false),
    ((31, 96), 3, 32, false),
    ((31, 1024), 5, 1024, true),
    ((1, 1), 8, 1, false),
];

#[test]
fn every_kernel_gives_the_bits_of_the_portable_one() {
    for (shape, bits, group, asymmetric) in CASES {
        let coded = Coded::random(shape, bits, group, asymmetric);
        let packed = coded.packed(portable());
        let (rows, columns) = shape;
        for m in [1, 2, 3, 4, 5, 7, 8, 9, 21] {
            let inputs = random(m * columns, 14);
            for to in [InputCodes::Int16, InputCodes::Int8, InputCodes::Int8Row] {
                let inputs = CodedInputs::new(&inputs, columns, coded.format, to);
                let product = |kernel: &dyn CodeKernel| {
                    let mut out = vec![f32::NAN; m * rows];
                    let panels = Panel { format: coded.format, columns, lines: packed.lines() };
                    super::multiply(kernel, &inputs, panels, 0..rows, &mut out);
                    out
                };
                let expected = product(codes::of(KernelChoice::Portable));
                for kernel in codes::all() {
                    let name = kernel.name();
                    assert_eq!(product(kernel), expected, "{name}, {m} x {shape:?}, {bits} bits");
                }
            }
        }
    }
}

#[test]
fn the_machine_has_the_kernels_of_its_instructions() {
    #[cfg(target_arch = "x86_64")]
    {
        let names: Vec<_> = codes::all().iter().map(|kernel| kernel.name()).collect();
        assert_eq!(names.contains(&"codes avx2"), is_x86_feature_detected!("avx2"));
        assert_eq!(names.contains(&"codes avx512vnni"), is_x86_feature_detected!("avx512vnni"));
    }
}

/// Inputs of sixteen bits are wrong by at most half a step of 1/32639 of the largest of their 128
/// columns; sums in f32 round once for each product and each addition of a segment.
#[test]
fn products_are_those_of_the_weights_that_codes_stand_for() {
    for (shape, bits, group, asymmetric) in CASES {
        let coded = Coded::random(shape, bits, group, asymmetric);
        let (rows, columns) = shape;
        let m = 3;
        let inputs = random(m * columns, 15);
        let mut out = vec![f32::NAN; m * rows];
        portable().multiply(&inputs, &coded.packed(portable()), 0..rows, &mut out);
        for (inputs, out) in inputs.chunks(columns).zip(out.chunks(rows)) {
            for (row, out) in out.iter().enumerate() {
                let (mut expected, mut bound) = (0.0, 1e-30);
                for (block, inputs) in inputs.chunks(128).enumerate() {
                    let largest = inputs.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                    for (place, x) in inputs.iter().enumerate() {
                        let weight = coded.weight(row, block * 128 + place);
                        expected += f64::from(*x) * weight;
                        let step = f64::from(largest) / 32639.0;
                        let rounding = (columns as f64 / 16.0 + 4.0) * 2f64.powi(-24);
                        bound += weight.abs() * (0.51 * step + f64::from(x.abs()) * rounding);
                    }
                }
                let error = (f64::from(*out) - expected).abs();
                assert!(error <= bound, "{shape:?}, {bits} bits: {out} is not {expected}");
            }
        }
    }
}

#[test]
fn a_scale_per_row_is_that_of_compressed_tensors() {
    let coded = Coded::random((18, 160), 8, 160, false);
    let inputs = random(2 * 160, 16);
    let gemm = portable();
    let packed = coded.packed(gemm);
    let mut out = vec![0.0; 2 * 18];
    let ready = gemm.inputs(&inputs, &packed, InputCodes::Int8Row);
    gemm.multiply_inputs(&ready, &packed, 0..18, &mut out);
    for (inputs, out) in inputs.chunks(160).zip(out.chunks(18)) {
        let scale = inputs.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.5;
        let code = |x: &f32| f64::from((x / scale).round_ties_even().clamp(-128.0, 127.0));
        for (row, out) in out.iter().enumerate() {
            let each = inputs.iter().enumerate();
            let sum: f64 = each.map(|(column, x)| code(x) * coded.weight(row, column)).sum();
            let expected = sum * f64::from(scale);
            assert!((f64::from(*out) - expected).abs() <= 1e-6 * expected.abs().max(1e-3));
        }
    }
}

#[test]
fn neither_other_rows_nor_the_range_change_a_bit_of_codes() {
    let (m, rows, columns) = (21, 70, 256);
    let coded = Coded::random((rows, columns), 4, 64, true);
    let gemm = Gemm::new(Precision::F32, KernelChoice::Auto).expect("always there");
    let packed = coded.packed(gemm);
    let inputs = random(m * columns, 17);
    let mut all = vec![0.0; m * rows];
    gemm.multiply(&inputs, &packed, 0..rows, &mut all);
    for row in 0..m {
        for range in [0..rows, 3..4, 16..32, 15..49] {
            let mut out = vec![f32::NAN; range.len()];
            gemm.multiply(&inputs[row * columns..][..columns], &packed, range.clone(), &mut out);
            assert_eq!(out, all[row * rows..][range]);
        }
    }
}

#[test]
fn what_is_not_finite_shows_and_nothing_is_nothing() {
    let coded = Coded::random((16, 256), 8, 256, false);
    let packed = coded.packed(portable());
    let product = |inputs: &[f32]| {
        let mut out = vec![7.0; 16];
        portable().multiply(inputs, &packed, 0..16, &mut out);
        out
    };
    assert_eq!(product(&[0.0; 256]), [0.0; 16]);
    for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut inputs = [0.5; 256];
        inputs[200] = strange;
        assert!(product(&inputs).iter().all(|x| !x.is_finite()), "{strange}");
    }
}

#[test]
fn groups_that_no_kernel_takes_are_refused() {
    for (bits, group, columns) in [(4, 50, 100), (4, 8, 64), (8, 96, 192), (9, 32, 64), (4, 32, 48)]
    {
        assert_eq!(CodeFormat::new(bits, group, columns, false), None, "{bits} {group} {columns}");
    }
    assert_eq!(CodeFormat::new(3, 128, 256, false).map(CodeFormat::bits), Some(4));
    assert_eq!(CodeFormat::new(6, 500, 50, true).map(CodeFormat::bits), Some(8));
}

#[test]
fn codes_take_no_more_memory_than_weights_of_two_bytes() {
    let gemm = Gemm::new(Precision::Bf16, KernelChoice::Portable).expect("plain Rust");
    for (bits, group) in [(8, 16), (8, 128), (4, 16), (2, 16), (8, 4096)] {
        let format = CodeFormat::new(bits, group, 4096, true).expect("a kernel takes it");
        let codes = Gemm::packed_code_bytes(64, 4096, format);
        assert!(codes <= gemm.packed_bytes(64, 4096), "{bits} bits, groups of {group}");
    }
}
