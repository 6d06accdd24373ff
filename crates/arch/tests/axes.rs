//! What a family's data says of pruning gives checkpoints that bind again.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::single_range_in_vec_init, reason = "one run of places is a range, too")]

mod checkpoints;

use checkpoints::{Checkpoint, FOLDERS, VARIANTS, checkpoint, deepened, named};
use llmopt_arch::axes::{Axis, Coupling, Kept, Shape};
use llmopt_arch::program::{Attention, Operation, Program, Rope};
use llmopt_arch::{Family, Model};
use llmopt_tensor::TensorMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const LAYERS: usize = 5;

fn bound(checkpoint: &Checkpoint) -> Model {
    Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap()
}

/// Some units, ascending, others in every place.
fn chosen(units: usize, kept: usize, layer: usize, expert: Option<usize>) -> Vec<usize> {
    let first = 7 * layer + 3 * expert.unwrap_or_default();
    let mut chosen: Vec<usize> = (0..kept).map(|unit| (first + 5 * unit) % units).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let missing = (0..units).filter(|unit| !chosen.contains(unit)).take(kept - chosen.len());
    let mut chosen = [chosen.clone(), missing.collect()].concat();
    chosen.sort_unstable();
    chosen
}

/// The checkpoint that `shape` leaves of one.
fn pruned(whole: &Checkpoint, model: &Model, shape: &Shape) -> Checkpoint {
    let channels = model.couplings(Axis::Ffn);
    let groups = model.couplings(Axis::Heads);
    let mut tensors = BTreeMap::new();
    for tensor in model.tensors() {
        let Some(name) = model.renamed(&tensor.name, &shape.layers) else { continue };
        let here = |coupling: &&Coupling| Some(coupling.layer) == tensor.layer;
        let ours = |coupling: &&Coupling| here(coupling) && coupling.expert == tensor.expert;
        let units = |coupling: &Coupling, kept| {
            chosen(coupling.units, kept, coupling.layer, coupling.expert)
        };
        let channels =
            channels.iter().find(ours).map(|coupling| units(coupling, shape.widths[coupling.size]));
        let groups = groups.iter().find(here).map(|coupling| units(coupling, shape.groups));
        let kept = Kept { channels: channels.as_deref(), groups: groups.as_deref() };
        let slice = model.slices(&tensor.name, kept);
        let lengths = slice.map_or(tensor.meta.shape().to_vec(), |slice| slice.shape());
        tensors.insert(name, TensorMeta::new(tensor.meta.dtype(), lengths).unwrap());
    }
    let mut config = whole.config.clone();
    model.edits(shape).unwrap().iter().for_each(|edit| edit.apply(&mut config));
    Checkpoint { config, tensors }
}

fn attention(program: &Program, block: usize) -> (&Attention, &Rope) {
    let operations = program.blocks[block].phases.iter().flat_map(|phase| &phase.operations);
    let mut attention = None;
    let mut turned = None;
    for operation in operations {
        match operation {
            Operation::Attend(found) => attention = Some(found),
            Operation::Rotate { rope, .. } => turned = Some(rope),
            _ => {}
        }
    }
    (attention.unwrap(), turned.unwrap())
}

/// What is left binds, has a forward pass, is of the predicted size, and each of its layers sees what
/// it saw before.
fn check(name: &str, shape: &Shape) {
    let whole = deepened(&named(name), LAYERS);
    let model = bound(&whole);
    let left = pruned(&whole, &model, shape);
    let found = Model::bind(Some(&left.config), &left.tensors);
    let found = found.unwrap_or_else(|error| panic!("{name} {shape:?}: {error}"));
    let program = found.program().unwrap_or_else(|error| panic!("{name} {shape:?}: {error}"));
    assert_eq!(found.layers(), shape.layers.len(), "{name}");
    assert_eq!(found.block_parameters(), model.parameters_left(shape), "{name} {shape:?}");
    let again = found.shape().unwrap();
    assert_eq!(
        (&again.widths, again.groups),
        (&widths_left(&found, shape), shape.groups),
        "{name}"
    );
    let before = model.program().unwrap();
    for (block, &layer) in shape.layers.iter().enumerate() {
        let (new, rope) = attention(&program, block);
        let (old, old_rope) = attention(&before, layer);
        assert_eq!((new.window, rope), (old.window, old_rope), "{name} {shape:?} {layer}");
        assert_eq!((new.head_width, new.scale), (old.head_width, old.scale), "{name} {layer}");
        assert_eq!(new.heads * old.key_value_heads, old.heads * new.key_value_heads, "{name}");
        let phases = |program: &Program, block: usize| program.blocks[block].phases.len();
        assert_eq!(phases(&program, block), phases(&before, layer), "{name} {layer}");
    }
}

