//! Shapes, cuts and files of pruned models as texts.

use super::cut::Cut;
use super::recipe::{PruneMethod, PruneRecipe};
use super::shape::{Reached, nearest};
use crate::Calibrate;
use crate::testing::{Sketch, dense, experts, refusal, weights};
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, Shape};
use llmopt_expect::expect;
use llmopt_model::Variant;
use std::fmt::Write;

const MIXES: [&[Axis]; 7] = [
    &[Axis::Ffn],
    &[Axis::Heads],
    &[Axis::Layers],
    &[Axis::Ffn, Axis::Heads],
    &[Axis::Ffn, Axis::Layers],
    &[Axis::Heads, Axis::Layers],
    &[Axis::Ffn, Axis::Heads, Axis::Layers],
];

/// Shapes of a model along every mix of axes.
fn shapes(sketch: &Sketch) -> String {
    let model = sketch.model();
    let mut text = format!("whole: {}\n", shown(&model.shape().expect("a family")));
    for axes in MIXES {
        let names: Vec<&str> = axes.iter().map(|axis| axis.name()).collect();
        let _ = writeln!(text, "\n{}", names.join(", "));
        for sparsity in [0.05, 0.2, 0.3, 0.5, 0.7] {
            let _ = writeln!(text, "  {sparsity} -> {}", reached(&model, axes, sparsity, None));
        }
    }
    text
}

/// The shape nearest to a sparsity.
fn reached(model: &Model, axes: &[Axis], sparsity: f64, align: Option<usize>) -> String {
    match nearest(model, axes, sparsity, align) {
        Ok(Reached { shape, sparsity, align }) => {
            format!("{sparsity:.4}: {}, in steps of {align}", shown(&shape))
        }
        Err(error) => error.to_string(),
    }
}

fn shown(shape: &Shape) -> String {
    let widths = shape.widths.iter().map(|(size, width)| format!("{size} {width}"));
    let widths = widths.collect::<Vec<_>>().join(", ");
    format!("{widths}, {} groups, layers {:?}", shape.groups, shape.layers)
}

#[test]
fn shapes_of_a_dense_model() {
    expect!("shape-dense", &shapes(&dense(6, 512)));
}

#[test]
fn shapes_of_a_model_with_experts() {
    expect!("shape-experts", &shapes(&experts(5, 96)));
}

#[test]
fn steps_of_width_and_sparsities_out_of_range() {
    let model = dense(6, 512).model();
    let mut text = String::new();
    for (sparsity, align) in
        [(0.3, 8), (0.3, 64), (0.33, 64), (0.25, 512), (0.9, 8), (0.0, 8), (0.95, 8)]
    {
        let found = reached(&model, &[Axis::Ffn], sparsity, Some(align));
        let _ = writeln!(text, "{sparsity} in steps of {align} -> {found}");
    }
    // A step of 32 channels is a hundredth of a wider block.
    let wide = reached(&dense(1, 4096).model(), &[Axis::Ffn], 0.5, None);
    let _ = writeln!(text, "0.5 of 4096 channels -> {wide}");
    for sparsity in [-0.1, f64::NAN] {
        let error = nearest(&model, &[Axis::Ffn], sparsity, None).expect_err("out of range");
        let _ = writeln!(text, "{sparsity} -> {}", refusal(&error));
    }
    let error = nearest(&model, &[Axis::Heads], 0.4, None).expect_err("nothing is near");
    let _ = writeln!(text, "0.4 of heads -> {}", refusal(&error));
    expect!("shape-steps", &text);
}

fn recipe(axes: &[Axis]) -> PruneRecipe {
    PruneRecipe {
        sparsity: 0.25,
        axes: axes.to_vec(),
        method: PruneMethod::Obs,
        refit: true,
        refine: 5,
        bias: false,
        align: None,
        strict: false,
        calibrate: Calibrate::new(Vec::new()),
        runtimes: Vec::new(),
    }
}

