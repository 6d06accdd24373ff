//! What a family has and what it has not, as the commands see it.

use crate::dir::Dir;
use crate::synthetic::{Tensor, bf16, file as file_of, safetensors};
use serde_json::{Value, json};

/// Writes a config and tensors of BF16 as `model/`.
fn write_model(dir: &Dir, config: &Value, tensors: &[(&str, &[usize])]) {
    let filled = |(seed, tensor): (u64, &(_, _))| {
        let &(name, shape): &(_, &[usize]) = tensor;
        (name, "BF16", shape, bf16(shape.iter().product(), seed))
    };
    let tensors: Vec<Tensor<'_>> = (0..).zip(tensors).map(filled).collect();
    dir.write("model/config.json", config.to_string().as_bytes());
    dir.write("model/model.safetensors", &safetensors(&tensors));
}

/// Transformers 5.24 calls the router of PhiMoE `mlp.router`, and its class derives from a linear.
#[test]
fn a_router_of_an_unknown_family_is_ignored_under_every_name() {
    let dir = Dir::new();
    let layer = "model.layers.0";
    let names = ["self_attn.q_proj", "block_sparse_moe.gate", "block_sparse_moe.experts.0.w1"]
        .map(|module| format!("{layer}.{module}.weight"));
    let mut tensors: Vec<(&str, &[usize])> = vec![("lm_head.weight", &[96, 64])];
    tensors.extend(names.iter().map(|name| (name.as_str(), [64, 64].as_slice())));
    write_model(&dir, &json!({ "model_type": "phimoe" }), &tensors);
    for scheme in ["--scheme fp8", "--bits 8", "--bits 4"] {
        dir.done(&format!("quantize model {scheme} -o out --force -q"));
        let config = dir.json("out/config.json");
        let routers =
            r"re:(.*\.)?(gate|gating|moe_gate|shared_expert_gate|shared_experts_gate)(\.|$)";
        let gate = format!("{layer}.block_sparse_moe.gate");
        let ignored = json!(["lm_head", gate, "re:.*lm_head", "re:.*router", routers]);
        assert_eq!(config["quantization_config"]["ignore"], ignored);
        dir.done("verify out -q");
    }
}

#[test]
fn the_head_of_an_unknown_family_can_be_quantized() {
    let dir = Dir::new();
    let tensors: [(&str, &[usize]); 2] =
        [("lm_head.weight", &[96, 64]), ("model.layers.0.mlp.up_proj.weight", &[64, 64])];
    write_model(&dir, &json!({ "model_type": "nobody" }), &tensors);
    dir.done("quantize model --lm-head -o out -q");
    assert_eq!(dir.json("out/config.json")["quantization_config"]["ignore"], json!([]));
    dir.done("verify out -q --against model");
}

/// One layer whose four experts are stacked, 4 * (64 * 64 + 64 * 32) = 24,576 parameters, and
/// attention of 4 * 64 * 64.
fn write_stacked(dir: &Dir, config: &Value, mlp: &str) {
    let layer = "model.layers.0";
    let norms = ["input_layernorm", "post_attention_layernorm"];
    let norms = norms.map(|name| format!("{layer}.{name}.weight"));
    let attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
    let attention = attention.map(|name| format!("{layer}.self_attn.{name}.weight"));
    let [gate_up, down, router] = ["experts.gate_up_proj", "experts.down_proj", "gate.weight"]
        .map(|name| format!("{layer}.{mlp}.{name}"));
    let mut tensors: Vec<(&str, &[usize])> = vec![
        ("model.embed_tokens.weight", &[96, 64]),
        ("lm_head.weight", &[96, 64]),
        ("model.norm.weight", &[64]),
        (&gate_up, &[4, 64, 64]),
        (&down, &[4, 64, 32]),
        (&router, &[4, 64]),
    ];
    tensors.extend(norms.iter().map(|name| (name.as_str(), [64].as_slice())));
    tensors.extend(attention.iter().map(|name| (name.as_str(), [64, 64].as_slice())));
    write_model(dir, config, &tensors);
}

fn moe(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "hidden_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 32,
        "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 96
    })
}

