//! Quantizing the trained checkpoint: files, sizes, names, and what is said about them.

use crate::dir::Dir;
use crate::synthetic;
use safetensors::SafeTensors;
use std::collections::BTreeMap;

#[track_caller]
fn check_scheme(flags: &str, suffix: &str, parts: &[(&str, &str)]) {
    let dir = Dir::with_tiny_llama();
    let plan = dir.done(&format!("quantize tiny-llama {flags} --dry-run --json"));
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(dir.names(), ["tiny-llama"], "a dry run writes nothing");
    let ran = dir.done(&format!("quantize tiny-llama {flags} -q"));
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{flags}");
    let output = format!("tiny-llama-{suffix}");
    assert_eq!(dir.names(), ["tiny-llama".to_owned(), output.clone()]);

    let promised: BTreeMap<String, u64> = plan["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["name"].as_str().unwrap().to_owned(), file["bytes"].as_u64().unwrap()))
        .collect();
    let mut found: BTreeMap<String, u64> = dir
        .tree(&output)
        .into_iter()
        .map(|(name, bytes)| (name[output.len() + 1..].to_owned(), bytes.len() as u64))
        .collect();
    assert!(found.remove("llmopt.json").is_some(), "{flags}");
    assert_eq!(found, promised, "{flags}");

    let report = dir.json(&format!("{output}/llmopt.json"));
    for (name, &bytes) in &found {
        assert_eq!(report["outputs"][name]["bytes"], bytes, "{flags}: {name}");
    }

    let bytes = dir.read(&format!("{output}/model.safetensors"));
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    for (part, dtype) in parts {
        let name = format!("model.layers.0.mlp.down_proj.{part}");
        let tensor = weights.tensor(&name).unwrap_or_else(|_| panic!("{flags}: no {name}"));
        assert_eq!(format!("{:?}", tensor.dtype()), *dtype, "{flags}: {name}");
    }
    let before = dir.read("tiny-llama/model.safetensors");
    let before = SafeTensors::deserialize(&before).unwrap();
    for (name, tensor) in before.tensors() {
        if name.contains("norm") || name.contains("embed_tokens") {
            assert_eq!(tensor, weights.tensor(&name).unwrap(), "{flags}: {name}");
        }
    }
    for side in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        let (before, after) = (format!("tiny-llama/{side}"), format!("{output}/{side}"));
        assert!(dir.read(&before) == dir.read(&after), "{flags}: {side}");
    }
    dir.done(&format!("verify {output} --against tiny-llama --runtime transformers"));
}

/// The tensors of a matrix whose codes are packed, with their types.
const PACKED: &[(&str, &str)] =
    &[("weight_packed", "I32"), ("weight_scale", "BF16"), ("weight_shape", "I64")];
const WITH_ZEROS: &[(&str, &str)] = &[
    ("weight_packed", "I32"),
    ("weight_scale", "BF16"),
    ("weight_shape", "I64"),
    ("weight_zero_point", "I32"),
];
const FLOAT: &[(&str, &str)] = &[("weight", "F8_E4M3"), ("weight_scale", "BF16")];

rows! {
    every_scheme_writes_what_its_dry_run_promised = check_scheme;
    w8a16_by_default("", "w8a16", PACKED)
    w4a16("--bits 4", "w4a16", PACKED)
    w4a16_asymmetric_in_groups("--bits 4 --asymmetric --group-size 32", "w4a16", WITH_ZEROS)
    w3a16("--bits 3", "w3a16", PACKED)
    w3a16_asymmetric("--scheme w3a16 --asymmetric", "w3a16", WITH_ZEROS)
    w2a16_per_channel("--bits 2 --group-size channel", "w2a16", PACKED)
    w5a16("--bits 5", "w5a16", PACKED)
    w6a16_asymmetric_per_channel("--bits 6 --asymmetric --group-size channel", "w6a16", WITH_ZEROS)
    w7a16_asymmetric_to_nearest("--scheme w7a16 --asymmetric --method rtn", "w7a16", WITH_ZEROS)
    w8a16_per_channel_to_nearest("--bits 8 --group-size channel --method rtn", "w8a16", PACKED)
    w8a8("--scheme w8a8", "w8a8", &[("weight", "I8"), ("weight_scale", "BF16")])
    fp8("--scheme fp8", "fp8", FLOAT)
    fp8_block("--scheme fp8-block --runtime transformers", "fp8-block", FLOAT)
    dense("--bits 4 --format dense", "w4a16", &[("weight", "F32")])
    dense_as_the_source("--format dense --dense-dtype source", "w8a16", &[("weight", "BF16")])
}

