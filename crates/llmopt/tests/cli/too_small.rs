//! Weights so small that no scale can be stored for them.

use crate::dir::Dir;
use crate::synthetic::edit;

const Q: &str = "model.layers.1.self_attn.q_proj.weight";
const DOWN: &str = "model.layers.0.mlp.down_proj.weight";

/// A copy of the trained checkpoint in which two matrices are times `factor`.
fn with_small(factor: f32) -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    for name in [Q, DOWN] {
        edit(&dir, "tiny-llama/model.safetensors", name, |rows| {
            rows.iter_mut().flatten().for_each(|weight| *weight *= factor);
        });
    }
    dir
}

#[track_caller]
fn check(recipe: &str) {
    let dir = with_small(1e-38);
    let args = format!("quantize tiny-llama -o out {recipe}");
    let told = dir.done(&args).stderr;
    let report = dir.json("out/llmopt.json");
    let fallbacks = report["fallbacks"].as_array().unwrap().iter();
    let found: Vec<(&str, &str)> = fallbacks
        .map(|one| (one["tensor"].as_str().unwrap(), one["why"].as_str().unwrap()))
        .filter(|(_, why)| why.starts_with("kept dense"))
        .collect();
    let names: Vec<&str> = found.iter().map(|(tensor, _)| *tensor).collect();
    let of = |part: &str| format!("model.layers.1.self_attn.{part}_proj.weight");
    assert_eq!(names, [DOWN, &of("q"), &of("k"), &of("v")], "{recipe}");
    let why = "is so small that its scales cannot be stored in BF16: ";
    assert!(found[0].1.starts_with(&format!("kept dense, because it {why}")), "{}", found[0].1);
    let fused = format!("kept dense, because runtimes fuse it with `{Q}`, which {why}");
    assert!(found[2].1.starts_with(&fused), "{}", found[2].1);
    assert!(told.contains(&format!("`{DOWN}`: {}", found[0].1)), "{told}");
    let tensors = report["tensors"].as_array().unwrap().iter();
    for tensor in tensors.filter(|tensor| names.contains(&tensor["name"].as_str().unwrap())) {
        assert_eq!(tensor["what"], "kept", "{recipe}");
    }
    let tensors = report["tensors"].as_array().unwrap().iter();
    let worst = tensors.filter_map(|t| t["relative_error"].as_f64()).fold(0.0, f64::max);
    assert!(worst < 0.8, "{recipe}: {worst}");
    dir.done("verify out -q --against tiny-llama");
    assert_eq!(dir.names(), ["out", "text.txt", "tiny-llama"]);

    let strict = dir.run(&format!("{args} --force -q --strict"));
    assert_eq!(strict.code, Some(2), "{recipe}");
    assert!(strict.stderr.contains("`--strict` forbids it"), "{}", strict.stderr);
}

rows! {
    what_is_too_small_stays_dense_with_its_fused_partners_in_every_scheme = check;
    eight_bits("--bits 8")
    four_bits_in_groups("--bits 4 --group-size 32")
    four_bits_with_zero_points("--bits 4 --asymmetric")
    w8a8("--scheme w8a8 --method rtn")
    fp8("--scheme fp8")
    dense("--bits 8 --format dense")
    calibrated("--bits 4 --method gptq --calibrate text.txt --samples 8 --window 64")
}

/// Of ordinary matrices that are merely small, nothing is lost.
#[test]
fn what_is_merely_small_is_quantized() {
    let dir = with_small(1e-30);
    dir.done("quantize tiny-llama -q -o out --bits 8");
    let report = dir.json("out/llmopt.json");
    assert_eq!(report["fallbacks"].as_array().unwrap().len(), 0);
    let tensors = report["tensors"].as_array().unwrap().iter();
    let errors: Vec<f64> = tensors.filter_map(|tensor| tensor["relative_error"].as_f64()).collect();
    assert!(errors.len() == 28 && errors.iter().all(|&error| error < 0.02), "{errors:?}");
}
