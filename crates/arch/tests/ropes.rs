//! The ways in which configs describe rotary embeddings.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::checkpoint;
use llmopt_arch::Model;
use llmopt_arch::program::{Operation, Rope, RopeScaling};
use serde_json::{Map, Value, json};

/// The rope of the layer in a checkpoint whose config says `changes`, and nothing else about it.
/// Heads have 16 columns and a context of 256.
fn resolved(folder: &str, layer: usize, changes: Value) -> Result<Rope, String> {
    let mut checkpoint = checkpoint(folder);
    let nested = checkpoint.config.contains_key("text_config");
    let config: &mut Map<String, Value> = if nested {
        checkpoint.config["text_config"].as_object_mut().unwrap()
    } else {
        &mut checkpoint.config
    };
    config.retain(|key, _| {
        !key.contains("rope") && !key.contains("original") && !key.contains("partial")
    });
    config.extend(changes.as_object().unwrap().clone());
    let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
    let program = model.program().map_err(|error| error.to_string())?;
    let operations = program.blocks[layer].phases.iter().flat_map(|phase| &phase.operations);
    let rope = operations.into_iter().find_map(|operation| match operation {
        Operation::Rotate { rope, .. } => Some(rope.clone()),
        _ => None,
    });
    Ok(rope.unwrap())
}

fn check(folder: &str, changes: Value, theta: f64, scaling: RopeScaling) {
    let expected = Rope { theta, width: 16, scaling };
    assert_eq!(resolved(folder, 0, changes.clone()), Ok(expected), "{folder} {changes}");
}

#[test]
fn bases_have_the_family_s_default() {
    let none = || RopeScaling::None;
    for folder in ["llama-tied", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "olmo2"] {
        check(folder, json!({}), 1e4, none());
    }
    check("granite", json!({}), 1e4, none());
    check("qwen3_moe", json!({}), 1e4, none());
    check("mixtral", json!({}), 1e6, none());
    let ropes = [0, 1].map(|layer| resolved("gemma3_text", layer, json!({})).unwrap().theta);
    assert_eq!(ropes, [1e4, 1e6]);
}

#[test]
fn the_old_form_and_the_new_say_the_same() {
    let theta = json!({ "rope_theta": 3000 });
    check("llama-tied", theta, 3e3, RopeScaling::None);
    check(
        "llama-tied",
        json!({ "rope_parameters": { "rope_theta": 3e3 } }),
        3e3,
        RopeScaling::None,
    );
    let linear = || RopeScaling::Linear { factor: 2.0 };
    let old = json!({ "rope_theta": 3e3, "rope_scaling": { "type": "linear", "factor": 2 } });
    check("llama-tied", old, 3e3, linear());
    let new = json!({
        "rope_parameters": { "rope_type": "linear", "factor": 2.0, "rope_theta": 3e3 },
        "rope_theta": 5e3, "rope_scaling": {}
    });
    check("llama-tied", new, 3e3, linear());
    // As Transformers 5 reads a config with both.
    let both = json!({
        "rope_parameters": { "rope_type": "default", "rope_theta": 3e3 },
        "rope_scaling": { "rope_type": "linear", "type": "dynamic", "factor": 2.0 }
    });
    check("llama-tied", both, 1e4, linear());
    check("qwen3", json!({ "rope_scaling": { "type": "default" } }), 1e4, RopeScaling::None);
}

#[test]
fn gemma3_keeps_ropes_for_both_kinds_of_layers() {
    let check = |changes: Value, expected: [(f64, RopeScaling); 2]| {
        let found = [0, 1].map(|layer| resolved("gemma3_text", layer, changes.clone()).unwrap());
        let expected = expected.map(|(theta, scaling)| Rope { theta, width: 16, scaling });
        assert_eq!(found, expected, "{changes}");
    };
    let linear = RopeScaling::Linear { factor: 8.0 };
    check(
        json!({
            "rope_theta": 2e6, "rope_local_base_freq": 2e4,
            "rope_scaling": { "rope_type": "linear", "factor": 8 }
        }),
        [(2e4, RopeScaling::None), (2e6, linear.clone())],
    );
    check(
        json!({ "rope_parameters": {
            "full_attention": { "rope_type": "linear", "factor": 8, "rope_theta": 2e6 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 2e4 }
        } }),
        [(2e4, RopeScaling::None), (2e6, linear.clone())],
    );
    check(
        json!({
            "rope_parameters": { "full_attention": { "rope_theta": 2e6 } },
            "rope_scaling": { "rope_type": "linear", "factor": 8 }
        }),
        [(1e4, RopeScaling::None), (2e6, linear)],
    );
}