/// The widths of `shape` that layers which are left have.
fn widths_left(model: &Model, shape: &Shape) -> BTreeMap<&'static str, usize> {
    let sizes = model.couplings(Axis::Ffn).into_iter().map(|coupling| coupling.size);
    sizes.map(|size| (size, shape.widths[size])).collect()
}

/// Shapes of a model: along each axis alone, with counts that are odd where they can be, and along
/// all together.
fn shapes(model: &Model) -> Vec<Shape> {
    let whole = model.shape().unwrap();
    let mut shapes = vec![whole.clone()];
    let mut all = whole.clone();
    for (place, width) in all.widths.values_mut().enumerate() {
        *width = *width / 2 + 1 + 2 * place;
    }
    shapes.push(Shape { widths: all.widths.clone(), ..whole.clone() });
    if let Ok(facts) = model.prunable(Axis::Heads) {
        for groups in facts.units[0].counts() {
            shapes.push(Shape { groups, ..whole.clone() });
            all.groups = all.groups.min(groups);
        }
    }
    for layers in [vec![1, 3, 4], vec![0, 2], vec![4], vec![0, 1, 2, 3]] {
        shapes.push(Shape { layers: layers.clone(), ..whole.clone() });
        all.layers = layers;
        shapes.push(all.clone());
    }
    shapes
}

#[test]
fn every_family_binds_again_along_every_axis() {
    let variants = VARIANTS.iter().map(|(folder, name, _)| format!("{folder}/{name}"));
    let folders = FOLDERS.iter().map(|folder| (*folder).to_owned());
    let mut families = BTreeSet::new();
    for name in folders.chain(variants).filter(|name| name != "llama-fp8") {
        let model = bound(&deepened(&named(&name), LAYERS));
        for shape in shapes(&model) {
            check(&name, &shape);
        }
        families.insert(model.family().unwrap().name());
    }
    assert!(Family::all().iter().map(Family::name).eq(families), "a family without a checkpoint");
}

/// Units times their parameters are what a shape removes: two ways to the same number.
#[test]
fn parameters_of_units_add_up() {
    for name in FOLDERS.iter().filter(|name| **name != "llama-fp8") {
        let model = bound(&deepened(&checkpoint(name), LAYERS));
        let whole = model.shape().unwrap();
        let removed = |shape: &Shape| model.block_parameters() - model.parameters_left(shape);
        for units in model.prunable(Axis::Ffn).unwrap().units {
            let mut shape = whole.clone();
            shape.widths.insert(units.size, units.count - 7);
            assert_eq!(removed(&shape), 7 * units.places as u64 * units.parameters, "{name}");
        }
        if let Ok(facts) = model.prunable(Axis::Heads) {
            let units = &facts.units[0];
            let shape = Shape { groups: 1, ..whole.clone() };
            let groups = (units.count - 1) as u64;
            assert_eq!(removed(&shape), groups * units.places as u64 * units.parameters, "{name}");
        }
        let shape = Shape { layers: vec![0, 2, 3, 4], ..whole.clone() };
        assert_eq!(removed(&shape), model.layer_parameters(1), "{name}");
        let share = model.layer_parameters(1) as f64 / model.block_parameters() as f64;
        assert!((model.sparsity(&shape) - share).abs() < 1e-12, "{name}");
    }
}

