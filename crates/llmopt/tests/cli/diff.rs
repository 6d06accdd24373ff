//! Two models held against each other: every tensor, the config, and what was measured of both.

use crate::dir::Dir;
use serde_json::{Value, json};

fn difference(dir: &Dir, args: &str) -> Value {
    let ran = dir.done(&format!("diff {args} --json"));
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

fn tensor<'a>(found: &'a Value, name: &str) -> &'a Value {
    let tensors = found["tensors"].as_array().unwrap();
    tensors
        .iter()
        .find(|tensor| tensor["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {found}"))
}

#[test]
fn an_artifact_lost_what_its_report_says() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o out --bits 4");
    let found = difference(&dir, "out tiny-llama");
    let report = dir.json("out/llmopt.json");
    for recorded in report["tensors"].as_array().unwrap() {
        let tensor = tensor(&found, recorded["name"].as_str().unwrap());
        let stated = recorded["relative_error"].as_f64().unwrap_or(0.0);
        let error = tensor["relative_error"].as_f64().unwrap();
        assert!((error - stated).abs() <= 1e-6 * stated, "{tensor} {recorded}");
        assert_eq!(tensor["a"]["bytes"], recorded["bytes_after"], "{tensor}");
        assert_eq!(tensor["b"]["bytes"], recorded["bytes_before"], "{tensor}");
        if stated > 0.0 {
            assert_eq!(tensor["a"]["stored"], recorded["what"], "{tensor}");
        }
    }
    let stated = report["quantized"]["relative_error"].as_f64().unwrap();
    let whole = found["relative_error"].as_f64().unwrap();
    assert!(whole > 0.0 && whole < stated, "dense tensors lost nothing: {whole} {stated}");
    assert_eq!(found["a"]["bits_per_weight"], report["bits_per_weight"]);
    let keys: Vec<&str> = found["config"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["quantization_config"]);

    // In whatever memory and with however many threads.
    assert_eq!(difference(&dir, "out tiny-llama --threads 1 --memory 48MiB"), found);
    let quick = difference(&dir, "out tiny-llama --quick");
    assert_eq!(quick["relative_error"], Value::Null);
    assert_eq!(quick["tensors"][0]["a"], found["tensors"][0]["a"]);
}

#[test]
fn a_model_differs_from_itself_in_nothing() {
    let dir = Dir::with_tiny_llama();
    let found = difference(&dir, "tiny-llama tiny-llama/model.safetensors");
    assert_eq!(found["relative_error"], json!(0.0));
    let shown = dir.done("diff tiny-llama tiny-llama").stdout;
    assert!(shown.contains("size     A has 100.0 % of the bytes of B\n"), "{shown}");
    assert!(!shown.contains("config.json"), "{shown}");
    assert!(!shown.contains("\ntensor "), "no tensor has an error: {shown}");
    let all = dir.done("diff tiny-llama tiny-llama --all").stdout;
    assert!(all.contains("\nlm_head.weight ") || all.contains("\nmodel.norm.weight "), "{all}");
}

#[test]
fn pruned_tensors_have_another_shape_and_layers_keep_their_names() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    let data = "--calibrate text.txt --samples 8 --window 64 --refine 0";
    dir.done(&format!("prune tiny-llama -q -o narrow --sparsity 0.3 --axes ffn {data}"));
    let found = difference(&dir, "narrow tiny-llama");
    let up = tensor(&found, "model.layers.0.mlp.up_proj.weight");
    assert_ne!(up["a"]["shape"], up["b"]["shape"]);
    assert_eq!(up["relative_error"], Value::Null);
    let shown = dir.done("diff narrow tiny-llama").stdout;
    assert!(shown.contains("another shape"), "{shown}");

    dir.done(
        &format!("prune tiny-llama -q -o shallow --sparsity 0.5 --axes layers --no-refit {data}")
            .replace(" --refine 0", ""),
    );
    let found = difference(&dir, "shallow tiny-llama");
    let report = dir.json("shallow/llmopt.json");
    let moved = report["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tensor| tensor.get("from").is_some() && tensor["what"] == "kept");
    for recorded in moved {
        let tensor = tensor(&found, recorded["from"].as_str().unwrap());
        assert_eq!(tensor["name_in_a"], recorded["name"]);
        assert_eq!(tensor["relative_error"], json!(0.0), "{tensor}");
    }
}

#[test]
fn evaluations_on_the_same_text_stand_side_by_side() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/calibration.txt"));
    for (name, bits) in [("four", 4), ("eight", 8)] {
        dir.done(&format!("quantize tiny-llama -q -o {name} --bits {bits} --method rtn"));
        let mut command = dir.command(&format!(
            "eval {name} --against tiny-llama --text text.txt --window 64 --samples 4 --json"
        ));
        command.args(["--gate", "size <= 1GB", "--gate", "kld <= 0.001"]);
        dir.write(&format!("{name}/evaluation.json"), &command.output().unwrap().stdout);
    }
    let found = difference(&dir, "four eight");
    let quality = &found["quality"];
    assert_eq!((&quality["text"], &quality["windows"]), (&json!("text.txt"), &json!(4)));
    let evaluation = dir.json("four/evaluation.json");
    let kld = &quality["metrics"][0];
    assert_eq!(kld["a"], evaluation["comparison"]["kld"]["mean"]);
    let gates = quality["gates"].as_array().unwrap();
    let kept: Vec<&Value> = gates.iter().map(|gate| &gate["a_passed"]).collect();
    assert_eq!(kept, [&json!(true), &json!(false)], "{quality}");
    let shown = dir.done("diff four eight").stdout;
    assert!(shown.contains("no, it would miss it now"), "{shown}");

    let mut other = dir.json("four/evaluation.json");
    other["protocol"]["text"]["sha256"] = json!("0");
    dir.write("four/evaluation.json", other.to_string().as_bytes());
    let found = difference(&dir, "four eight");
    assert_eq!(found["quality"], Value::Null);
    let note =
        "the evaluations of A and B cannot be compared: they were measured on different texts";
    assert_eq!(found["notes"], json!([note]));
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    let dir = Dir::with_tiny_llama();
    assert_eq!(dir.run("diff tiny-llama nowhere").code, Some(2));
    let mut config = dir.json("tiny-llama/config.json");
    config["quantization_config"] = json!({ "quant_method": "gptq" });
    dir.write("tiny-llama/config.json", config.to_string().as_bytes());
    let ran = dir.run("diff tiny-llama tiny-llama");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("is quantized by `gptq`, whose weights cannot be decoded"),
        "{ran:?}"
    );
}