/// What follows from a shape: places, files and config.
fn cut(folder: &std::path::Path, recipe: &PruneRecipe, change: impl FnOnce(&mut Shape)) -> String {
    let variant = Variant::open(folder).expect("it can be run");
    let mut shape = variant.model().shape().expect("a family");
    change(&mut shape);
    let cut = match Cut::new(&variant, recipe, shape) {
        Ok(cut) => cut,
        Err(error) => return refusal(&error) + "\n",
    };
    let mut text = format!("{}\nloses {}\n\nplaces\n", shown(&cut.shape), cut.axes().join(", "));
    for target in &cut.groups {
        let (units, reader) = (target.coupling.units, &target.reader);
        let expert = target.coupling.expert.map(|expert| format!(", expert {expert}"));
        let _ = writeln!(
            text,
            "  layer {}{}: {} of {units} units of {} stay, read by `{reader}` [{}, {}]",
            target.coupling.layer,
            expert.unwrap_or_default(),
            target.keep,
            target.axis,
            target.rows,
            target.columns
        );
        let moved: Vec<&str> = target.moved_tensors().collect();
        for (what, which) in [
            ("moves", moved.join(", ")),
            ("fits", target.bias.clone().unwrap_or_default()),
            ("stands for layers", format!("{:?}", target.stands_for)),
        ] {
            if !matches!(which.as_str(), "" | "[]") {
                let _ = writeln!(text, "    {what} {which}");
            }
        }
    }
    for (number, shard) in cut.artifact.shards.iter().enumerate() {
        let _ = writeln!(text, "\n{} bytes, of the source's file {}", shard.bytes, shard.source);
        let more = |name: &str| {
            let mut planned = cut.artifact.tensors();
            let found = planned.find(|planned| planned.named.name == name).expect("planned");
            let from = (found.origin != name).then(|| format!(", from {}", found.origin));
            format!("  {}{}", found.tensor.treatment, from.unwrap_or_default())
        };
        text += &weights(&shard.name, &cut.artifact.header(number).expect("a header"), more);
    }
    if cut.has_index() {
        let mut index = Vec::new();
        cut.artifact.write_index(&mut index).expect("memory");
        text += &format!("\nindex\n{}", String::from_utf8_lossy(&index));
    }
    let changes: String = cut.config_changes.iter().map(|change| format!("  {change}\n")).collect();
    text + &format!("\nconfig.json\n{changes}{}", String::from_utf8_lossy(&cut.config))
}

#[test]
fn a_dense_model_without_channels_and_heads() {
    let (folder, recipe) = (dense(2, 512).folder(), recipe(&[Axis::Ffn, Axis::Heads]));
    let text = cut(folder.path(), &recipe, |shape| {
        shape.widths.insert("inter", 320);
        shape.groups = 2;
    });
    expect!("cut-dense", &text);
    let three = cut(folder.path(), &recipe, |shape| shape.groups = 3);
    expect!("cut-refused", &three);
}

#[test]
fn experts_without_channels() {
    let (folder, recipe) = (experts(2, 96).folder(), recipe(&[Axis::Ffn]));
    let text = cut(folder.path(), &recipe, |shape| {
        shape.widths.extend([("inter", 256), ("expert_inter", 64)]);
    });
    expect!("cut-experts", &text);
}

/// The matrix that ends layer 0 stands in for the layer behind it; the others move up.
#[test]
fn layers_that_go_are_stood_in_for_and_others_take_their_names() {
    let (folder, recipe) = (dense(4, 512).sharded(), recipe(&[Axis::Layers]));
    expect!("cut-layers", &cut(folder.path(), &recipe, |shape| shape.layers = vec![0, 2, 3]));
}

#[test]
fn biases_are_added_where_the_config_has_a_switch() {
    let recipe = PruneRecipe { bias: true, refine: 0, ..recipe(&[Axis::Ffn, Axis::Heads]) };
    let narrow = |shape: &mut Shape| {
        shape.widths.insert("inter", 256);
    };
    expect!("cut-bias", &cut(dense(1, 512).folder().path(), &recipe, narrow));
    let refused = cut(experts(2, 96).folder().path(), &recipe, narrow);
    expect!("cut-bias-refused", &refused);
}
