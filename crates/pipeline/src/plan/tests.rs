//! Plans of artifacts as texts: what becomes of every tensor, and what the files will hold.

use crate::testing::{self, Sketch, dense, experts, weights};
use crate::{DenseDtype, Format, Method, Recipe, Resources, Runtime, Scheme, Target, plan};
use llmopt_expect::expect;
use std::path::Path;

fn recipe(scheme: &str) -> Recipe {
    Recipe { method: Method::Rtn, ..Recipe::new(Scheme::preset(scheme).expect("a preset")) }
}

/// All that is known of an artifact before it is made.
fn planned(model: &Path, recipe: &Recipe) -> String {
    let resources = Resources { memory: 1 << 30, threads: 2 };
    let output = model.with_file_name("out");
    let folder = model.is_dir().then_some(output);
    let target = Target { output: folder, ..Target::default() };
    let plan = plan(model, &target, recipe, resources).expect("it can be made");
    let summary = plan.summary();
    let mut text = "tensors of the source\n".to_owned();
    for tensor in &summary.tensors {
        text += &format!("  {:<20} {}  {}\n", tensor.source, tensor.name, tensor.what);
    }
    for fallback in &summary.fallbacks {
        text += &format!("fallback of `{}`: {}\n", fallback.tensor, fallback.why);
    }
    text += "\nfiles\n";
    for file in &summary.files {
        text += &format!("{:>8}  {}\n", file.bytes, file.name);
    }
    for (number, shard) in plan.artifact.shards.iter().enumerate() {
        let header = plan.artifact.header(number).expect("a header");
        text += &format!("\n{}", weights(&shard.name, &header, |_| String::new()));
    }
    if let Some(config) = &plan.config {
        let changes: String =
            summary.config_changes.iter().map(|change| format!("  {change}\n")).collect();
        text += &format!("\nconfig.json\n{changes}{}", String::from_utf8_lossy(config));
    }
    text
}

fn of(sketch: &Sketch, recipe: &Recipe) -> String {
    planned(sketch.folder().path(), recipe)
}

#[test]
fn eight_bits_per_channel() {
    expect!("quantize-w8a16", &of(&dense(2, 512), &recipe("w8a16")));
}

/// 528 columns are no multiple of 32.
#[test]
fn four_bits_in_groups_and_per_channel_where_none_divides() {
    let mut recipe = Recipe { runtimes: vec![Runtime::Transformers], ..recipe("w4a16") };
    recipe.scheme.symmetric = false;
    expect!("quantize-w4a16", &of(&dense(1, 528), &recipe));
}

#[test]
fn four_bits_of_experts() {
    let recipe = Recipe { runtimes: vec![Runtime::Vllm], ..recipe("w4a16") };
    expect!("quantize-w4a16-experts", &of(&experts(2, 64), &recipe));
}

#[test]
fn floats_in_blocks() {
    let exclude = vec!["model.layers.1.*".to_owned()];
    let recipe = Recipe { exclude, ..recipe("fp8-block") };
    expect!("quantize-fp8-block", &of(&dense(2, 512), &recipe));
}

#[test]
fn a_bare_file_carries_its_config_in_its_header() {
    let folder = dense(1, 512).folder();
    std::fs::remove_file(folder.path().join("config.json")).expect("it is there");
    let recipe = Recipe { lm_head: true, ..recipe("w8a16") };
    let text = planned(&folder.path().join("model.safetensors"), &recipe);
    expect!("quantize-bare", &text);
}

#[test]
fn several_files_keep_their_names_and_get_a_new_index() {
    let folder = dense(1, 512).sharded();
    let recipe = recipe("w8a8");
    let mut text = planned(folder.path(), &recipe);
    let resources = Resources { memory: 1 << 30, threads: 2 };
    let plan = plan(folder.path(), &Target::default(), &recipe, resources).expect("again");
    let mut index = Vec::new();
    plan.artifact.write_index(&mut index).expect("memory");
    text += &format!("\n{}\n{}", llmopt_rewrite::INDEX, String::from_utf8_lossy(&index));
    expect!("quantize-sharded", &text);
}

#[test]
fn dense_weights_of_an_fp8_checkpoint_absorb_its_scales() {
    let recipe = Recipe { format: Format::Dense(DenseDtype::F32), ..recipe("w4a16") };
    expect!("quantize-dense", &planned(&testing::testdata("families/llama-fp8"), &recipe));
}
