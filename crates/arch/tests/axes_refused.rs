//! Axes and shapes that are refused, each in words that name what stands in the way.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{Checkpoint, checkpoint, hostile};
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, AxisError, Shape};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn bound(checkpoint: &Checkpoint) -> Model {
    Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap()
}

/// The message and the hint for an axis when `changes` are made to the config.
fn check(folder: &str, axis: Axis, changes: Value, message: &str, hint: Option<&str>) {
    let mut checkpoint = checkpoint(folder);
    checkpoint.config.extend(changes.as_object().unwrap().clone());
    let error = bound(&checkpoint).prunable(axis).expect_err(message);
    assert_eq!((error.to_string().as_str(), error.hint()), (message, hint));
}

#[test]
fn structures_that_are_not_known() {
    let hint = "names and shapes alone do not tell which tensors change together";
    for axis in Axis::ALL {
        check(
            "llama",
            axis,
            json!({ "model_type": "nobody" }),
            &format!("axis `{axis}` cannot be pruned: the structure of `nobody` is not known"),
            Some(hint),
        );
    }
    let bare = Model::bind(None, &BTreeMap::new()).unwrap();
    let message = "axis `layers` cannot be pruned: the structure of `a checkpoint without a known \
                   family` is not known";
    assert_eq!(bare.shape().unwrap_err().to_string(), message);
    assert_eq!(bare.renamed("layers.3.w", &[]).as_deref(), Some("layers.3.w"));
    assert_eq!((bare.couplings(Axis::Ffn), bare.block_parameters()), (vec![], 0));
    assert_eq!(bare.bias_switch(Axis::Ffn), None);
}

#[test]
fn what_is_quantized_already() {
    let hint = Some("prune first, then quantize");
    for axis in Axis::ALL {
        let message = format!(
            "axis `{axis}` cannot be pruned: the checkpoint is quantized already (`quantization_config` \
             in `config.json`)"
        );
        check("llama-fp8", axis, json!({}), &message, hint);
    }
    check(
        "llama-fp8",
        Axis::Ffn,
        json!({ "quantization_config": null }),
        "axis `ffn` cannot be pruned: the checkpoint is quantized already \
         (`model.layers.0.mlp.down_proj.weight_scale_inv`)",
        hint,
    );
}

#[test]
fn configs_without_a_forward_pass() {
    check(
        "mistral",
        Axis::Ffn,
        json!({ "per_layer_config": { "1": { "intermediate_size": 3 } } }),
        "axis `ffn` cannot be pruned: `per_layer_config` in `config.json` is \
         {\"1\":{\"intermediate_size\":3}}, but `mistral` expects nothing",
        None,
    );
    check(
        "llama",
        Axis::Layers,
        json!({ "layer_types": ["full_attention"] }),
        "axis `layers` cannot be pruned: `layer_types` in `config.json` is [\"full_attention\"], but \
         `llama` expects an entry for each of 2 layers",
        None,
    );
}

#[test]
fn heads_that_a_runtime_could_not_count() {
    check(
        "qwen2",
        Axis::Heads,
        json!({}),
        "axis `heads` of `qwen2` cannot be pruned: vLLM ignores `head_dim` and divides `hidden_size` by \
         `num_attention_heads`",
        None,
    );
    check(
        "phi3",
        Axis::Heads,
        json!({}),
        "axis `heads` of `phi3` cannot be pruned: Transformers divides `hidden_size` by \
         `num_attention_heads` where it checks long-context factors",
        None,
    );
}

/// The mean over all heads' columns is another once some are gone, and no gain makes up for it.
#[test]
fn heads_that_are_normalized_together() {
    check(
        "olmo2",
        Axis::Heads,
        json!({}),
        "axis `heads` of `olmo2` cannot be pruned: `self_attn.q_norm` normalizes over all of it",
        None,
    );
}