#[test]
fn dynamic_scaling_begins_at_the_context() {
    let scaling = json!({ "rope_scaling": {
        "rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 9
    } });
    check("olmo2", scaling, 1e4, RopeScaling::Dynamic { factor: 4.0, original: 256 });
}

#[test]
fn llama3_scaling() {
    let scaling = |original: Value| {
        json!({
            "rope_scaling": {
                "rope_type": "llama3", "factor": 32, "low_freq_factor": 1, "high_freq_factor": 4,
                "original_max_position_embeddings": 64
            },
            "original_max_position_embeddings": original
        })
    };
    let llama3 = |original| RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original };
    check("llama-tied", scaling(Value::Null), 1e4, llama3(64));
    check("llama-tied", scaling(json!(128)), 1e4, llama3(128));
}

#[test]
fn yarn() {
    let check = |changes: Value, expected: (f64, usize, f64, f64, f64, bool)| {
        let mut scaling = json!({ "rope_type": "yarn" });
        scaling.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let (factor, original, beta_fast, beta_slow, attention_factor, truncate) = expected;
        let expected = RopeScaling::Yarn {
            factor,
            original,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        };
        let found = resolved("qwen2", 0, json!({ "rope_scaling": scaling })).unwrap();
        assert_eq!(found.scaling, expected, "{changes}");
    };
    let four = 0.1 * 4f64.ln() + 1.0;
    check(json!({ "factor": 4 }), (4.0, 256, 32.0, 1.0, four, true));
    check(
        json!({ "original_max_position_embeddings": 64, "truncate": false }),
        (4.0, 64, 32.0, 1.0, four, false),
    );
    check(
        json!({ "factor": 4, "attention_factor": 1.25, "beta_fast": 16, "beta_slow": 2.5 }),
        (4.0, 256, 16.0, 2.5, 1.25, true),
    );
    let halved = four / (0.05 * 4f64.ln() + 1.0);
    check(
        json!({ "factor": 4, "mscale": 1.0, "mscale_all_dim": 0.5 }),
        (4.0, 256, 32.0, 1.0, halved, true),
    );
    check(
        json!({ "factor": 4, "mscale": 0.0, "mscale_all_dim": 0.5, "beta_fast": 0 }),
        (4.0, 256, 32.0, 1.0, four, true),
    );
    check(json!({ "factor": 0.5 }), (0.5, 256, 32.0, 1.0, 1.0, true));
}

#[test]
fn long_factors() {
    let (short, long) = (vec![1.0; 8], vec![2.0; 8]);
    let scaled = |more: Value| {
        let mut scaling = json!({ "type": "longrope", "short_factor": short, "long_factor": long });
        scaling.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scaling
    };
    let expected = |original, attention_factor| RopeScaling::Long {
        short: short.clone(),
        long: long.clone(),
        original,
        attention_factor,
    };
    // sqrt(1 + ln 4 / ln 64) = sqrt(4 / 3), and sqrt(1 + ln 8 / ln 64) = sqrt(3 / 2).
    let near = |found: Rope, original, factor: f64| match found.scaling {
        RopeScaling::Long { attention_factor, .. } => {
            assert!((attention_factor - factor).abs() < 1e-12);
            assert_eq!(found.scaling, expected(original, attention_factor));
        }
        other => panic!("{other:?}"),
    };
    let outside =
        json!({ "rope_scaling": scaled(json!({})), "original_max_position_embeddings": 64 });
    near(resolved("phi3", 0, outside.clone()).unwrap(), 64, (4f64 / 3.0).sqrt());
    near(resolved("llama-tied", 0, outside).unwrap(), 64, (4f64 / 3.0).sqrt());
    let inside = scaled(json!({ "original_max_position_embeddings": 64, "factor": 8 }));
    near(resolved("qwen3", 0, json!({ "rope_scaling": inside })).unwrap(), 64, 1.5f64.sqrt());
    // Phi 3 looks outside only, where 4096 is the default.
    for name in ["longrope", "su", "yarn"] {
        let scaling = scaled(json!({ "type": name, "original_max_position_embeddings": 64 }));
        check("phi3", json!({ "rope_scaling": scaling }), 1e4, expected(4096, 1.0));
    }
    let given = scaled(json!({ "attention_factor": 1.5 }));
    check("llama-tied", json!({ "rope_scaling": given }), 1e4, expected(256, 1.5));
}