#[track_caller]
fn check_stacked(model_type: &str) {
    let dir = Dir::new();
    write_stacked(&dir, &moe(model_type), "mlp");
    let why = "each tensor stacks the experts of a layer, and such stacks are not quantized yet";
    // 24,576 of 24,576 + 256 (router) + 16,384 + 12,288 + 192 (norms) = 53,696.
    let told = format!(
        "stay dense   24,576 parameters (45.8 % of the model) in 2 tensors such as \
         `model.layers.0.mlp.experts.down_proj`: {why}\n"
    );
    let inspected = dir.done("inspect model").stdout;
    assert!(inspected.contains(&told), "{inspected}");
    let planned = dir.done("quantize model --dry-run").stdout;
    assert!(planned.contains("stay dense  24,576 parameters"), "{planned}");
    let said = dir.done("quantize model -o out").stderr;
    assert!(said.contains("stay dense    24,576 parameters"), "{said}");

    let found = json!({
        "tensors": 2, "parameters": 24576, "first": "model.layers.0.mlp.experts.down_proj",
        "why": why,
    });
    assert_eq!(dir.json("out/llmopt.json")["stacked_experts"], found);
    let ignored = dir.json("out/config.json")["quantization_config"]["ignore"].clone();
    for entry in ["model.layers.0.mlp.experts", r"re:(.*\.)?experts(\.|$)"] {
        assert!(ignored.as_array().unwrap().contains(&json!(entry)), "{ignored}");
    }
    dir.done("verify out -q --against model");

    let strict = dir.run("quantize model --strict -q -o strict");
    assert_eq!(strict.code, Some(2));
    assert!(strict.stderr.contains("24576 parameters stay dense"), "{}", strict.stderr);
    // Who leaves them out has what was asked for.
    dir.done("quantize model --strict -q -o strict --exclude *experts*");
}

rows! {
    /// gpt-oss is saved so, and Mixtral by Transformers 5 with `save_original_format=False`, which calls
    /// its router `mlp.gate`.
    stacked_experts_stay_dense_and_that_is_said = check_stacked;
    gpt_oss("gpt_oss")
    mixtral("mixtral")
}

#[test]
fn a_known_family_with_stacked_experts_is_not_run_and_a_way_out_is_named() {
    let dir = Dir::new();
    write_stacked(&dir, &moe("mixtral"), "mlp");
    dir.write("text.txt", b"some text");
    for command in [
        "eval model --text text.txt",
        "generate model text",
        "prune model --sparsity 0.3 --axes ffn --method magnitude",
        "calibrate model --data text.txt -o statistics.safetensors",
        "quantize model --bits 4 --calibrate self",
    ] {
        dir.refused(
            command,
            2,
            "error: tensor `model.layers.0.mlp.experts.down_proj` stacks the experts of `mixtral`, \
             expected tensors of each expert: as it is stored, the model can be quantized, but not \
             run\n\nhint: Transformers saves tensors of each expert with `save_pretrained(..., \
             save_original_format=True)`, its default\n",
        );
    }
}

/// Transformers 5.24 looks for `experts.0.gate_proj.weight_packed` in such an artifact.
#[test]
fn stacked_experts_that_a_runtime_cannot_load_are_refused_by_name() {
    let dir = Dir::new();
    write_stacked(&dir, &moe("llama4_text"), "feed_forward");
    let refused = "`model.layers.0.feed_forward.experts` is a stack of experts: transformers makes a \
                   linear of every expert of a quantized Llama 4, and cannot load stacked ones";
    dir.refused(
        "quantize model -o out",
        2,
        &format!(
            "error: {refused}\n\nhint: `--runtime` says whose rules hold, `--exclude` leaves tensors \
             as they are\n      stacked experts of Llama 4 load with `--runtime vllm`\n"
        ),
    );
    dir.done("quantize model -q -o dense --format dense");
    dir.done("quantize model -q -o out --runtime vllm");
    dir.done("verify out -q --runtime vllm");
    let found = dir.run("verify out -q");
    assert_eq!(found.stdout, format!("runtime  transformers: {refused}\n"));

    let mut config = dir.json("out/config.json");
    config["quantization_config"]["ignore"] = json!(["lm_head", "re:.*router", "re:.*gate$"]);
    dir.write("out/config.json", config.to_string().as_bytes());
    std::fs::remove_file(dir.path("out/llmopt.json")).unwrap();
    let found = dir.run("verify out -q --runtime vllm");
    let looked = "model.layers.0.feed_forward.experts.0.gate_proj";
    assert!(found.stdout.contains(looked), "{}", found.stdout);
}

/// Adds tensors of BF16 to those of `tiny-llama/`: 4 layers, 128 features.
fn add(dir: &Dir, tensors: &[(&str, &[usize])]) {
    let mut file = dir.read("tiny-llama/model.safetensors");
    let data = file.split_off(8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize);
    let mut header: Value = serde_json::from_slice(&file[8..]).unwrap();
    let mut bytes = data;
    for (name, shape) in tensors {
        let begin = bytes.len();
        bytes.extend(bf16(shape.iter().product(), 5));
        let offsets = [begin, bytes.len()];
        header[*name] = json!({ "dtype": "BF16", "shape": shape, "data_offsets": offsets });
    }
    dir.write("tiny-llama/model.safetensors", &file_of(&header.to_string(), &bytes));
}

