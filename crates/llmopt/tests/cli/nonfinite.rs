//! NaN and infinity wherever floats are stored: refused by tensor and position, or kept and recorded.

use crate::dir::Dir;
use crate::synthetic::{bf16, edit, ids, safetensors};

const ADVICE: &str = "the checkpoint is damaged, or was saved while training diverged";

/// What a run that could keep the tensor says, and what one says that could not.
fn refusals(tensor: &str, what: &str) -> [String; 2] {
    let error = format!(
        "error: tensor `{tensor}` holds {what}, expected a finite number\n  in \
         `model.safetensors`\n\nhint: {ADVICE}"
    );
    [
        format!("{error}; `--allow-nonfinite` keeps such tensors as they are\n"),
        format!("{error}: start from a sound one\n"),
    ]
}

#[track_caller]
fn check_copied(family: &str, tensor: &str, (row, column): (usize, usize), value: f32, what: &str) {
    let dir = Dir::with_family(family);
    edit(&dir, "model/model.safetensors", tensor, |rows| rows[row][column] = value);
    let [may_be_kept, refused] = refusals(tensor, what);
    dir.refused("quantize model -q", 3, &may_be_kept);
    dir.refused("quantize model -q --format dense", 3, &may_be_kept);
    let calibrate = "--method gptq --calibrate ids.safetensors --window 32 --samples 4";
    dir.refused(&format!("quantize model -q {calibrate}"), 3, &may_be_kept);
    let magnitude = "--axes ffn --method magnitude --no-refit";
    dir.refused(&format!("prune model -q --sparsity 0.22 {magnitude}"), 3, &refused);
    let observed = "--axes ffn --calibrate ids.safetensors --window 32 --samples 8";
    dir.refused(&format!("prune model -q --sparsity 0.22 {observed}"), 3, &refused);
    let verified = dir.run("verify model -q");
    assert_eq!(verified.code, Some(3));
    let fault = format!("nonfinite  {tensor}: it holds {what}");
    assert!(verified.stdout.starts_with(&fault), "{}", verified.stdout);
    assert_eq!(dir.names(), ["ids.safetensors", "model"]);
}

rows! {
    /// Norm, embedding, bias and head of a model, as every command meets them.
    a_tensor_that_is_copied_is_looked_at = check_copied;
    // A vector is edited as a column.
    norm("qwen2", "model.norm.weight", (3, 0), f32::NAN, "NaN at [3]")
    embedding("qwen2", "model.embed_tokens.weight", (95, 5), f32::INFINITY, "inf at [95, 5]")
    bias(
        "qwen2",
        "model.layers.1.self_attn.k_proj.bias",
        (0, 0),
        f32::NEG_INFINITY,
        "-inf at [0]",
    )
    head("llama", "lm_head.weight", (1, 2), f32::NAN, "NaN at [1, 2]")
}

#[track_caller]
fn check_run(tensor: &str, (row, column): (usize, usize), what: &str) {
    let dir = Dir::with_family("qwen2");
    edit(&dir, "model/model.safetensors", tensor, |rows| rows[row][column] = f32::NAN);
    let [_, refused] = refusals(tensor, what);
    dir.refused("eval model -q --text ids.safetensors --window 32", 3, &refused);
}

rows! {
    a_model_that_is_run_names_the_weight_and_not_the_layer_that_failed = check_run;
    norm("model.layers.1.post_attention_layernorm.weight", (7, 0), "NaN at [7]")
    bias("model.layers.0.self_attn.q_proj.bias", (2, 0), "NaN at [2]")
    matrix("model.layers.1.mlp.down_proj.weight", (4, 9), "NaN at [4, 9]")
    // Token 1 is among the ids.
    embedding("model.embed_tokens.weight", (1, 3), "NaN at [1, 3]")
}

#[track_caller]
fn check_type(dtype: &str, one: &[u8], element: &[u8], value: &str) {
    let dir = Dir::new();
    let mut norm = one.repeat(40);
    norm[17 * one.len()..][..one.len()].copy_from_slice(element);
    dir.write(
        "model.safetensors",
        &safetensors(&[
            ("model.layers.0.mlp.up_proj.weight", "BF16", &[64, 32], bf16(64 * 32, 1)),
            ("model.norm.weight", dtype, &[2, 2, 10], norm),
        ]),
    );
    let [refused, _] = refusals("model.norm.weight", &format!("{value} at [0, 1, 7]"));
    dir.refused("quantize model.safetensors -q", 3, &refused);
    dir.done("quantize model.safetensors -q --allow-nonfinite");
}

