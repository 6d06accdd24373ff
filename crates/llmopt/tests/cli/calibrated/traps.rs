//! Inputs and weights on which a solver may stumble: each has its stated outcome.

use super::{calibrated, fallbacks, with_text};
use crate::dir::Dir;
use crate::synthetic::edit;
use serde_json::{Value, json};

const WEIGHTS: &str = "tiny-llama/model.safetensors";

/// Mean KL divergence from the original model on the windows of the calibration.
fn divergence(dir: &Dir, artifact: &str, data: &str) -> f64 {
    let args = format!("eval {artifact} --against tiny-llama --text text.txt {data} --json -q");
    let found: Value = serde_json::from_str(&dir.done(&args).stdout).unwrap();
    found["comparison"]["kld"]["mean"]["value"].as_f64().unwrap()
}

/// Quantizes with `gptq+cd` on these windows: a sound artifact, no farther from the original than
/// rounding to nearest leaves it, with outputs near to what they were.
#[track_caller]
fn check(dir: &Dir, data: &str) -> Value {
    let quantize = "quantize tiny-llama --bits 4 -q --force -o";
    dir.done(&format!("{quantize} rtn --method rtn"));
    dir.done(&format!("{quantize} out --method gptq+cd --calibrate text.txt {data}"));
    dir.done("verify out -q");
    let (found, rounded) = (divergence(dir, "out", data), divergence(dir, "rtn", data));
    assert!(found <= rounded, "{found}, and rounded to nearest {rounded}");
    let report = dir.json("out/llmopt.json");
    for (tensor, facts) in calibrated(&report) {
        match facts.get("fallback") {
            None => {
                assert!(facts["output_error"].as_f64().unwrap() < 0.1, "{tensor}: {facts}");
                assert!(facts["damping"].as_f64().unwrap() > 0.0, "{tensor}: {facts}");
            }
            Some(_) => assert_eq!(facts.get("output_error"), None, "{tensor}: {facts}"),
        }
    }
    report
}

/// `data` of [`check`], for most.
const WINDOWS: &str = "--window 64 --samples 16";

/// Sums of dead columns over the matrices whose names end so.
fn dead(report: &Value, ending: &str) -> u64 {
    let tensors = calibrated(report).into_iter().filter(|(name, _)| name.ends_with(ending));
    tensors.map(|(_, facts)| facts["dead_columns"].as_u64().unwrap()).sum()
}

#[test]
fn with_one_window_no_method_is_chosen_and_search_is_taken() {
    let dir = with_text();
    let calibrate = "quantize tiny-llama --bits 4 --calibrate text.txt --window 64 --samples 1";
    let note =
        "one window is too few to choose a method by: none would be held out, so it is `search`";
    let closing = dir.done(&format!("{calibrate} -o auto")).stderr;
    assert!(closing.contains(note), "{closing}");
    assert_eq!(dir.json("auto/llmopt.json")["calibration"]["notes"], json!([note]));
    dir.done(&format!("{calibrate} --method search -q -o search"));
    let weights = |folder: &str| dir.read(&format!("{folder}/model.safetensors"));
    assert!(weights("auto") == weights("search"));
    dir.done("verify auto -q");
    assert_eq!(dir.names(), ["auto", "search", "text.txt", "tiny-llama"]);
}

#[test]
fn fewer_tokens_than_columns_are_damped() {
    let dir = with_text();
    let report = check(&dir, "--window 40 --samples 1");
    assert_eq!(fallbacks(&report), []);
    assert!(calibrated(&report).iter().all(|(_, facts)| facts["tokens"] == 40));
}

#[test]
fn a_site_that_never_fires_is_searched_and_listed() {
    let dir = with_text();
    edit(&dir, WEIGHTS, "layers.1.input_layernorm.weight", |gains| gains.fill(vec![0.0]));
    let report = check(&dir, WINDOWS);
    let why = "its inputs were zero on all 1024 tokens";
    let name = |matrix: &str| format!("model.layers.1.self_attn.{matrix}_proj.weight");
    let names = ["k", "o", "q", "v"].map(name);
    let expected: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), why)).collect();
    assert_eq!(fallbacks(&report), expected);
    assert_eq!(dead(&report, "layers.1.self_attn.q_proj.weight"), 128);
    let strict = "quantize tiny-llama --bits 4 --method gptq --calibrate text.txt --strict -q -o s";
    let expected = format!("error: tensor `{}`: {why}, and `--strict` forbids it\n", names[2]);
    dir.refused(&format!("{strict} {WINDOWS}"), 2, &expected);
}

#[test]
fn input_features_that_never_fire_are_counted() {
    let dir = with_text();
    edit(&dir, WEIGHTS, "layers.1.input_layernorm.weight", |gains| {
        gains[5] = vec![0.0];
        gains[127] = vec![-0.0];
    });
    let report = check(&dir, WINDOWS);
    assert_eq!(fallbacks(&report), []);
    assert_eq!((dead(&report, "1.self_attn.v_proj.weight"), dead(&report, "_proj.weight")), (2, 6));
}

#[test]
fn a_constant_input_is_fitted() {
    let dir = with_text();
    edit(&dir, WEIGHTS, "embed_tokens.weight", |rows| {
        let row = rows[3].clone();
        rows.fill(row);
    });
    let report = check(&dir, WINDOWS);
    // One direction is easy to be right in.
    let first = &calibrated(&report)[0].1["output_error"];
    assert!(first.as_f64().unwrap() < 0.005, "{first}");
}

#[test]
fn duplicate_columns_and_columns_of_zeros_are_fitted() {
    let dir = with_text();
    for matrix in ["gate_proj.weight", "up_proj.weight"] {
        edit(&dir, WEIGHTS, matrix, |rows| rows[1] = rows[0].clone());
    }
    edit(&dir, WEIGHTS, "proj.weight", |rows| {
        for row in rows {
            row[0] = 0.0;
            row[77] = 0.0;
        }
    });
    let report = check(&dir, WINDOWS);
    assert_eq!((fallbacks(&report), dead(&report, "weight")), (Vec::new(), 0));
}

/// Gains of so many features times so many powers of two.
#[track_caller]
fn check_massive(columns: usize, power: i32) {
    let dir = with_text();
    edit(&dir, WEIGHTS, "layers.1.post_attention_layernorm.weight", |gains| {
        gains[..columns].iter_mut().for_each(|gain| gain[0] *= 2.0_f32.powi(power));
    });
    assert_eq!(fallbacks(&check(&dir, WINDOWS)), []);
}

rows! {
    massive_activations_overflow_nothing = check_massive;
    of_one_feature(1, 17)
    of_all_features(128, 14)
    of_one_feature_far_beyond_f16(1, 40)
    of_all_features_far_beyond_f16(128, 25)
}