#[test]
fn widths_without_kernels_are_refused_by_runtime_and_device() {
    let dir = Dir::with_tiny_llama();
    for (flags, scheme, rule) in [
        (
            "--bits 5 --runtime sglang",
            "w5a16 g128",
            "sglang has kernels for integer weights of 4 and 8",
        ),
        (
            "--bits 2 --runtime vllm-cpu",
            "w2a16 g128",
            "vllm-cpu has kernels for integer weights of 4",
        ),
        ("--runtime vllm-cpu", "w8a16", "vllm-cpu has kernels for integer weights of 4"),
    ] {
        let others =
            if scheme == "w8a16" { "transformers,vllm,sglang" } else { "transformers,vllm" };
        let message = format!(
            "error: {scheme}: {rule} bits alone\n\n\
             hint: `--runtime` says whose rules hold, `--exclude` leaves tensors as they are\n      \
             it runs with `--runtime {others}`\n"
        );
        dir.refused(&format!("quantize tiny-llama {flags}"), 2, &message);
    }
    dir.done("quantize tiny-llama --bits 6 -q");
    dir.done("verify tiny-llama-w6a16");
    let ran = dir.run("verify tiny-llama-w6a16 --runtime vllm-cpu,sglang");
    assert_eq!(ran.code, Some(3));
    for rule in ["vllm-cpu has kernels for integer weights of 4 bits", "sglang has kernels"] {
        assert!(ran.stdout.contains(rule), "{ran:?}");
    }
}

#[test]
fn quantized_embeddings_are_for_vllm_on_a_gpu() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 8 --embeddings --runtime vllm -q");
    dir.done("verify tiny-llama-w8a16 --runtime vllm");
    let ran = dir.run("verify tiny-llama-w8a16");
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("transformers cannot load a quantized embedding"), "{ran:?}");
    for (flags, why) in [
        ("--bits 8", "transformers cannot load a quantized embedding"),
        (
            "--bits 3 --runtime vllm",
            "vllm loads embeddings of symmetric integer weights of 2, 4 or 8",
        ),
        ("--bits 4 --runtime vllm-cpu", "vllm-cpu loads quantized embeddings on a GPU alone"),
    ] {
        let ran = dir.run(&format!("quantize tiny-llama {flags} --embeddings -o out"));
        assert_eq!(ran.code, Some(2), "{flags}");
        assert!(ran.stderr.contains(why), "{flags}: {}", ran.stderr);
    }
}

/// A dense stream of odd widths is read by compressed-tensors 0.18 and later alone.
#[test]
fn odd_widths_say_which_version_packs_them_so() {
    let dir = Dir::with_tiny_llama();
    for (bits, version) in [(2, "0.17.0"), (3, "0.18.0"), (5, "0.18.0"), (8, "0.17.0")] {
        dir.done(&format!("quantize tiny-llama --bits {bits} -q -o out --force"));
        let config = dir.json("out/config.json");
        assert_eq!(config["quantization_config"]["version"], version, "{bits} bits");
        let needs = &dir.json("out/llmopt.json")["compressed_tensors"];
        assert_eq!(needs, version, "{bits} bits");
    }
}

#[test]
fn dense_twins_need_no_kernels() {
    let dir = Dir::with_tiny_llama();
    for flags in [
        "--bits 3",
        "--bits 2 --asymmetric --runtime vllm,sglang",
        "--bits 4 --group-size 16 --exclude *.q_proj.weight",
        "--bits 8 --embeddings --lm-head",
    ] {
        dir.done(&format!("quantize tiny-llama {flags} --format dense --force -q -o out"));
        dir.done("verify out --against tiny-llama");
    }
    dir.refused(
        "quantize tiny-llama --bits 3 --format dense --runtime llama.cpp",
        2,
        "error: dense weights: llama.cpp loads GGUF files, and these are not written yet\n\n\
         hint: `--runtime` says whose rules hold, `--exclude` leaves tensors as they are\n      \
         they load with `--runtime transformers,vllm,vllm-cpu,sglang`\n",
    );
}

#[test]
fn config_keeps_its_keys_in_their_order_and_gains_one() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q");
    let keys = |name: &str| -> Vec<String> {
        dir.json(name).as_object().unwrap().keys().cloned().collect()
    };
    let mut expected = keys("tiny-llama/config.json");
    expected.push("quantization_config".to_owned());
    assert_eq!(keys("tiny-llama-w8a16/config.json"), expected);
}

