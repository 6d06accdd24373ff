//! Model folders as downloads, training scripts and other tools leave them.

use crate::dir::Dir;
use crate::synthetic::{bf16, edit, safetensors};
use std::fs;

const SHARD: &str = "model/model-00001-of-00001.safetensors";
const INDEX: &str = "model/model.safetensors.index.json";

/// A model whose one shard an index names; `model.safetensors` stays beside it.
fn with_index(dir: &Dir) {
    let names = tensor_names(&dir.read("model/model.safetensors"));
    let map: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}\":\"{}\"", SHARD.rsplit_once('/').unwrap().1))
        .collect();
    dir.write(
        INDEX,
        format!("{{\"metadata\":{{}},\"weight_map\":{{{}}}}}", map.join(",")).as_bytes(),
    );
    dir.write(SHARD, &dir.read("model/model.safetensors"));
}

fn header(file: &[u8]) -> (usize, serde_json::Map<String, serde_json::Value>) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (8 + length, serde_json::from_slice(&file[8..8 + length]).unwrap())
}

fn tensor_names(file: &[u8]) -> Vec<String> {
    let (_, header) = header(file);
    header.keys().filter(|name| *name != "__metadata__").cloned().collect()
}

/// The same file with other names.
fn renamed(file: &[u8], rename: impl Fn(&str) -> String) -> Vec<u8> {
    let (data, header) = header(file);
    let header: serde_json::Map<_, _> = header
        .into_iter()
        .map(|(name, value)| (if name == "__metadata__" { name } else { rename(&name) }, value))
        .collect();
    let json = serde_json::to_string(&header).unwrap();
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(&file[data..]);
    bytes
}

#[test]
fn a_single_file_beside_shards_must_hold_the_same() {
    let dir = Dir::with_family("llama");
    with_index(&dir);
    dir.done("quantize model -o same");
    assert!(dir.path("same/model-00001-of-00001.safetensors").is_file());
    assert!(!dir.path("same/model.safetensors").is_file());
    edit(&dir, "model/model.safetensors", "layers.1.mlp.up_proj.weight", |rows| rows[0][0] += 1.0);
    for command in [
        "inspect model",
        "quantize model -o out",
        "prune model --sparsity 0.3 -o out",
        "verify model",
    ] {
        let ran = dir.run(command);
        assert_eq!(ran.code, Some(3), "{command}: {}{}", ran.stdout, ran.stderr);
        let told = ran.stdout + &ran.stderr;
        assert!(
            told.contains("the two differ in tensor `model.layers.1.mlp.up_proj.weight`"),
            "{told}"
        );
    }
    assert!(!dir.path("out").exists());
}

#[test]
fn files_that_no_index_leaves_out_are_told_or_refused() {
    let dir = Dir::with_family("llama");
    dir.done("quantize model --bits 8 -o expected");
    let expected = dir.read("expected/model.safetensors");
    let whole = dir.read("model/model.safetensors");
    let check = |stray: &[u8], what: &str| {
        dir.write("model/other.safetensors", stray);
        let ran = dir.done("quantize model --bits 8 -o out --force");
        let told = format!(
            "`other.safetensors` beside `model.safetensors` is left out, as Transformers does: {what}; vLLM \
             and SGLang read it, too, for there is no index"
        );
        assert!(ran.stderr.contains(&told), "{}", ran.stderr);
        assert!(dir.done("inspect model").stdout.contains(&told));
        assert_eq!(dir.read("out/model.safetensors"), expected);
        assert!(!dir.path("out/other.safetensors").exists());
    };
    check(&whole, "it holds nothing that the other does not");
    check(&safetensors(&[("more", "BF16", &[4], bf16(4, 1))]), "it holds tensors of its own");
    check(b"no weights", "it is no file of weights");

    dir.write("model/other.safetensors", &whole);
    edit(&dir, "model/other.safetensors", "layers.1.mlp.up_proj.weight", |rows| rows[0][0] += 1.0);
    for command in ["inspect model", "quantize model -o no", "verify model"] {
        let ran = dir.run(command);
        assert_eq!(ran.code, Some(3), "{command}: {}{}", ran.stdout, ran.stderr);
        let told = ran.stdout + &ran.stderr;
        let differ = "the two differ in tensor `model.layers.1.mlp.up_proj.weight`: Transformers loads the \
                      first alone, vLLM and SGLang all of them";
        assert!(told.contains(differ), "{told}");
    }
    assert!(!dir.path("no").exists());
}

