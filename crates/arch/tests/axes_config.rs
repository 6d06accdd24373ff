//! What a config says of a pruned model, and where a bias can stand.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{checkpoint, deepened, named};
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, BiasSwitch, Shape};
use serde_json::{Value, json};

fn bound(name: &str, changes: Value) -> Model {
    let mut whole = deepened(&named(name), 5);
    whole.config.extend(changes.as_object().unwrap().clone());
    Model::bind(Some(&whole.config), &whole.tensors).unwrap()
}

/// The changes for a shape, as an object: `null` is a key that goes.
fn edited(model: &Model, change: impl FnOnce(&mut Shape)) -> Value {
    let mut shape = model.shape().unwrap();
    change(&mut shape);
    let edits = model.edits(&shape).unwrap().into_iter();
    edits.map(|edit| (edit.key, edit.value.unwrap_or(Value::Null))).collect()
}

fn kept(layers: &[usize]) -> impl Fn(&mut Shape) {
    let layers = layers.to_vec();
    move |shape| shape.layers = layers.clone()
}

#[test]
fn widths_stand_where_they_stood() {
    let check = |name: &str, size: &str, expected: Value| {
        let model = bound(name, json!({}));
        let narrow = |shape: &mut Shape| *shape.widths.get_mut(size).unwrap() = 31;
        assert_eq!(edited(&model, narrow), expected, "{name}");
    };
    check("llama", "inter", json!({ "intermediate_size": 31 }));
    check("gemma3", "inter", json!({ "text_config.intermediate_size": 31 }));
    check("mixtral", "inter", json!({ "intermediate_size": 31 }));
    let both = json!({ "moe_intermediate_size": 31, "intermediate_size": 96 });
    check("qwen3_moe", "expert_inter", both);
}

