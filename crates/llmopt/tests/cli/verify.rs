//! Verifying: a line per fault, and exit code 3 when there is one.

use crate::dir::{Dir, Ran};

#[test]
fn a_sound_artifact_is_said_to_be_sound() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o out");
    let ran = dir.done("verify out");
    assert!(ran.stdout.starts_with("sound "), "{}", ran.stdout);
    let quick = dir.done("verify out --quick -q");
    assert_eq!((quick.stdout.as_str(), quick.stderr.as_str()), ("", ""));
    let json = dir.done("verify out --json").stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["faults"], serde_json::json!([]));
}

#[test]
fn faults_are_printed_one_per_line() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o out");
    let mut tokenizer = dir.read("out/tokenizer.json");
    tokenizer[100] ^= 1;
    dir.write("out/tokenizer.json", &tokenizer);
    let Ran { code, stdout, stderr } = dir.run("verify out -q");
    assert_eq!((code, stderr.as_str()), (Some(3), "error: `out` has 1 fault\n"), "{stdout}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{stdout}");
    assert!(lines[0].starts_with("hash  tokenizer.json: "), "{stdout}");

    let report = dir.run("verify out -q --json");
    let found: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report.code, Some(3));
    assert_eq!(found["faults"][0]["code"], "hash");
    assert_eq!(found["faults"][0]["subject"], "tokenizer.json");
}

#[test]
fn a_model_without_quantization_is_held_against_what_it_was_made_from() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o dense --format dense");
    dir.done("verify dense --against tiny-llama");
    assert_eq!(dir.run("verify nowhere").code, Some(2));
}
