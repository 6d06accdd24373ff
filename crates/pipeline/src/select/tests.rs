//! Selections as texts: the scheme of every matrix, and what is refused.

use super::*;
use crate::testing::{Sketch, dense, experts, refusal};
use llmopt_expect::expect;
use std::fmt::Write;

fn recipe(scheme: &str) -> Recipe {
    Recipe::new(Scheme::preset(scheme).expect("a preset"))
}

/// What is selected of a model: runs of matrices with the same scheme, in the order of execution.
fn told(sketch: &Sketch, recipe: &Recipe, kept: &[(&str, &str)]) -> String {
    let model = sketch.model();
    let kept = kept.iter().map(|&(tensor, why)| (tensor.to_owned(), why.to_owned())).collect();
    let selection = match selected(&model, recipe, &kept) {
        Ok(selection) => selection,
        Err(error) => return format!("  {}\n", refusal(&error)),
    };
    let mut text = String::new();
    for linear in model.linear_weights().iter().chain(model.optional_linear_weights()) {
        let scheme = selection.scheme_of(&linear.tensor);
        let scheme = scheme.map_or_else(
            || "dense".to_owned(),
            |scheme| match scheme.granularity {
                Granularity::Channel => format!("{scheme} per channel"),
                _ => scheme.to_string(),
            },
        );
        let _ = writeln!(text, "  {scheme:<20} {}", linear.tensor);
    }
    for Fallback { tensor, why } in &selection.fallbacks {
        let _ = writeln!(text, "  fallback of `{tensor}`: {why}");
    }
    text
}

/// A recipe, changed.
fn with(scheme: &str, change: impl FnOnce(&mut Recipe)) -> Recipe {
    let mut recipe = recipe(scheme);
    change(&mut recipe);
    recipe
}

fn patterns(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A name, a model, what is asked for, and what stays as it is, with the reason.
type Case<'a> = (&'a str, &'a Sketch, Recipe, &'a [(&'a str, &'a str)]);

#[test]
fn schemes_fallbacks_and_what_stays_dense() {
    let (usual, odd) = (dense(1, 512), dense(1, 528));
    let up = "model.layers.0.mlp.up_proj.weight";
    let cases: &[Case<'_>] = &[
        ("eight bits", &usual, recipe("w8a16"), &[]),
        ("four bits", &usual, recipe("w4a16"), &[]),
        (
            "four bits where no group divides the rows of a matrix",
            &odd,
            with("w4a16", |recipe| recipe.runtimes = vec![Runtime::Transformers]),
            &[],
        ),
        (
            "groups of 16 that were asked for",
            &odd,
            with("w4a16", |recipe| {
                recipe.group_size = GroupSize::Columns(16);
                recipe.runtimes = vec![Runtime::Transformers];
            }),
            &[],
        ),
        (
            "a scale per channel that was asked for",
            &odd,
            with("w4a16", |recipe| recipe.group_size = GroupSize::Channel),
            &[],
        ),
        (
            "embedding and head, too",
            &usual,
            with("w8a16", |recipe| {
                (recipe.embeddings, recipe.lm_head) = (true, true);
                recipe.runtimes = vec![Runtime::Vllm];
            }),
            &[],
        ),
        (
            "the head by its name",
            &usual,
            with("fp8", |recipe| recipe.include = patterns(&["lm_head", "*.o_proj"])),
            &[],
        ),
        (
            "without a fused group",
            &usual,
            with("w8a8", |recipe| recipe.exclude = patterns(&["re:.*[qkv]_proj"])),
            &[],
        ),
        (
            "a matrix that stays as it is",
            &usual,
            with("w8a16", |recipe| recipe.runtimes = vec![Runtime::Transformers]),
            &[(up, "kept dense, because it holds NaN")],
        ),
        ("experts", &experts(2, 64), recipe("w4a16"), &[]),
    ];
    let cases = cases
        .iter()
        .map(|(name, sketch, recipe, kept)| format!("{name}\n{}", told(sketch, recipe, kept)));
    expect!("select", &cases.collect::<Vec<_>>().join("\n"));
}

#[test]
fn refusals() {
    let usual = dense(2, 512);
    let mut tied = usual.clone();
    tied.config["tie_word_embeddings"] = true.into();
    tied.tensors.retain(|(name, _)| name != "lm_head.weight");
    let cases: Vec<(&str, Sketch, Recipe)> = vec![
        (
            "a part of a fused group",
            usual.clone(),
            with("w8a16", |recipe| recipe.exclude = patterns(&["*.0.self_attn.k_proj"])),
        ),
        (
            "a group size that does not divide",
            dense(1, 528),
            with("w4a16", |recipe| recipe.group_size = GroupSize::Columns(96)),
        ),
        (
            "a group size that divides some",
            dense(1, 528),
            with("w4a16", |recipe| recipe.group_size = GroupSize::Columns(128)),
        ),
        (
            "widths without kernels",
            usual.clone(),
            with("w5a16", |recipe| recipe.runtimes = vec![Runtime::Sglang, Runtime::VllmCpu]),
        ),
        (
            "a runtime of other files",
            usual.clone(),
            with("w8a16", |recipe| recipe.runtimes = vec![Runtime::LlamaCpp, Runtime::Mlx]),
        ),
        (
            "blocks that are split over devices",
            dense(1, 528),
            with("fp8-block", |recipe| {
                (recipe.tensor_parallel, recipe.runtimes) = (4, vec![Runtime::Vllm]);
            }),
        ),
        (
            "a fallback that is forbidden",
            dense(1, 528),
            with("w4a16", |recipe| {
                (recipe.strict, recipe.runtimes) = (true, vec![Runtime::Transformers]);
            }),
        ),
        (
            "nothing",
            usual.clone(),
            with("w8a16", |recipe| recipe.exclude = patterns(&["model.layers.*"])),
        ),
        (
            "a name of no tensor",
            usual.clone(),
            with("w8a16", |recipe| recipe.exclude = patterns(&["*.donw_proj"])),
        ),
        (
            "a name of no matrix",
            usual.clone(),
            with("w8a16", |recipe| recipe.include = patterns(&["model.norm", "*.mlp.*"])),
        ),
        (
            "a head that is left out",
            usual,
            with("w8a16", |recipe| {
                (recipe.lm_head, recipe.exclude) = (true, patterns(&["lm_head"]));
            }),
        ),
        ("a tied head", tied, with("w8a16", |recipe| recipe.lm_head = true)),
    ];
    let cases = cases.iter().map(|(name, sketch, recipe)| {
        let told = told(sketch, recipe, &[]);
        assert!(told.contains("refused: "), "{name}: {told}");
        format!("{name}\n{told}")
    });
    expect!("select-refused", &cases.collect::<Vec<_>>().join("\n"));
}