#[test]
fn the_width_of_a_head_is_written_out() {
    let check = |name: &str, changes: Value, groups: usize, expected: Value| {
        let model = bound(name, changes);
        assert_eq!(edited(&model, |shape| shape.groups = groups), expected, "{name}");
    };
    let mistral = json!({ "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16 });
    check("mistral", json!({}), 2, mistral);
    // A width that followed from the number of heads, and keys of which there were as many as heads.
    let changes = json!({ "num_attention_heads": 4, "head_dim": null });
    let llama = json!({ "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16 });
    check("llama-tied", changes, 1, llama);
    let gemma3 = json!({
        "text_config.num_attention_heads": 2, "text_config.num_key_value_heads": 1,
        "text_config.head_dim": 16,
    });
    check("gemma3", json!({}), 1, gemma3);
}

#[test]
fn lists_of_layers_keep_the_entries_of_layers_that_stay() {
    let check = |name: &str, changes: Value, layers: &[usize], expected: Value| {
        assert_eq!(edited(&bound(name, changes), kept(layers)), expected, "{name}");
    };
    let (full, sliding) = ("full_attention", "sliding_attention");
    check("mistral", json!({}), &[0, 4], json!({ "num_hidden_layers": 2 }));
    check(
        "llama",
        json!({ "layer_types": [full, full, full, full, full] }),
        &[0, 4],
        json!({ "num_hidden_layers": 2, "layer_types": [full, full] }),
    );
    check(
        "gemma3",
        json!({}),
        &[1, 3, 4],
        json!({
            "text_config.num_hidden_layers": 3, "text_config.layer_types": [sliding, sliding, full],
        }),
    );
    check(
        "qwen3_moe",
        json!({}),
        &[1, 2, 4],
        json!({ "num_hidden_layers": 3, "mlp_only_layers": [1, 2] }),
    );
    check(
        "qwen3_moe",
        json!({ "mlp_only_layers": [0, 2, 4, 77] }),
        &[1, 3],
        json!({ "num_hidden_layers": 2, "mlp_only_layers": [] }),
    );
}

/// Every second layer of gemma2, and every `sliding_window_pattern`th of gemma3, sees everything.
#[test]
fn formulas_become_lists() {
    let check = |name: &str, changes: Value, layers: &[usize], expected: Value| {
        assert_eq!(edited(&bound(name, changes), kept(layers)), expected, "{name} {layers:?}");
    };
    let (full, sliding) = ("full_attention", "sliding_attention");
    check(
        "gemma2",
        json!({}),
        &[0, 2, 3],
        json!({ "num_hidden_layers": 3, "layer_types": [sliding, sliding, full] }),
    );
    let (pattern, other) = ("sliding_window_pattern", "_sliding_window_pattern");
    check(
        "gemma3_text",
        json!({ pattern: 2, other: 2 }),
        &[1, 2],
        json!({
            "num_hidden_layers": 2, "layer_types": [full, sliding], pattern: null, other: null,
        }),
    );
    // What still is a period may stay one.
    check(
        "gemma3_text",
        json!({}),
        &[2, 3, 4],
        json!({ "num_hidden_layers": 3, "layer_types": [sliding, full, sliding] }),
    );
}

/// Layers from `max_window_layers` on see a window: of those before it, those that stay are counted.
#[test]
fn windows_begin_behind_as_many_layers_as_stay() {
    let check = |name: &str, changes: Value, layers: &[usize], expected: Value| {
        assert_eq!(edited(&bound(name, changes), kept(layers)), expected, "{name} {layers:?}");
    };
    let key = "max_window_layers";
    check("qwen2", json!({}), &[0, 3, 4], json!({ "num_hidden_layers": 3, key: 1 }));
    // vLLM asks that it equal the number of layers where all see everything.
    check("qwen2", json!({ key: 28 }), &[0, 3], json!({ "num_hidden_layers": 2, key: 2 }));
    check("qwen2", json!({ key: null }), &[0, 3], json!({ "num_hidden_layers": 2 }));
    // A default that some layers lie beyond is written out.
    let mut deep = deepened(&named("qwen2"), 30);
    deep.config.remove(key);
    let deep = Model::bind(Some(&deep.config), &deep.tensors).unwrap();
    let expected = json!({ "num_hidden_layers": 3, key: 1 });
    assert_eq!(edited(&deep, kept(&[3, 28, 29])), expected);
    let types = json!(["sliding_attention", "full_attention"]);
    check(
        "qwen3/listed",
        json!({}),
        &[0, 3],
        json!({ "num_hidden_layers": 2, "layer_types": types }),
    );
}

#[test]
fn edits_reach_into_objects_and_make_those_that_are_missing() {
    let edit = |key: &str, value: Option<Value>| {
        let mut config = json!({ "a": { "b": 1, "c": 2 }, "d": null, "e": 3 });
        let edit = llmopt_arch::axes::Edit { key: key.to_owned(), value };
        edit.apply(config.as_object_mut().unwrap());
        config
    };
    let seven = || Some(json!(7));
    assert_eq!(edit("a.b", seven()), json!({ "a": { "b": 7, "c": 2 }, "d": null, "e": 3 }));
    assert_eq!(edit("a.b", None), json!({ "a": { "c": 2 }, "d": null, "e": 3 }));
    let made = json!({ "a": { "b": 1, "c": 2 }, "d": { "f": 7 }, "e": 3 });
    assert_eq!(edit("d.f", seven()), made);
    let made = json!({ "a": { "b": 1, "c": 2 }, "d": null, "e": { "f": 7 } });
    assert_eq!(edit("e.f", seven()), made);
    assert_eq!(edit("e", None), json!({ "a": { "b": 1, "c": 2 }, "d": null }));
}

#[test]
fn biases_are_offered_where_every_loader_knows_them() {
    let check = |name: &str, axis, expected: Option<(&'static str, bool)>| {
        let found = bound(name, json!({})).bias_switch(axis);
        let expected = expected.map(|(key, is_on)| BiasSwitch { key, is_on });
        assert_eq!(found, expected, "{name} {axis}");
    };
    check("llama", Axis::Ffn, Some(("mlp_bias", true)));
    check("llama-tied", Axis::Ffn, Some(("mlp_bias", false)));
    check("llama-tied", Axis::Heads, Some(("attention_bias", false)));
    check("granite", Axis::Ffn, Some(("mlp_bias", false)));
    check("gemma3", Axis::Heads, Some(("text_config.attention_bias", false)));
    check("gemma3", Axis::Ffn, None);
    check("mistral", Axis::Ffn, None);
    // vLLM drops the bias of its output.
    check("qwen3", Axis::Heads, None);
    check("llama", Axis::Layers, None);
}

/// What the key asks for is what is missing once it is on, and with it there is a forward pass.
#[test]
fn the_biases_listed_are_those_that_loaders_look_for() {
    for (name, axis) in [
        ("llama-tied", Axis::Ffn),
        ("llama-tied", Axis::Heads),
        ("granite", Axis::Ffn),
        ("gemma2", Axis::Heads),
        ("gemma3", Axis::Heads),
        ("gemma3_text", Axis::Heads),
    ] {
        let mut whole = checkpoint(name);
        let model = Model::bind(Some(&whole.config), &whole.tensors).unwrap();
        let switch = model.bias_switch(axis).unwrap();
        let edit = llmopt_arch::axes::Edit { key: switch.key.into(), value: Some(true.into()) };
        edit.apply(&mut whole.config);
        assert!(Model::bind(Some(&whole.config), &whole.tensors).is_err(), "{name}");
        for bias in model.biases(axis, &model.shape().unwrap()) {
            let meta = llmopt_tensor::TensorMeta::new(llmopt_tensor::Dtype::F32, [bias.length]);
            whole.tensors.insert(bias.tensor, meta.unwrap());
        }
        Model::bind(Some(&whole.config), &whole.tensors).unwrap().program().unwrap();
    }
}

#[test]
fn biases_are_as_long_as_the_shape_has_them() {
    let model = bound("llama-tied", json!({}));
    let mut shape = model.shape().unwrap();
    (shape.layers, shape.groups) = (vec![3], 1);
    shape.widths.insert("inter", 9);
    let check = |axis, module: &str, expected: &[(&str, usize, bool)]| {
        let found = model.biases(axis, &shape);
        let expected = expected.iter().map(|(name, length, is_reader)| {
            (format!("model.layers.3.{module}.{name}_proj.bias"), 3, *length, *is_reader)
        });
        let found = found.into_iter().map(|b| (b.tensor, b.layer, b.length, b.is_reader));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    };
    check(Axis::Ffn, "mlp", &[("gate", 9, false), ("up", 9, false), ("down", 64, true)]);
    let attention = [("q", 32, false), ("k", 16, false), ("v", 16, false), ("o", 64, true)];
    check(Axis::Heads, "self_attn", &attention);
    check(Axis::Layers, "", &[]);
}