#[track_caller]
fn check_bias(tensor: &str, module: &str, length: usize, hint: &str) {
    let dir = Dir::with_tiny_llama();
    add(&dir, &[(tensor, &[length])]);
    dir.write("text.txt", b"some text");
    for command in [
        "inspect tiny-llama",
        "quantize tiny-llama --dry-run",
        "quantize tiny-llama",
        "eval tiny-llama --text text.txt",
        "generate tiny-llama text",
        "calibrate tiny-llama --data text.txt -o statistics.safetensors",
        "prune tiny-llama --sparsity 0.3 --axes ffn --method magnitude",
    ] {
        let message = format!(
            "error: tensor `{tensor}` is there, but `llama` has `{module}` without it\n  in \
             `model.safetensors`\n\nhint: {hint}\n"
        );
        dir.refused(command, 3, &message);
    }
    let found = dir.run("verify tiny-llama -q");
    assert!(found.stdout.starts_with(&format!("surplus  {tensor}: ")), "{}", found.stdout);
}

const OFF: &str = "`attention_bias` is not true in `config.json`: loaders leave it out, and compute \
                   something else than was saved";
const OTHER_FAMILY: &str = "loaders leave it out, and compute something else than was saved; is `model_type` \
                            in `config.json` right?";

rows! {
    /// Every command asks the same place, and says the same.
    a_bias_that_a_module_does_not_have_is_refused_by_every_command = check_bias;
    of_a_query(
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_proj",
        128,
        OFF,
    )
    of_the_head("lm_head.bias", "lm_head", 512, OTHER_FAMILY)
    of_a_norm(
        "model.layers.3.input_layernorm.bias",
        "model.layers.3.input_layernorm",
        128,
        OTHER_FAMILY,
    )
}

#[track_caller]
fn check_unknown(tensors: &[(&str, &[usize])], parameters: &str, fault: &str) {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &b"Once upon a time there was a dog. ".repeat(40));
    let eval = "eval tiny-llama --text text.txt --window 32 --json";
    let perplexity = |dir: &Dir| {
        let found: Value = serde_json::from_str(&dir.done(eval).stdout).unwrap();
        found["perplexity"].clone()
    };
    let before = perplexity(&dir);
    add(&dir, tensors);
    assert!(before.is_object());
    assert_eq!(perplexity(&dir), before);

    let said = dir.done("quantize tiny-llama -o out").stderr;
    assert!(said.contains(&format!("with {parameters} parameters")), "{said}");
    assert_eq!(said.matches("pass through").count(), 1, "{said}");
    assert!(said.contains("AutoModelForCausalLM"), "{said}");
    assert!(!said.contains("vllm serve"), "it stops: {said}");
    let report = dir.json("out/llmopt.json");
    assert_eq!(report["unknown_tensors"]["tensors"], json!(tensors.len()));
    assert_eq!(report["unknown_tensors"]["stop"], json!(["vllm"]));
    dir.done("verify out -q --runtime transformers --against tiny-llama");
    let found = dir.run("verify out -q --runtime vllm");
    assert_eq!(found.code, Some(3));
    assert!(found.stdout.starts_with(fault), "{}", found.stdout);

    let refused = dir.run("quantize tiny-llama -o vllm --runtime vllm");
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("vllm stops at it"), "{}", refused.stderr);
    dir.done(
        "prune tiny-llama -q -o pruned --sparsity 0.2 --axes ffn --method magnitude --no-refit",
    );
    dir.done("verify pruned -q --runtime transformers");
}

rows! {
    /// 128 * 256 + 128 = 32,896 parameters of a layer that the config does not count; a mask and a head.
    tensors_of_no_family_pass_through_and_only_runtimes_that_stop_are_at_fault = check_unknown;
    of_a_layer_that_the_config_does_not_count(
        &[("model.layers.4.eh_proj.weight", &[128, 256]), ("model.layers.4.norm.weight", &[128])],
        "32,896",
        "layers  num_hidden_layers: ",
    )
    a_mask(
        &[("model.layers.0.self_attn.masked_bias", &[1])],
        "1",
        "unknown  model.layers.0.self_attn.masked_bias: ",
    )
    a_head(&[("score.weight", &[2, 128])], "256", "unknown  score.weight: ")
}

/// The config says that it is one; loaders have its head.
#[test]
fn the_head_of_a_classifier_is_no_unknown_tensor() {
    let dir = Dir::with_tiny_llama();
    add(&dir, &[("score.weight", &[2, 128])]);
    let mut config = dir.json("tiny-llama/config.json");
    config["architectures"] = json!(["LlamaForSequenceClassification"]);
    dir.write("tiny-llama/config.json", config.to_string().as_bytes());
    let said = dir.done("quantize tiny-llama -o out").stderr;
    assert!(!said.contains("pass through"), "{said}");
    dir.done("verify out -q");
}