#[test]
fn layers_whose_number_says_what_they_are() {
    check(
        "qwen3_moe",
        Axis::Layers,
        json!({ "decoder_sparse_step": 2 }),
        "axis `layers` of `qwen3_moe` cannot be pruned: `decoder_sparse_step` in `config.json` is 2, so \
         that a layer's number says whether it has experts",
        None,
    );
}

#[test]
fn what_cannot_become_smaller() {
    check(
        "llama",
        Axis::Heads,
        json!({}),
        "axis `heads` of `llama` cannot be pruned: `num_key_value_heads` is 1, and loaders accept no \
         smaller number",
        None,
    );
}

/// Eight query heads of 8 in four groups: six of them do not divide 64.
fn with_four_groups() -> Model {
    let mut checkpoint = checkpoint("llama-tied");
    let sizes = json!({ "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8 });
    checkpoint.config.extend(sizes.as_object().unwrap().clone());
    bound(&checkpoint)
}

fn check_shape(model: &Model, change: impl FnOnce(&mut Shape), message: &str) {
    let mut shape = model.shape().unwrap();
    change(&mut shape);
    let error: AxisError = model.edits(&shape).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn head_counts_that_transformers_refuses() {
    let model = with_four_groups();
    let units = model.prunable(Axis::Heads).unwrap().units.swap_remove(0);
    assert_eq!(units.counts().collect::<Vec<_>>(), [1, 2, 4]);
    check_shape(
        &model,
        |shape| shape.groups = 3,
        "`num_key_value_heads` cannot become 3: expected 1 to 4, where the query heads, 2 for each, \
         divide `hidden_size`, 64",
    );
    let mistral = bound(&checkpoint("mistral")).prunable(Axis::Heads).unwrap();
    assert_eq!(mistral.units[0].counts().collect::<Vec<_>>(), [1, 2, 3]);
}

/// What loaders accept is of no concern as long as nothing changes.
#[test]
fn the_whole_shape_changes_nothing() {
    for folder in ["llama-fp8", "olmo2", "qwen2", "llama"] {
        let model = bound(&checkpoint(folder));
        let whole = model.shape().unwrap();
        assert_eq!(model.edits(&whole).unwrap(), [], "{folder}");
        assert_eq!(model.parameters_left(&whole), model.block_parameters(), "{folder}");
    }
}

#[test]
fn sizes_out_of_range() {
    let model = bound(&checkpoint("phi3"));
    for width in [0, 97] {
        let message = format!("`intermediate_size` cannot become {width}: expected 1 to 96");
        check_shape(&model, |shape| *shape.widths.get_mut("inter").unwrap() = width, &message);
    }
    check_shape(
        &model,
        |shape| shape.widths.extend([("expert_inter", 3)]),
        "`expert_inter` cannot become 3: expected a width for `inter`",
    );
    check_shape(
        &bound(&checkpoint("mistral")),
        |shape| shape.groups = 4,
        "`num_key_value_heads` cannot become 4: expected 1 to 3",
    );
    for layers in [vec![], vec![1, 0], vec![0, 0], vec![0, 2]] {
        let message = format!("layers {layers:?} cannot be kept: expected some of 2, ascending");
        check_shape(&model, |shape| shape.layers = layers, &message);
    }
}

/// Whatever a config holds that still binds, axes are told or refused without a panic.
#[test]
fn hostile_configs_are_pruned_or_refused() {
    let mut pruned = 0;
    hostile(|name, config, tensors| {
        let Ok(model) = Model::bind(Some(config), tensors) else { return };
        let Ok(mut shape) = model.shape() else { return };
        if model.prunable(Axis::Heads).is_ok() {
            shape.groups = 1;
        }
        shape.layers.remove(0);
        shape.widths.values_mut().for_each(|width| *width -= 1);
        let Ok(edits) = model.edits(&shape) else { return };
        let mut config = config.clone();
        edits.iter().for_each(|edit| edit.apply(&mut config));
        assert!(model.sparsity(&shape) > 0.0, "{name}");
        pruned += 1;
    });
    assert!(pruned > 1000, "{pruned}");
}