#[test]
fn phi3_rotates_a_part_of_each_head() {
    let check = |changes: Value, width| {
        assert_eq!(resolved("phi3", 0, changes.clone()).unwrap().width, width, "{changes}");
    };
    check(json!({}), 16);
    check(json!({ "partial_rotary_factor": 0.75 }), 12);
    check(
        json!({ "partial_rotary_factor": 0.5, "rope_parameters": { "partial_rotary_factor": 0.25 } }),
        4,
    );
}

#[test]
fn what_no_rope_can_be_made_of() {
    let check = |folder: &str, changes: Value, message: &str| {
        assert_eq!(resolved(folder, 1, changes), Err(message.to_owned()), "{folder}");
    };
    let scaled = |scaling: Value| json!({ "rope_scaling": scaling });
    check(
        "llama-tied",
        scaled(json!({ "rope_type": "mrope" })),
        "`rope_scaling.rope_type` in `config.json` is \"mrope\", but `llama` expects one of \"default\", \
         \"linear\", \"dynamic\", \"yarn\", \"longrope\", \"llama3\"",
    );
    check(
        "phi3",
        scaled(json!({ "type": "linear", "factor": 2 })),
        "`rope_scaling.type` in `config.json` is \"linear\", but `phi3` expects one of \"default\", \
         \"longrope\", \"su\", \"yarn\"",
    );
    check(
        "gemma3_text",
        scaled(json!({ "type": "linear", "factor": 2 })),
        "`rope_scaling.rope_type` is missing in `config.json`, and `gemma3_text` has no default for it",
    );
    check(
        "llama-tied",
        scaled(json!({ "type": "linear" })),
        "`rope_scaling.factor` is missing in `config.json`, and `llama` has no default for it",
    );
    check(
        "llama-tied",
        scaled(json!({ "type": "linear", "factor": 0 })),
        "`rope_scaling.factor` in `config.json` is 0, expected a number above 0",
    );
    check(
        "llama-tied",
        scaled(json!("linear")),
        "`rope_scaling` in `config.json` is \"linear\", expected an object",
    );
    check(
        "llama-tied",
        scaled(json!({ "type": "longrope", "short_factor": [1], "long_factor": [1] })),
        "`rope_scaling.short_factor` in `config.json` is [1], but `llama` expects 8 numbers above 0, \
         one for every two rotated columns",
    );
    check(
        "llama-tied",
        scaled(
            json!({ "type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 }),
        ),
        "`rope_scaling.high_freq_factor` in `config.json` is 4, expected more than `low_freq_factor`",
    );
    check(
        "qwen3",
        json!({ "rope_parameters": { "full_attention": { "rope_theta": 10 } } }),
        "`rope_parameters.full_attention` in `config.json` is {\"rope_theta\":10}, but `qwen3` expects \
         one rope for all its layers",
    );
    check(
        "llama-tied",
        json!({ "rope_theta": 1 }),
        "`rope_theta` in `config.json` is 1, expected a number above 1",
    );
    check(
        "llama-tied",
        json!({ "partial_rotary_factor": 0.5 }),
        "`partial_rotary_factor` in `config.json` is 0.5, but `llama` expects 1",
    );
    check(
        "llama-tied",
        json!({ "rope_parameters": { "partial_rotary_factor": 0.5 } }),
        "`rope_parameters.partial_rotary_factor` in `config.json` is 0.5, but `llama` expects 1, as all \
         columns of a head are rotated",
    );
    for (factor, expected) in [
        (0.01, "more than nothing to be rotated"),
        (0.2, "an even number of rotated columns"),
        (1.5, "at most 1"),
    ] {
        check(
            "phi3",
            json!({ "partial_rotary_factor": factor }),
            &format!(
                "`partial_rotary_factor` in `config.json` is {factor}, but `phi3` expects {expected}"
            ),
        );
    }
}