#[test]
fn an_index_may_hold_what_python_takes_for_a_number() {
    let dir = Dir::with_family("llama");
    with_index(&dir);
    dir.remove("model/model.safetensors");
    let index = String::from_utf8(dir.read(INDEX)).unwrap();
    let index = index.replace("\"metadata\":{}", "\"metadata\":{\"total_size\":NaN}");
    dir.write(INDEX, index.as_bytes());
    dir.done("quantize model --bits 8 -q -o out");
    dir.done("verify out --against model -q");
}

#[test]
fn an_index_without_its_shards_gives_way_to_a_single_file() {
    let dir = Dir::with_family("llama");
    dir.done("quantize model -o expected");
    with_index(&dir);
    dir.remove(SHARD);
    let inspected = dir.done("inspect model");
    assert!(
        inspected.stdout.contains("note         the index names files that are not there"),
        "{}",
        inspected.stdout
    );
    let ran = dir.done("quantize model -o out");
    assert!(ran.stderr.contains("the index names files that are not there"), "{}", ran.stderr);
    assert_eq!(dir.read("out/model.safetensors"), dir.read("expected/model.safetensors"));
    assert!(!dir.path("out/model.safetensors.index.json").exists());
    dir.done("verify out --against model");
    // Without the single file there is no model.
    dir.remove("model/model.safetensors");
    assert_eq!(dir.run("inspect model").code, Some(3));
}

#[test]
fn an_index_of_which_a_shard_is_missing_gives_way_to_a_single_file() {
    let dir = Dir::with_family("llama");
    with_index(&dir);
    let index = String::from_utf8(dir.read(INDEX)).unwrap();
    let other = index.replacen("00001-of-00001", "00002-of-00002", 1);
    dir.write(INDEX, other.as_bytes());
    let told = dir.done("quantize model -o out").stderr;
    assert!(told.contains("the index names files that are not there"), "{told}");
    assert!(dir.path("out/model.safetensors").is_file());
    dir.done("verify out --against model");
}