#[test]
fn an_existing_output_is_refused_and_replaced_by_force() {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama -q -o out");
    let before = dir.tree("out");
    let message = "error: `out` exists already\n\nhint: `--force` replaces it once the new one is \
                   complete; `-o` writes elsewhere\n";
    dir.refused("quantize tiny-llama --bits 4 -o out", 2, message);
    assert!(dir.tree("out") == before);
    dir.done("quantize tiny-llama --bits 4 -o out --force -q");
    assert!(dir.tree("out") != before);
    assert_eq!(dir.names(), ["out", "tiny-llama"]);

    dir.write("notes/precious", b"kept");
    dir.refused(
        "quantize tiny-llama -o notes --force",
        2,
        "error: `notes` exists and is a folder that is no model, which is never replaced\n\nhint: move \
         it away, or choose another place with `-o`\n",
    );
    assert_eq!(dir.read("notes/precious"), b"kept");
}

#[test]
fn a_failed_run_leaves_an_existing_output_alone() {
    let dir = Dir::new();
    dir.write("out.safetensors", b"kept");
    dir.write("model.safetensors", b"no model");
    assert_eq!(dir.run("quantize model.safetensors -o out.safetensors --force").code, Some(3));
    assert_eq!(dir.read("out.safetensors"), b"kept");
    assert_eq!(dir.names(), ["model.safetensors", "out.safetensors"]);
}

#[test]
fn a_bare_file_becomes_a_bare_file_with_its_report_beside_it() {
    let dir = Dir::new();
    synthetic::bare(&dir, "model.safetensors", 2, 96);
    let ran = dir.done("quantize model.safetensors --bits 4");
    assert_eq!(
        dir.names(),
        ["model-w4a16.llmopt.json", "model-w4a16.safetensors", "model.safetensors"]
    );
    assert_eq!(ran.stdout, "");
    let closing = "note     runtimes need a folder: put the model's `config.json` beside the input\n\
                   next     llmopt verify model-w4a16.safetensors\n";
    assert!(ran.stderr.ends_with(closing), "{}", ran.stderr);
    // Without a config there is nothing that could be run: neither to measure nor to calibrate.
    assert!(!ran.stderr.contains("eval") && !ran.stderr.contains("calibrate"), "{}", ran.stderr);

    let bytes = dir.read("model-w4a16.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let config = &header.metadata().as_ref().unwrap()["quantization_config"];
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["quant_method"], "compressed-tensors");
    dir.done("verify model-w4a16.safetensors");
}

#[test]
fn a_file_with_a_config_beside_it_becomes_a_folder() {
    let dir = Dir::new();
    synthetic::bare(&dir, "in/model.safetensors", 2, 96);
    dir.write("in/config.json", br#"{"model_type":"nobody-knows"}"#);
    let check = |flags: &str, output: &str| {
        dir.done(&format!("quantize in/model.safetensors -q {flags}"));
        let tree = dir.tree(output);
        for name in ["config.json", "llmopt.json", "model.safetensors"] {
            assert!(tree.contains_key(&format!("{output}/{name}")), "{:?}", tree.keys());
        }
    };
    check("", "in/model-w8a16");
    check("-o folder", "folder");
}

#[test]
fn the_last_words_say_what_came_out() {
    let dir = Dir::with_tiny_llama();
    let ran = dir.done("quantize tiny-llama --bits 4 --report report.json");
    assert_eq!(ran.stdout, "");
    let firsts = ran.stderr.lines().filter_map(|line| line.split([':', ' ']).next());
    let firsts: Vec<&str> = firsts.collect();
    assert_eq!(
        firsts,
        [
            "time",
            "rewrite",
            "rewrite",
            "read",
            "read",
            "wrote",
            "size",
            "schemes",
            "error",
            "calibrate",
            "next",
            "Transformers",
            "vLLM"
        ],
        "{}",
        ran.stderr
    );
    assert_eq!(dir.read("report.json"), dir.read("tiny-llama-w4a16/llmopt.json"));
}

#[test]
fn zero_points_are_loaded_as_their_readers_need_it() {
    let loading = |dir: &Dir, command: &str| {
        let said = dir.done(&format!("quantize {command}")).stderr;
        let line = said.lines().find(|line| line.starts_with("Transformers"));
        line.expect("how Transformers loads it").to_owned()
    };
    let dequantized = "CompressedTensorsConfig(dequantize=True)";
    let dir = Dir::with_tiny_llama();
    assert!(loading(&dir, "tiny-llama --bits 4 --asymmetric").contains(dequantized));
    assert!(!loading(&dir, "tiny-llama --bits 4 -o symmetric").contains(dequantized));
    let dense = loading(&dir, "tiny-llama --bits 4 --asymmetric --format dense -o dense");
    assert!(!dense.contains(dequantized));
    // Its matrices have groups of two sizes.
    let two = Dir::with_family("llama-fp8");
    let said = loading(&two, "model --bits 4 --asymmetric");
    assert!(said.contains("up to 0.19") && !said.contains(dequantized), "{said}");
    let one = loading(&two, "model --bits 4 --asymmetric --group-size 64 -o one");
    assert!(one.contains(dequantized), "{one}");
}

#[test]
fn experts_on_a_cpu_need_amx_and_the_words_say_so() {
    let said = |family: &str| {
        Dir::with_family(family).done("quantize model --bits 4 --runtime vllm-cpu --group-size 32")
    };
    let needs = "on a CPU with AMX, for its experts";
    assert!(!said("llama-tied").stderr.contains(needs));
    let experts = Dir::with_family("mixtral");
    let only = "--include *.experts.*";
    let ran = experts.done(&format!("quantize model --bits 4 --runtime vllm-cpu {only}"));
    assert!(ran.stderr.contains(needs), "{}", ran.stderr);
}

#[test]
fn json_is_one_document_on_standard_output_and_events_on_standard_error() {
    let dir = Dir::with_tiny_llama();
    let ran = dir.done("quantize tiny-llama --json");
    assert_eq!(ran.stdout.as_bytes(), dir.read("tiny-llama-w8a16/llmopt.json"));
    let events: Vec<String> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] != "advanced")
        .map(|event| format!("{} {}", event["event"], event["stage"]).replace('"', ""))
        .collect();
    assert_eq!(
        events,
        [
            "estimate null",
            "stage-started rewrite",
            "stage-finished rewrite",
            "stage-started read back",
            "stage-finished read back"
        ]
    );
}

