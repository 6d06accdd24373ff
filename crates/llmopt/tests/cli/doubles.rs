//! Checkpoints in F64: what is made of them is what is made of them in F32.

use crate::dir::Dir;
use crate::synthetic::{Random, safetensors};

#[test]
fn doubles_are_rounded_to_f32_and_that_is_said() {
    let dir = Dir::new();
    let mut random = Random(3);
    let mut next = || (random.next() >> 11) as f64 / 2f64.powi(53) - 0.5;
    let doubles: Vec<f64> = (0..64 * 32).map(|_| next()).collect();
    let weight = "model.layers.0.mlp.up_proj.weight";
    let bytes = doubles.iter().flat_map(|x| x.to_le_bytes()).collect();
    dir.write("f64.safetensors", &safetensors(&[(weight, "F64", &[64, 32], bytes)]));
    let bytes = doubles.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
    dir.write("f32.safetensors", &safetensors(&[(weight, "F32", &[64, 32], bytes)]));
    for recipe in ["--bits 8", "--bits 4", "--scheme fp8", "--bits 8 --format dense"] {
        let told = dir.done(&format!("quantize f64.safetensors {recipe} --force -o a.safetensors"));
        let note = "F64 weights of 1 quantized tensor were rounded to F32";
        assert!(told.stderr.contains(note), "{}", told.stderr);
        dir.done(&format!("quantize f32.safetensors -q {recipe} --force -o b.safetensors"));
        assert!(dir.read("a.safetensors") == dir.read("b.safetensors"), "{recipe}");
        dir.done("verify a.safetensors -q --against f64.safetensors");
    }
}
