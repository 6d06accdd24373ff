//! What is to be known of a model before the work: every command says it, and so does every plan.

use crate::dir::Dir;
use crate::synthetic::{bf16, safetensors};
use serde_json::{Value, json};

const EVAL: &str = "--text tiny-llama/evaluation.txt --window 64 --samples 2";

/// Another file beside the model's own, which no command takes, so that there is something to say.
const STRAY: &str = "`stray.safetensors` beside `model.safetensors` is left out";

fn with_stray() -> Dir {
    let dir = Dir::with_tiny_llama();
    let stray = safetensors(&[("more", "BF16", &[4], bf16(4, 1))]);
    dir.write("tiny-llama/stray.safetensors", &stray);
    dir
}

#[test]
fn every_command_and_every_plan_tells_what_is_to_be_known() {
    let dir = with_stray();
    let prune = "prune tiny-llama --sparsity 0.2 --axes ffn --method magnitude --no-refit -o p";
    let calibrate = "calibrate tiny-llama --data self --samples 2 --window 32 -o s.safetensors";
    let commands =
        ["quantize tiny-llama -o q", prune, calibrate, &format!("eval tiny-llama {EVAL}")];
    for command in commands {
        let planned = dir.done(&format!("{command} --dry-run")).stdout;
        assert!(planned.contains(STRAY), "{command}: {planned}");
        let planned: Value =
            serde_json::from_str(&dir.done(&format!("{command} --dry-run --json")).stdout).unwrap();
        assert!(planned["notes"][0].as_str().unwrap().starts_with(STRAY), "{command}: {planned}");
        let ran = dir.done(command);
        assert!((ran.stdout + &ran.stderr).contains(STRAY), "{command}");
    }
    let against = dir.done(&format!("eval q --against tiny-llama {EVAL} --json")).stdout;
    let against: Value = serde_json::from_str(&against).unwrap();
    let note = format!("`tiny-llama`: {STRAY}");
    assert!(against["notes"][0].as_str().unwrap().starts_with(&note), "{against}");
}

#[test]
fn an_adapter_that_is_not_merged_is_told() {
    let dir = Dir::with_tiny_llama();
    let weights = dir.read("tiny-llama/model.safetensors");
    let length = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&weights[8..length]).unwrap();
    let (begin, end) = (weights.len() - length, weights.len() - length + 2 * 8 * 128);
    for part in ["lora_A", "lora_B"] {
        let name = format!("model.layers.0.self_attn.q_proj.{part}.default.weight");
        let (begin, end) = if part == "lora_A" { (begin, end) } else { (end, end + end - begin) };
        header[&name] = json!({ "dtype": "BF16", "shape": [8, 128], "data_offsets": [begin, end] });
    }
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&weights[length..]);
    file.extend(bf16(2 * 8 * 128, 1));
    dir.write("tiny-llama/model.safetensors", &file);
    let told = "`model.layers.0.self_attn.q_proj.lora_A.default.weight` and another tensor are of a LoRA adapter \
                that is not merged";
    for command in [
        "inspect tiny-llama",
        "quantize tiny-llama --runtime transformers -o q",
        &format!("eval tiny-llama {EVAL}"),
    ] {
        let ran = dir.done(command);
        assert!((ran.stdout + &ran.stderr).contains(told), "{command}");
    }
}

#[test]
fn weights_that_are_read_as_others_are_told_in_the_plan() {
    let dir = Dir::with_family("llama-fp8");
    let fp8 = "are multiplied with their scales first";
    for command in
        ["quantize model -o q", "eval model --text ids.safetensors --window 16 --samples 1"]
    {
        let planned = dir.done(&format!("{command} --dry-run")).stdout;
        assert!(planned.contains("FP8 weights of ") && planned.contains(fp8), "{planned}");
    }
    assert!(dir.done("quantize model -o q").stderr.contains(fp8));

    let bytes = (0..64 * 32).flat_map(|i| (f64::from(i) / 2048.0 - 0.4).to_le_bytes()).collect();
    let weight = "model.layers.0.mlp.up_proj.weight";
    dir.write("f64.safetensors", &safetensors(&[(weight, "F64", &[64, 32], bytes)]));
    let planned = dir.done("quantize f64.safetensors --dry-run").stdout;
    let told = "F64 weights of 1 tensor to be quantized are rounded to F32";
    assert!(planned.contains(told), "{planned}");
}

#[test]
fn what_is_chosen_on_one_window_is_said_to_be() {
    let dir = Dir::with_tiny_llama();
    let note = "one window is held out to choose the method by, which is few";
    let data = "--calibrate tiny-llama/calibration.txt --window 64";
    let quantize =
        |samples: usize| format!("quantize tiny-llama --bits 4 {data} --samples {samples} -o q");
    for (samples, few) in [(2, true), (15, true), (16, false)] {
        let planned = dir.done(&format!("{} --dry-run", quantize(samples))).stdout;
        assert_eq!(planned.contains(note), few, "{samples}: {planned}");
    }
    let told = dir.done(&quantize(4)).stderr;
    assert!(told.contains(note), "{told}");

    let note = "one window is held out to choose the axes by, which is few";
    for (samples, few) in [(7, true), (13, true), (14, false)] {
        let prune = format!("prune tiny-llama --sparsity 0.2 {data} --samples {samples} --dry-run");
        let planned = dir.done(&prune).stdout;
        assert_eq!(planned.contains(note), few, "{samples}: {planned}");
    }
}

#[test]
fn another_tokenizer_is_said_to_make_figures_meaningless() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o q");
    let notes = || -> Value {
        let ran = dir.done(&format!("eval q --against tiny-llama {EVAL} --json"));
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["notes"].clone()
    };
    assert_eq!(notes(), json!([]));
    let mut tokenizer = dir.json("q/tokenizer.json");
    tokenizer["truncation"] =
        json!({ "direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0 });
    dir.write("q/tokenizer.json", tokenizer.to_string().as_bytes());
    assert_eq!(notes(), json!([]), "no word has another token");
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (one, other) = (vocabulary["a"].clone(), vocabulary["b"].clone());
    vocabulary["a"] = other;
    vocabulary["b"] = one;
    dir.write("q/tokenizer.json", tokenizer.to_string().as_bytes());
    let told = notes();
    assert_eq!(told.as_array().unwrap().len(), 1);
    assert!(
        told[0].as_str().unwrap().starts_with("`q` has another `tokenizer.json` than `tiny-llama`")
    );
}

#[test]
fn parts_in_different_groups_are_told_by_what_runtimes_make_of_them() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 -q -o q");
    let mut config = dir.json("q/config.json");
    let groups = &mut config["quantization_config"]["config_groups"];
    let mut group = groups["group_0"].clone();
    group["targets"] = json!(["model.layers.1.self_attn.k_proj"]);
    groups["group_1"] = group;
    dir.write("q/config.json", config.to_string().as_bytes());
    let ran = dir.run("verify q --quick");
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let fault = "are parts of `model.layers.1.self_attn.qkv_proj`, but are not in the same group: vLLM and \
                 SGLang take the first one's group for the whole without a word";
    assert!(ran.stdout.contains(fault), "{}", ran.stdout);
}