#[test]
fn modules_and_expressions_name_tensors_as_well() {
    let dir = Dir::with_tiny_llama();
    let kept = |options: &str| {
        let plan =
            dir.done(&format!("quantize tiny-llama --bits 4 --dry-run --json {options}")).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let tensors = plan["tensors"].as_array().unwrap().clone();
        let kept = tensors.iter().filter(|tensor| tensor["what"] == "kept");
        let linears = kept.filter(|tensor| tensor["name"].as_str().unwrap().contains("_proj"));
        linears.count()
    };
    assert_eq!(kept("--exclude model.layers.0.mlp.down_proj"), 1);
    assert_eq!(kept("--exclude *.down_proj"), 4);
    assert_eq!(kept("--exclude re:.*down_proj"), 4);
    assert_eq!(kept(r"--ignore re:model\.layers\.[01]\. --exclude lm_head"), 14);
    assert_eq!(kept("--include re:.*mlp"), 16);
}

#[test]
fn patterns_and_flags_without_effect_are_refused() {
    let dir = Dir::with_tiny_llama();
    let check = |options: &str, expected: &str| {
        dir.refused(&format!("quantize tiny-llama {options}"), 2, &format!("error: {expected}\n"));
    };
    check(
        "--exclude model.layers.0.mlp.donw_proj",
        "`--exclude model.layers.0.mlp.donw_proj` matches no tensor of the model\n\n\
         hint: the nearest name is `model.layers.0.mlp.down_proj`",
    );
    check(
        "--exclude re:down_proj",
        "`--exclude re:down_proj` matches no tensor of the model\n\n\
         hint: a pattern is a full name of a tensor or module, a glob such as `*.down_proj`, or `re:` \
         and a regular expression such as `re:.*down_proj`",
    );
    check(
        "--include model.norm --include *.mlp.*",
        "`--include model.norm` matches no matrix that can be quantized\n\n\
         hint: weights of linear layers, the embedding and the output head can be",
    );
    check(
        "--lm-head --exclude lm_head",
        "`--lm-head` has no effect: no output head of this model is selected\n\n\
         hint: leave it out, or see to it that `--include` and `--exclude` let it through",
    );
    let tied = Dir::with_family("llama-tied");
    tied.refused(
        "quantize model --lm-head",
        2,
        "error: tensor `lm_head.weight` cannot be quantized: `model.embed_tokens.weight` and \
         `lm_head.weight` are tied, and runtimes expect one dense matrix for both\n",
    );
}

