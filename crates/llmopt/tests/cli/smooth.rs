//! Smoothing: the function stays, the bytes are those of any run, and `verify` makes them again.

use crate::dir::Dir;
use serde_json::Value;

/// The trained checkpoint with its text.
fn with_text() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir
}

const DATA: &str = "--calibrate text.txt --window 128 --samples 24";

/// Quantizes a seeded checkpoint.
const SMALL: &str =
    "quantize model --runtime transformers --calibrate ids.safetensors --window 64 --samples 8 -q";

fn kld(dir: &Dir, artifact: &str) -> f64 {
    let args =
        format!("eval {artifact} --against tiny-llama --text tiny-llama/evaluation.txt --json");
    let told = dir.done(&format!("{args} --window 128 --samples 48")).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    told["comparison"]["kld"]["mean"].as_f64().unwrap_or_else(|| panic!("{told}"))
}

fn told<'a>(report: &'a Value, what: &str) -> Vec<&'a str> {
    let tensors = report["tensors"].as_array().unwrap().iter();
    tensors.filter(|t| t["what"] == what).map(|t| t["name"].as_str().unwrap()).collect()
}

#[test]
fn threads_budgets_and_attempts_do_not_show_in_the_bytes() {
    let check = |family: &str, recipe: &str| {
        let dir = Dir::with_family(family);
        let args = format!("{SMALL} {recipe} --force -o out");
        let made = |resources: &str| {
            dir.done(&format!("{args} {resources}"));
            dir.tree("out")
        };
        let expected = made("--threads 1 --memory 1GiB");
        let plan = dir.done(&format!("{args} --threads 2 --dry-run --json")).stdout;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let tight = format!("--threads 2 --memory {}", plan["memory"]["smallest"]);
        for resources in [&*tight, "--threads 4 --memory 1GiB"] {
            assert!(made(resources) == expected, "{family} {recipe} {resources}");
        }
        dir.done("verify out --against model --runtime transformers -q");
    };
    check("llama", "--scheme w8a8 --method gptq --smooth");
    check("llama", "--scheme w8a8 --smooth 0.5");
    check("mixtral", "--scheme w8a8 --method qep --smooth");
}