#[test]
fn a_tied_head_of_the_same_values_in_another_type_is_the_embedding() {
    let dir = Dir::new();
    let embedding = bf16(64 * 32, 1);
    // A BF16 is the upper half of the F32 of the same value.
    let head: Vec<u8> = embedding.chunks(2).flat_map(|half| [0, 0, half[0], half[1]]).collect();
    let write = |head: Vec<u8>| {
        let tensors = [
            ("lm_head.weight", "F32", &[64, 32][..], head),
            ("model.embed_tokens.weight", "BF16", &[64, 32], embedding.clone()),
            ("model.layers.0.mlp.up_proj.weight", "BF16", &[64, 32], bf16(64 * 32, 2)),
        ];
        dir.write("model/model.safetensors", &safetensors(&tensors));
    };
    dir.write("model/config.json", br#"{"model_type":"novel","tie_word_embeddings":true}"#);
    write(head.clone());
    dir.done("quantize model -q -o out");
    dir.done("verify out -q");
    let mut other = head;
    *other.last_mut().unwrap() ^= 1;
    write(other);
    assert_eq!(dir.run("quantize model -o other").code, Some(3));
}

#[test]
fn a_head_that_differs_from_the_embedding_it_is_tied_to_is_refused() {
    let dir = Dir::with_family("llama");
    let config = String::from_utf8(dir.read("model/config.json")).unwrap();
    let tied = config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    assert_ne!(tied, config);
    dir.write("model/config.json", tied.as_bytes());
    let commands = [
        "quantize model --bits 8 -o out",
        "quantize model --bits 8 --dry-run",
        "prune model --sparsity 0.3 --axes ffn -o out",
        "calibrate model --data self --window 8 --samples 2 -o s.safetensors",
        "eval model --text ids.safetensors --window 16",
    ];
    for command in commands {
        let expected = "error: tensor `lm_head.weight` differs from `model.embed_tokens.weight`, but \
             `tie_word_embeddings` in `config.json` says that they are one: Transformers uses the head in \
             the file, vLLM the embedding\n\n\
             hint: set `tie_word_embeddings` to false if `lm_head.weight` is meant, or remove it from the \
             file if the embedding is\n";
        dir.refused(command, 3, expected);
    }
    let inspected = dir.done("inspect model").stdout;
    assert!(inspected.contains("by the config, but differs from it in the file"), "{inspected}");
}

#[test]
fn numbers_that_are_not_finite_stay_in_the_config() {
    let dir = Dir::with_family("llama");
    let config = String::from_utf8(dir.read("model/config.json")).unwrap();
    let more = "{\n  \"time_step_limit\": [\n    0.0,\n    Infinity\n  ],\n  \"low\": -Infinity,\n  \"none\": NaN,";
    dir.write("model/config.json", config.replacen('{', more, 1).as_bytes());
    dir.done("quantize model -o q");
    dir.done("prune model --sparsity 0.33 --axes ffn --method magnitude --no-refit -o p");
    for made in ["q", "p"] {
        let written = String::from_utf8(dir.read(&format!("{made}/config.json"))).unwrap();
        assert!(written.starts_with(more), "{written}");
    }
    dir.done("eval q --against model --text ids.safetensors --window 16");
    dir.done("verify q --against model");
}

#[test]
fn what_a_wrapper_put_before_all_names_is_left_out() {
    let dir = Dir::with_family("llama");
    dir.done("quantize model --bits 8 -o expected");
    let plain = dir.read("model/model.safetensors");
    for prefix in ["_orig_mod.", "module.", "base_model.model.", "module._orig_mod."] {
        dir.write("model/model.safetensors", &renamed(&plain, |name| format!("{prefix}{name}")));
        let ran = dir.done("quantize model --bits 8 -o out --force");
        let told = format!("every tensor's name begins with `{prefix}`");
        assert!(ran.stderr.contains(&told), "{}", ran.stderr);
        assert_eq!(dir.read("out/model.safetensors"), dir.read("expected/model.safetensors"));
        dir.done("verify out --against model");
        assert!(dir.done("inspect model").stdout.contains(&told));
    }
}

#[test]
fn what_a_wrapper_put_into_names_is_named_where_a_tensor_is_missing() {
    let dir = Dir::with_family("llama");
    let plain = dir.read("model/model.safetensors");
    let check = |rename: &dyn Fn(&str) -> String, hint: &str| {
        dir.write("model/model.safetensors", &renamed(&plain, rename));
        for command in ["quantize model -o no", "inspect model", "eval model --text t.safetensors"]
        {
            let ran = dir.run(command);
            assert_eq!(ran.code, Some(3), "{command}: {}", ran.stderr);
            assert!(ran.stderr.contains("is missing, which `llama` expects"), "{}", ran.stderr);
            assert!(ran.stderr.contains(hint), "{command}: {}", ran.stderr);
        }
    };
    check(
        &|name| name.replacen("model.", "model._orig_mod.", 1),
        "`model._orig_mod.embed_tokens.weight` is there: `torch.compile`, whose `_orig_mod` is the model \
         to save, has put `model._orig_mod.` into the names",
    );
    check(
        &|name| format!("policy.{name}"),
        "`policy.model.embed_tokens.weight` is there: something has put `policy.` before the names",
    );
    check(
        &|name| format!("module.{}", name.replace("model.norm.", "model.other.")),
        "in the file every name begins with `module.`, which is left out, and `module.model.norm.weight` \
         is not there",
    );
    check(
        &|name| name.replace("q_proj.weight", "q_proj.base_layer.weight"),
        "`model.layers.0.self_attn.q_proj.base_layer.weight` is there: PEFT, whose adapter is to be merged \
         first",
    );
}

#[test]
fn an_adapter_is_no_model() {
    let dir = Dir::with_family("llama");
    dir.write("adapter/adapter_config.json", b"{\"peft_type\": \"LORA\"}");
    fs::rename(dir.path("model/model.safetensors"), dir.path("adapter/adapter_model.safetensors"))
        .unwrap();
    dir.write("both/adapter_config.json", b"{}");
    dir.write("both/config.json", &dir.read("model/config.json"));
    dir.write("both/adapter_model.safetensors", b"");
    for model in ["adapter", "adapter/adapter_model.safetensors", "both"] {
        for command in ["inspect", "quantize"] {
            let ran = dir.run(&format!("{command} {model}"));
            assert_eq!(ran.code, Some(3), "{}", ran.stderr);
            assert!(
                ran.stderr.contains(&format!("`{model}` is a PEFT adapter, not a model")),
                "{}",
                ran.stderr
            );
            assert!(ran.stderr.contains("hint: merge it first"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_copied_model_card_is_said_to_be_the_original_s() {
    let dir = Dir::with_tiny_llama();
    let card = "`README.md` is the original's model card";
    assert!(!dir.done("quantize tiny-llama -o without").stderr.contains(card));
    dir.write("tiny-llama/README.md", b"# Tiny Llama\n");
    assert!(dir.done("quantize tiny-llama -o with").stderr.contains(card));
    assert_eq!(dir.read("with/README.md"), b"# Tiny Llama\n");
}
