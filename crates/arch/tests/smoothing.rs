//! The smoothing pairs of the families, as lists written by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{Checkpoint, all, checkpoint, named};
use llmopt_arch::Model;
use llmopt_arch::program::{Block, Operation, Program};
use llmopt_arch::smoothing::{Maker, SmoothingPair, Unsmoothed};
use llmopt_tensor::TensorMeta;
use std::collections::BTreeSet;

fn bound(checkpoint: &Checkpoint) -> (Model, Program) {
    let model = Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap();
    let program = model.program().unwrap();
    (model, program)
}

/// A line for each pair, `phase tap: channels of maker > readers`, and one for each obstacle, with names
/// below the layer.
fn listed(program: &Program, layer: usize) -> String {
    let short = |name: &str| {
        let (_, below) = name.split_once(&format!("layers.{layer}.")).unwrap();
        below.strip_suffix(".weight").unwrap_or(below).to_owned()
    };
    let all = |names: &[String]| names.iter().map(|name| short(name)).collect::<Vec<_>>().join(" ");
    let maker = |maker: &Maker| match maker {
        Maker::Gains { weight, from_one: false } => short(weight),
        Maker::Gains { weight, from_one: true } => format!("1 + {}", short(weight)),
        Maker::Rows { weight, bias: None, rows } => format!("{}[{rows:?}]", short(weight)),
        Maker::Rows { weight, bias: Some(bias), rows } => {
            format!("{}[{rows:?}] + {}", short(weight), short(bias))
        }
    };
    let pair = |pair: &SmoothingPair| {
        let (tap, channels) = (&program.taps[pair.tap.0].name, pair.channels);
        let (maker, readers) = (maker(&pair.maker), all(&pair.readers));
        format!("{} {tap}: {channels} of {maker} > {readers}\n", pair.phase)
    };
    let obstacle =
        |unsmoothed: &Unsmoothed| format!("{}: {}\n", all(&unsmoothed.readers), unsmoothed.reason);
    let smoothing = program.smoothing(&program.blocks[layer]);
    let pairs = smoothing.pairs.iter().map(pair);
    pairs.chain(smoothing.refused.iter().map(obstacle)).collect()
}

#[track_caller]
fn check(checkpoint: &Checkpoint, layer: usize, expected: &str) {
    assert_eq!(listed(&bound(checkpoint).1, layer), expected);
}

/// The checkpoint with a value head for every query head.
fn ungrouped(folder: &str) -> Checkpoint {
    let mut checkpoint = checkpoint(folder);
    let mixed = checkpoint.tensors["model.layers.0.self_attn.o_proj.weight"].shape()[1];
    for (name, meta) in &mut checkpoint.tensors {
        let rows = match name.split('.').nth(4) {
            Some("k_proj" | "v_proj") => mixed,
            Some("qkv_proj") => 3 * mixed,
            _ => continue,
        };
        let shape = [&[rows], &meta.shape()[1..]].concat();
        *meta = TensorMeta::new(meta.dtype(), shape).unwrap();
    }
    let heads = checkpoint.config["num_attention_heads"].clone();
    checkpoint.config.insert("num_key_value_heads".to_owned(), heads);
    checkpoint
}

#[test]
fn llama_with_biases_and_grouped_queries() {
    check(
        &checkpoint("llama"),
        0,
        "\
0 x: 64 of input_layernorm > self_attn.q_proj self_attn.k_proj self_attn.v_proj
1 x: 64 of post_attention_layernorm > mlp.gate_proj mlp.up_proj
1 inner: 96 of mlp.up_proj[0..96] + mlp.up_proj.bias > mlp.down_proj
self_attn.o_proj: query heads (8) share value heads (1)
",
    );
}

#[test]
fn qwen2_with_a_value_head_for_every_query_head() {
    check(
        &ungrouped("qwen2"),
        1,
        "\
0 x: 64 of input_layernorm > self_attn.q_proj self_attn.k_proj self_attn.v_proj
0 mixed: 96 of self_attn.v_proj[0..96] + self_attn.v_proj.bias > self_attn.o_proj
1 x: 64 of post_attention_layernorm > mlp.gate_proj mlp.up_proj
1 inner: 96 of mlp.up_proj[0..96] > mlp.down_proj
",
    );
}