#[test]
fn tensors_are_included_and_excluded_by_their_names() {
    let dir = Dir::with_tiny_llama();
    let quantized = |flags: &str| -> Vec<String> {
        let ran = dir.done(&format!("quantize tiny-llama {flags} --dry-run --json"));
        let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let tensors = plan["tensors"].as_array().unwrap().clone();
        let quantized = tensors.iter().filter(|tensor| tensor["what"] == "w8a16");
        quantized.map(|tensor| tensor["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut only = quantized("--include model.layers.0.mlp.*");
    only.sort();
    let names = ["down_proj", "gate_proj", "up_proj"];
    assert_eq!(only, names.map(|name| format!("model.layers.0.mlp.{name}.weight")));
    let all = quantized("");
    let without = quantized("--exclude *.down_proj.weight");
    assert!(without.iter().all(|name| !name.contains("down_proj")) && without.len() < all.len());
}

/// The size of an artifact is the bytes of its weight files, and bits per weight say of what, wherever
/// they are told.
#[test]
fn sizes_and_bits_per_weight_are_one_number_everywhere() {
    let dir = Dir::with_tiny_llama();
    let json = |args: &str| -> serde_json::Value {
        serde_json::from_str(&dir.done(&format!("{args} --json")).stdout).unwrap()
    };
    let args = "quantize tiny-llama --bits 4 --exclude *layers.1* -o out";
    let plan = json(&format!("{args} --dry-run"));
    let text = dir.done(&format!("{args} --dry-run")).stdout;
    let closing = dir.done(args).stderr;
    let file = |folder: &str| dir.read(&format!("{folder}/model.safetensors")).len() as u64;
    let (before, after) = (file("tiny-llama"), file("out"));
    let report = dir.json("out/llmopt.json");
    let eval =
        "eval out --against tiny-llama --text tiny-llama/evaluation.txt --window 64 --samples 2";
    let evaluation = json(&format!("{eval} -q --report r.md --report r.html"));
    let model = |of: &str, key: &str| evaluation[of][key].clone();
    for (found, expected) in [
        (&plan["input_bytes"], before),
        (&plan["output_bytes"], after),
        (&report["bytes_before"], before),
        (&report["bytes_after"], after),
        (&model("reference", "bytes"), before),
        (&model("artifact", "bytes"), after),
        (&json("inspect tiny-llama")["bytes"], before),
    ] {
        assert_eq!(found, expected);
    }
    let all: u64 = report["outputs"]
        .as_object()
        .unwrap()
        .values()
        .map(|file| file["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(plan["disk"]["needed"], all, "the disk needs room for every file");

    let bits = |value: &serde_json::Value| value.as_f64().unwrap();
    let whole = after as f64 * 8.0 / bits(&report["parameters"]);
    for found in [
        &plan["bits_per_weight"],
        &report["bits_per_weight"],
        &model("artifact", "bits_per_weight"),
    ] {
        assert_eq!(bits(found), whole);
    }
    // 4 bits, 16 of a scale for 128 of them and two 64-bit sizes of a matrix in three layers of four.
    let linears = bits(&report["linear_bits_per_weight"]);
    assert!((linears - (3.0 * 4.125 + 16.0) / 4.0).abs() < 0.01, "{linears}");
    assert_eq!(bits(&plan["linear_bits_per_weight"]), linears);
    assert_eq!(bits(&model("artifact", "linear_bits_per_weight")), linears);
    assert_eq!(bits(&model("reference", "linear_bits_per_weight")), 16.0);

    let told = format!("bits per weight: {linears:.2} of the linears, {whole:.2} of all");
    let text_of = |name: &str| String::from_utf8(dir.read(name)).unwrap();
    for text in [&text, &closing, &text_of("r.md"), &text_of("r.html")] {
        assert!(text.contains(&told), "{told}\n{text}");
    }
    let mib = |bytes: u64| format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20));
    let size = format!("size          {} to {} of weights ", mib(before), mib(after));
    assert!(closing.lines().any(|line| line.starts_with(&size)), "{size}\n{closing}");
    assert!(
        closing.contains("schemes       w4a16 g128 in 21 matrices; no fallbacks\n"),
        "{closing}"
    );
}

#[test]
fn mixed_groups_are_counted() {
    let dir = Dir::with_family("llama");
    let closing = dir.done("quantize model --bits 4 --runtime transformers -o out").stderr;
    let report = dir.json("out/llmopt.json");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in report["tensors"].as_array().unwrap() {
        if tensor.get("relative_error").is_some() {
            *counts.entry(tensor["what"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let line = closing.lines().find(|line| line.starts_with("schemes ")).unwrap();
    for (scheme, count) in &counts {
        assert!(line.contains(&format!("{scheme} in {count} matrices")), "{line}\n{counts:?}");
    }
    assert!(counts.len() > 1 && line.ends_with("; no fallbacks"), "{line}");
}