rows! {
    every_type_of_float_is_looked_at = check_type;
    of_f64("F64", &1f64.to_le_bytes(), &f64::NAN.to_le_bytes(), "NaN")
    of_f32("F32", &1f32.to_le_bytes(), &f32::NEG_INFINITY.to_le_bytes(), "-inf")
    of_f16("F16", &[0x00, 0x3c], &[0x00, 0x7c], "inf")
    of_bf16("BF16", &[0x80, 0x3f], &[0xff, 0xff], "NaN")
    of_f8_e4m3("F8_E4M3", &[0x38], &[0x7f], "NaN")
    of_f8_e5m2("F8_E5M2", &[0x3c], &[0xfc], "-inf")
}

#[test]
fn what_is_allowed_is_kept_recorded_and_no_fault_while_anything_else_is() {
    let dir = Dir::with_tiny_llama();
    let file = "tiny-llama/model.safetensors";
    edit(&dir, file, "model.norm.weight", |rows| rows[3][0] = f32::NAN);
    edit(&dir, file, "layers.1.mlp.up_proj.weight", |rows| rows[5][60] = f32::INFINITY);
    let (up, gate) = ("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.gate_proj.weight");
    let why = [
        "kept dense, because runtimes fuse it with `model.layers.1.mlp.up_proj.weight`, which holds \
         inf at [5, 60]",
        "kept dense, because it holds inf at [5, 60]",
    ];
    let planned = dir.done("quantize tiny-llama -o out --allow-nonfinite --dry-run").stdout;
    for line in [format!("`{gate}`: {}", why[0]), format!("`{up}`: {}", why[1])] {
        assert!(planned.contains(&line), "{planned}");
    }
    assert!(planned.contains("not finite, and kept\n"), "{planned}");
    assert!(planned.contains("  `model.norm.weight`: NaN at [3]\n"), "{planned}");
    let strict = format!("error: tensor `{gate}`: {}, and `--strict` forbids it\n", why[0]);
    dir.refused("quantize tiny-llama -q -o out --allow-nonfinite --strict", 2, &strict);

    dir.done("quantize tiny-llama -q -o out --allow-nonfinite");
    let report = dir.json("out/llmopt.json");
    assert_eq!(report["fallbacks"][0]["tensor"], gate);
    assert_eq!(report["fallbacks"][0]["why"], why[0]);
    assert_eq!(report["fallbacks"][1]["why"], why[1]);
    let found = report["nonfinite"].as_array().unwrap();
    let found: Vec<_> = found.iter().map(|f| (&f["tensor"], &f["position"], &f["value"])).collect();
    assert_eq!(
        found,
        [
            (&up.into(), &[5, 60].into(), &"inf".into()),
            (&"model.norm.weight".into(), &[3].into(), &"NaN".into()),
        ]
    );
    dir.done("verify out -q --against tiny-llama");

    // What the record does not allow is a fault, even beside what it does.
    edit(&dir, "out/model.safetensors", "lm_head.weight", |rows| rows[0][0] = f32::NAN);
    let verified = dir.run("verify out -q");
    assert_eq!(verified.code, Some(3));
    let faults: Vec<&str> = verified.stdout.lines().collect();
    let named =
        |fault: &&&str| fault.starts_with("nonfinite  lm_head.weight: it holds NaN at [0, 0]");
    assert_eq!(faults.iter().filter(named).count(), 1, "{faults:?}");
    assert_eq!(faults.iter().filter(|fault| fault.starts_with("nonfinite")).count(), 1);
}

/// The angles of a rotary embedding and causal masks are computed by every loader.
#[test]
fn buffers_may_hold_what_they_like() {
    let dir = Dir::new();
    dir.write("ids.safetensors", &ids(0..8));
    let buffer = f32::INFINITY.to_le_bytes().repeat(4);
    dir.write(
        "model.safetensors",
        &safetensors(&[
            ("model.layers.0.mlp.up_proj.weight", "BF16", &[64, 32], bf16(64 * 32, 1)),
            ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", &[4], buffer),
        ]),
    );
    dir.done("quantize model.safetensors -q");
}