/// Worked out by hand. An MLP: three matrices of 64 columns or rows, with two biases in llama. A group
/// of mistral: two query heads, a key and a value head of 16 rows, and 32 columns of the output.
#[test]
fn units_are_counted_and_weighed() {
    let check = |name: &str, axis, expected: &[(&str, &str, usize, usize, u64)]| {
        let facts = bound(&checkpoint(name)).prunable(axis).unwrap();
        let units = facts.units.iter();
        let found: Vec<_> = units
            .map(|units| (units.size, units.key, units.count, units.places, units.parameters))
            .collect();
        assert_eq!((facts.axis, found.as_slice()), (axis, expected), "{name}");
    };
    check("llama", Axis::Ffn, &[("inter", "intermediate_size", 96, 2, 3 * 64 + 2)]);
    check("phi3", Axis::Ffn, &[("inter", "intermediate_size", 96, 2, 3 * 64)]);
    check("mixtral", Axis::Ffn, &[("inter", "intermediate_size", 32, 6, 3 * 64)]);
    let dense = ("inter", "intermediate_size", 96, 1, 3 * 64);
    let experts = ("expert_inter", "moe_intermediate_size", 32, 5, 3 * 64);
    check("qwen3_moe", Axis::Ffn, &[dense, experts]);
    check("gemma3", Axis::Ffn, &[("inter", "text_config.intermediate_size", 96, 2, 3 * 64)]);
    let group = (32 + 16 + 16 + 32) * 64;
    check("mistral", Axis::Heads, &[("kv_heads", "num_key_value_heads", 3, 2, group)]);
    let layer = 18432 + 18432 + 2 * 64;
    check("mistral", Axis::Layers, &[("layers", "num_hidden_layers", 2, 1, layer)]);
}

/// phi3 has four query heads in two groups, 16 wide, in `[q; k; v]`, and 96 channels in `[gate; up]`.
#[test]
fn fused_matrices_lose_the_same_units_in_every_part() {
    let model = bound(&checkpoint("phi3"));
    let kept = Kept { channels: Some(&[0, 1, 5]), groups: Some(&[1]) };
    let check = |tensor: &str, rows: &[Range<usize>], columns: &[Range<usize>]| {
        let slice = model.slices(&format!("model.layers.1.{tensor}.weight"), kept).unwrap();
        assert_eq!((slice.rows(), slice.columns()), (rows, columns), "{tensor}");
    };
    let all = &[0..64];
    check("self_attn.qkv_proj", &[32..64, 80..96, 112..128], all);
    check("self_attn.o_proj", all, &[32..64]);
    check("mlp.gate_up_proj", &[0..2, 5..6, 96..98, 101..102], all);
    check("mlp.down_proj", all, &[0..2, 5..6]);
    for whole in ["model.layers.1.input_layernorm.weight", "lm_head.weight", "nobody"] {
        assert_eq!(model.slices(whole, kept), None, "{whole}");
    }
    let groups = Kept { channels: None, ..kept };
    assert_eq!(model.slices("model.layers.1.mlp.down_proj.weight", groups), None);
}

/// Heads of 8: llama's eight query heads read one group. Norms of a head's width have no units.
#[test]
fn biases_go_with_their_rows() {
    let model = bound(&checkpoint("llama"));
    let kept = Kept { channels: Some(&[94, 95]), groups: Some(&[0]) };
    let rows = |tensor: &str| model.slices(tensor, kept).map(|slice| slice.rows().to_vec());
    assert_eq!(rows("model.layers.0.mlp.gate_proj.bias"), Some(vec![94..96]));
    assert_eq!(rows("model.layers.0.mlp.down_proj.bias"), None);
    assert_eq!(rows("model.layers.0.self_attn.q_proj.bias"), Some(vec![0..64]));
    let model = bound(&checkpoint("qwen3"));
    assert_eq!(model.slices("model.layers.0.self_attn.q_norm.weight", kept), None);
}

