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

#[test]
fn another_model_is_said_to_be_another_in_one_line() {
    let dir = Dir::with_family("llama");
    dir.done("quantize model -q -o out --bits 8");
    // Of the same widths, and of others.
    for other in [Dir::with_family("mistral"), Dir::with_tiny_llama()] {
        let name = other.names().into_iter().find(|name| !name.ends_with(".safetensors")).unwrap();
        let other = other.path(&name);
        let ran = dir.run(&format!("verify out --against {}", other.display()));
        assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let begin = format!("against  `{}` is not the model that this artifact", other.display());
        assert!(ran.stdout.starts_with(&begin), "{}", ran.stdout);
    }
    // One tensor that differs is a fault of the artifact.
    dir.done("verify out --against model -q");
}

#[track_caller]
fn check_stated_error(recipe: &str) {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir.done(&format!("quantize tiny-llama -q -o out {recipe}"));
    dir.done("verify out -q --against tiny-llama");

    // A bit of one code: the last byte of a tensor, long before which its scales would be.
    let name = "out/model.safetensors";
    let mut bytes = dir.read(name);
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let module = "model.layers.1.mlp.down_proj";
    let codes = [format!("{module}.weight"), format!("{module}.weight_packed")];
    let tensor = codes.iter().find_map(|name| header.get(name)).unwrap();
    let end = 8 + length + tensor["data_offsets"][1].as_u64().unwrap() as usize;
    bytes[end - 1] ^= 0x40;
    dir.write(name, &bytes);
    let verified = dir.run("verify out -q --against tiny-llama");
    assert_eq!(verified.code, Some(3), "{recipe}");
    let stated = format!("error  {module}.weight: its relative error is ");
    let told = verified.stdout.lines().find(|line| line.trim_start().starts_with(&stated));
    assert!(told.is_some_and(|line| line.contains("but the report states")), "{}", verified.stdout);
}

rows! {
    /// What calibration moves far from the weights is sound where the report states it, and what is damaged
    /// is not, by however little.
    calibrated_artifacts_are_held_against_the_error_that_their_report_states = check_stated_error;
    fp8("--scheme fp8 --calibrate text.txt --samples 64 --window 128")
    w8a8("--scheme w8a8 --calibrate self --samples 16 --window 64")
    four_bits("--bits 4 --calibrate text.txt --samples 16 --window 64")
    without_calibration("--bits 8")
}
