//! FP8 checkpoints with a `weight_scale`: what is made of them is what is made of the same numbers in
//! BF16.

use crate::dir::Dir;
use crate::synthetic::{Random, safetensors};

const ROWS: usize = 256;
const COLUMNS: usize = 384;
const WEIGHT: &str = "model.layers.0.mlp.up_proj.weight";

/// Powers of two of either sign, as an exponent and a sign bit.
fn exponents() -> Vec<(u8, u8)> {
    let mut random = Random(7);
    let mut next = || (random.next() >> 40) as u8;
    (0..ROWS * COLUMNS).map(|_| (3 + next() % 8, next() & 1)).collect()
}

/// As E4M3, whose bias is 7.
fn e4m3() -> Vec<u8> {
    exponents().into_iter().map(|(exponent, sign)| sign << 7 | exponent << 3).collect()
}

/// As BF16, times two to the power of minus `halvings` of the element's place.
fn bf16(halvings: impl Fn(usize, usize) -> u16) -> Vec<u8> {
    let element = |(place, (exponent, sign)): (usize, (u8, u8))| {
        let exponent = 127 - 7 + u16::from(exponent) - halvings(place / COLUMNS, place % COLUMNS);
        (u16::from(sign) << 15 | exponent << 7).to_le_bytes()
    };
    exponents().into_iter().enumerate().flat_map(element).collect()
}

/// Scales in F32: two to the power of minus each.
fn scales(halvings: impl Iterator<Item = u16>) -> Vec<u8> {
    halvings.flat_map(|halvings| 0.5f32.powi(i32::from(halvings)).to_le_bytes()).collect()
}

/// Quantizes a weight with scales of this shape, and the same numbers in BF16: the bytes are the same.
#[track_caller]
fn check(shape: &[usize], halvings: fn(usize, usize) -> u16) {
    let dir = Dir::new();
    let scale = match *shape {
        [] | [1] => scales([halvings(0, 0)].into_iter()),
        [2, 3] => scales((0..6).map(|block| halvings(block / 3 * 128, block % 3 * 128))),
        _ => scales((0..ROWS).map(|row| halvings(row, 0))),
    };
    let input = 1f32.to_le_bytes().to_vec();
    let (name, of_inputs) = (format!("{WEIGHT}_scale"), WEIGHT.replace("weight", "input_scale"));
    dir.write(
        "fp8.safetensors",
        &safetensors(&[
            (WEIGHT, "F8_E4M3", &[ROWS, COLUMNS], e4m3()),
            (&name, "F32", shape, scale),
            (&of_inputs, "F32", &[], input),
        ]),
    );
    let dense = safetensors(&[(WEIGHT, "BF16", &[ROWS, COLUMNS], bf16(halvings))]);
    dir.write("bf16.safetensors", &dense);
    for recipe in ["--bits 8", "--bits 4", "--scheme fp8"] {
        for source in ["fp8", "bf16"] {
            dir.done(&format!(
                "quantize {source}.safetensors -q {recipe} --force -o {source}-out.safetensors"
            ));
        }
        let same = dir.read("fp8-out.safetensors") == dir.read("bf16-out.safetensors");
        assert!(same, "{recipe}");
        dir.done("verify fp8-out.safetensors -q --against fp8.safetensors");
    }
}

fn of_rows(row: usize, _: usize) -> u16 {
    (row % 5) as u16
}

rows! {
    scales_are_multiplied_in = check;
    of_a_tensor(&[], |_, _| 3)
    of_a_tensor_as_a_vector(&[1], |_, _| 3)
    of_rows_as_columns(&[ROWS, 1], of_rows)
    of_rows_as_a_vector(&[ROWS], of_rows)
    of_blocks(&[2, 3], |row, column| (row / 128 * 3 + column / 128) as u16)
}

#[test]
fn scales_of_another_shape_are_refused_by_name() {
    let dir = Dir::new();
    let name = format!("{WEIGHT}_scale");
    dir.write(
        "fp8.safetensors",
        &safetensors(&[
            (WEIGHT, "F8_E4M3", &[ROWS, COLUMNS], e4m3()),
            (&name, "F32", &[3, 2], scales(0..6)),
        ]),
    );
    let ran = dir.run("quantize fp8.safetensors -q");
    assert_eq!(ran.code, Some(3));
    let expected =
        format!("error: tensor `{name}` is F32 [3, 2], expected F32, F16 or BF16 [2, 3]");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
}