#[test]
fn couplings_name_what_reads_and_what_makes_the_units() {
    let check = |name: &str, axis, at: usize, reader: &str, units: &[(&str, &[Range<usize>])]| {
        let coupling = bound(&checkpoint(name)).couplings(axis).swap_remove(at);
        let part = coupling.reader().unwrap();
        assert_eq!((part.tensor.as_str(), part.across), (reader, 64), "{name}");
        let places = coupling.parts.iter().map(|part| (part.tensor.as_str(), part.places(1)));
        let expected = units.iter().map(|(tensor, places)| (*tensor, places.to_vec()));
        assert_eq!(places.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
    };
    let expert = "model.layers.1.block_sparse_moe.experts.2";
    let [w1, w2, w3] = ["w1", "w2", "w3"].map(|matrix| format!("{expert}.{matrix}.weight"));
    let one: &[Range<usize>] = &[1..2];
    check("mixtral", Axis::Ffn, 5, &w2, &[(&w1, one), (&w2, one), (&w3, one)]);
    let attention = "language_model.model.layers.0.self_attn";
    let [k, o, q, v] = ["k", "o", "q", "v"].map(|part| format!("{attention}.{part}_proj.weight"));
    let (head, heads): (&[Range<usize>], &[Range<usize>]) = (&[16..32], &[32..64]);
    check("gemma3", Axis::Heads, 0, &o, &[(&k, head), (&o, heads), (&q, heads), (&v, head)]);
    assert_eq!(bound(&checkpoint("phi3")).couplings(Axis::Layers), []);
}

/// Every coupling of every family has one reader, so that what it lost can be made up for there.
#[test]
fn every_coupling_has_one_reader() {
    for name in FOLDERS {
        let model = bound(&checkpoint(name));
        for coupling in [Axis::Ffn, Axis::Heads].iter().flat_map(|axis| model.couplings(*axis)) {
            let readers = coupling.parts.iter().filter(|part| part.dimension == 1);
            assert_eq!(readers.count(), 1, "{name} {coupling:?}");
        }
    }
}

#[test]
fn names_count_from_zero() {
    let check = |name: &str, tensor: &str, kept: &[usize], expected: Option<&str>| {
        let mut whole = deepened(&checkpoint(name), LAYERS);
        let meta = TensorMeta::new(llmopt_tensor::Dtype::F32, [4]).unwrap();
        whole.tensors.entry(tensor.to_owned()).or_insert(meta);
        assert_eq!(bound(&whole).renamed(tensor, kept).as_deref(), expected, "{tensor}");
    };
    let up = "mlp.up_proj.weight";
    let kept = &[1, 4];
    let layer = |number: usize, rest: &str| format!("model.layers.{number}.{rest}");
    check("llama", "model.norm.weight", kept, Some("model.norm.weight"));
    // What no template names goes and moves with its layer.
    let buffer = "self_attn.rotary_emb.inv_freq";
    check("llama", &layer(4, buffer), kept, Some(&layer(1, buffer)));
    check("llama", &layer(3, buffer), kept, None);
    // Layers that predict further tokens stand behind the last.
    check("llama", &layer(5, up), kept, Some(&layer(2, up)));
    check("llama", &layer(6, up), kept, Some(&layer(3, up)));
    // What only looks like a layer.
    for other in ["extra.3.weight", "model.layers.x.weight", "model.layers.3"] {
        check("llama", other, kept, Some(other));
    }
    let nested = |number: usize, rest: &str| format!("language_model.model.layers.{number}.{rest}");
    check("gemma3", &nested(4, "extra.0.bias"), kept, Some(&nested(1, "extra.0.bias")));
    let tower = "vision_tower.vision_model.encoder.layers.0.mlp.fc1.extra";
    check("gemma3", tower, kept, Some(tower));
    let expert = |layer: usize| format!("model.layers.{layer}.mlp.experts.4.extra");
    check("qwen3_moe", &expert(1), kept, Some(&expert(0)));
}

#[test]
fn names_of_base_models_are_counted_too() {
    let mut base = checkpoint("llama");
    let tensors = base.tensors.iter();
    let short = tensors.filter_map(|(name, meta)| Some((name.strip_prefix("model.")?, meta)));
    base.tensors = short.map(|(name, meta)| (name.to_owned(), meta.clone())).collect();
    base.config.insert("architectures".into(), ["LlamaModel"].as_slice().into());
    let found = bound(&base).renamed("layers.1.mlp.up_proj.weight", &[1]);
    assert_eq!(found.as_deref(), Some("layers.0.mlp.up_proj.weight"));
}