#[test]
fn phi3_whose_matrices_are_fused() {
    check(
        &ungrouped("phi3"),
        0,
        "\
0 x: 64 of input_layernorm > self_attn.qkv_proj
0 mixed: 64 of self_attn.qkv_proj[128..192] > self_attn.o_proj
1 x: 64 of post_attention_layernorm > mlp.gate_up_proj
1 inner: 96 of mlp.gate_up_proj[96..192] > mlp.down_proj
",
    );
}

#[test]
fn gemma2_whose_gains_count_from_one() {
    check(
        &checkpoint("gemma2"),
        1,
        "\
0 x: 64 of 1 + input_layernorm > self_attn.q_proj self_attn.k_proj self_attn.v_proj
1 x: 64 of 1 + pre_feedforward_layernorm > mlp.gate_proj mlp.up_proj
1 inner: 96 of mlp.up_proj[0..96] > mlp.down_proj
self_attn.o_proj: query heads (4) share value heads (2)
",
    );
}

#[test]
fn mixtral_whose_router_and_experts_read_one_norm() {
    check(
        &checkpoint("mixtral"),
        0,
        "\
0 x: 64 of input_layernorm > self_attn.q_proj self_attn.k_proj self_attn.v_proj
1 x: 64 of post_attention_layernorm > block_sparse_moe.gate \
block_sparse_moe.experts.0.w1 block_sparse_moe.experts.0.w3 \
block_sparse_moe.experts.1.w1 block_sparse_moe.experts.1.w3 \
block_sparse_moe.experts.2.w1 block_sparse_moe.experts.2.w3
2 inner: 32 of block_sparse_moe.experts.0.w3[0..32] > block_sparse_moe.experts.0.w2
3 inner: 32 of block_sparse_moe.experts.1.w3[0..32] > block_sparse_moe.experts.1.w2
4 inner: 32 of block_sparse_moe.experts.2.w3[0..32] > block_sparse_moe.experts.2.w2
self_attn.o_proj: query heads (6) share value heads (3)
",
    );
}

#[test]
fn olmo2_whose_matrices_read_the_hidden_state() {
    check(
        &checkpoint("olmo2"),
        0,
        "\
1 inner: 96 of mlp.up_proj[0..96] > mlp.down_proj
self_attn.q_proj self_attn.k_proj self_attn.v_proj: \
no norm and no matrix makes them channel by channel
self_attn.o_proj: query heads (6) share value heads (3)
mlp.gate_proj mlp.up_proj: no norm and no matrix makes them channel by channel
",
    );
}

/// Every matrix of every family is in one list, and everything is as long as its channels.
#[test]
fn pairs_fit_the_tensors_and_no_matrix_is_left_out() {
    for name in all() {
        let (model, program) = bound(&named(&name));
        for block in &program.blocks {
            let smoothing = program.smoothing(block);
            smoothing.pairs.iter().for_each(|pair| check_shapes(&model, &program, pair));
            let readers = smoothing.pairs.iter().flat_map(|pair| &pair.readers);
            let refused = smoothing.refused.iter().flat_map(|unsmoothed| &unsmoothed.readers);
            let mut listed: Vec<&String> = readers.chain(refused).collect();
            listed.sort();
            assert!(listed.iter().copied().eq(weights(block)), "{name} {}", block.layer);
        }
    }
}

/// The matrices of a block, sorted.
fn weights(block: &Block) -> BTreeSet<&String> {
    let operations = block.phases.iter().flat_map(|phase| &phase.operations);
    operations.filter_map(Operation::linear).map(|linear| &linear.weight).collect()
}

fn check_shapes(model: &Model, program: &Program, pair: &SmoothingPair) {
    let shape = |name: &str| model.get(name).unwrap().meta.shape();
    let channels = pair.channels;
    assert_eq!(program.width(pair.tap), channels);
    for reader in &pair.readers {
        assert_eq!(shape(reader)[1], channels, "{reader}");
    }
    match &pair.maker {
        Maker::Gains { weight, .. } => assert_eq!(shape(weight), [channels], "{weight}"),
        Maker::Rows { weight, bias, rows } => {
            assert_eq!(rows.len(), channels, "{weight}");
            assert!(rows.end <= shape(weight)[0], "{weight}");
            let biases = bias.iter().map(|bias| shape(bias));
            assert!(biases.into_iter().all(|bias| bias == [shape(weight)[0]]), "{weight}");
        }
    }
}
