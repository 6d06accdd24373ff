//! Every family binds its seeded checkpoint.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;

use checkpoints::{Checkpoint, checkpoint};
use llmopt_arch::{Family, Model, Role};
use std::collections::BTreeSet;

fn bound(checkpoint: &Checkpoint) -> Model {
    Model::bind(Some(&checkpoint.config), &checkpoint.tensors).unwrap()
}

/// What a checkpoint must give, worked out by hand from its config.
struct Case {
    folder: &'static str,
    family: &'static str,
    sites: usize,
    site_elements: u64,
    groups: usize,
    dense: &'static [&'static str],
    tied: bool,
}

fn check(case: &Case) {
    let Case { folder, .. } = case;
    let checkpoint = checkpoint(folder);
    let model = bound(&checkpoint);
    assert_eq!(model.family().unwrap().name(), case.family, "{folder}");
    assert_eq!(model.layers(), 2, "{folder}");
    assert_eq!(model.linear_weights().len(), case.sites, "{folder}");
    assert_eq!(model.parameters_by_role()[&Role::Linear], case.site_elements, "{folder}");
    let groups: BTreeSet<_> =
        model.linear_weights().iter().filter_map(|site| site.fused.clone()).collect();
    assert_eq!(groups.len(), case.groups, "{folder}: {groups:?}");
    assert_eq!(model.dense_linears(), case.dense, "{folder}");
    assert_eq!(model.tied().is_some(), case.tied, "{folder}");
    assert!(
        model.tensors().iter().map(|tensor| &tensor.name).eq(checkpoint.tensors.keys()),
        "{folder}"
    );
    assert_eq!(model.parameters_by_role().get(&Role::Other), None, "{folder}");
}

/// Attention 64x96 with three of six heads: 18432; with two of four: 12288; with one of eight heads of
/// eight: 9216. The MLP: 18432. An expert: 6144. The fp8 layers: 24576 and 98304.
#[test]
fn every_family_binds_its_checkpoint() {
    let case = |folder, family, site_elements| Case {
        folder,
        family,
        sites: 14,
        site_elements,
        groups: 4,
        dense: &["lm_head"],
        tied: false,
    };
    let tied =
        |folder, family, site_elements| Case { tied: true, ..case(folder, family, site_elements) };
    let cases = [
        case("llama", "llama", 2 * (9216 + 18432)),
        tied("llama-tied", "llama", 2 * (12288 + 18432)),
        tied("llama-fp8", "llama", 2 * (24576 + 98304)),
        case("mistral", "mistral", 2 * (18432 + 18432)),
        case("qwen2", "qwen2", 2 * (18432 + 18432)),
        tied("qwen3", "qwen3", 2 * (18432 + 18432)),
        tied("gemma", "gemma", 2 * (18432 + 18432)),
        tied("gemma2", "gemma2", 2 * (12288 + 18432)),
        tied("gemma3_text", "gemma3_text", 2 * (12288 + 18432)),
        tied("granite", "granite", 2 * (12288 + 18432)),
        case("olmo2", "olmo2", 2 * (18432 + 18432)),
        Case { sites: 8, groups: 0, ..case("phi3", "phi3", 2 * (12288 + 18432)) },
        Case {
            sites: 2 * (4 + 3 * 3),
            dense: &[
                "lm_head",
                "model.layers.0.block_sparse_moe.gate",
                "model.layers.1.block_sparse_moe.gate",
            ],
            ..case("mixtral", "mixtral", 2 * (18432 + 3 * 6144))
        },
        Case {
            sites: 7 + 4 + 5 * 3,
            dense: &["lm_head", "model.layers.1.mlp.gate"],
            ..case("qwen3_moe", "qwen3_moe", 2 * 18432 + 18432 + 5 * 6144)
        },
        Case {
            dense: &[
                "language_model.lm_head",
                "lm_head",
                "vision_tower.vision_model.embeddings.position_embedding",
                "vision_tower.vision_model.encoder.layers.0.mlp.fc1",
                "vision_tower.vision_model.encoder.layers.0.mlp.fc2",
                "vision_tower.vision_model.encoder.layers.0.self_attn.k_proj",
                "vision_tower.vision_model.encoder.layers.0.self_attn.out_proj",
                "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj",
                "vision_tower.vision_model.encoder.layers.0.self_attn.v_proj",
            ],
            ..tied("gemma3", "gemma3", 2 * (12288 + 18432))
        },
    ];
    cases.iter().for_each(check);
    let covered: BTreeSet<&str> = cases.iter().map(|case| case.family).collect();
    assert!(Family::all().iter().map(Family::name).eq(covered), "a family without a checkpoint");
}

#[test]
fn sites_come_in_the_order_of_execution() {
    let model = bound(&checkpoint("qwen3_moe"));
    let found: Vec<_> = model.linear_weights()[4..14]
        .iter()
        .map(|site| (site.module.as_str(), site.fused.as_deref(), site.layer, site.expert))
        .collect();
    let (one, gated) = ("model.layers.1.self_attn", "model.layers.0.mlp.gate_up_proj");
    let (qkv, experts) = ("model.layers.1.self_attn.qkv_proj", "model.layers.1.mlp.experts");
    let expected = [
        ("model.layers.0.mlp.gate_proj", Some(gated), Some(0), None),
        ("model.layers.0.mlp.up_proj", Some(gated), Some(0), None),
        ("model.layers.0.mlp.down_proj", None, Some(0), None),
        (&format!("{one}.q_proj"), Some(qkv), Some(1), None),
        (&format!("{one}.k_proj"), Some(qkv), Some(1), None),
        (&format!("{one}.v_proj"), Some(qkv), Some(1), None),
        (&format!("{one}.o_proj"), None, Some(1), None),
        ("model.layers.1.mlp.experts.0.gate_proj", Some(experts), Some(1), Some(0)),
        ("model.layers.1.mlp.experts.0.up_proj", Some(experts), Some(1), Some(0)),
        ("model.layers.1.mlp.experts.0.down_proj", Some(experts), Some(1), Some(0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn roles_are_told_apart() {
    let check = |folder, tensor, role, layer| {
        let model = bound(&checkpoint(folder));
        let found = model.get(tensor).map(|tensor| (tensor.role, tensor.layer));
        assert_eq!(found, Some((role, layer)), "{folder} {tensor}");
    };
    check("llama", "model.embed_tokens.weight", Role::Embedding, None);
    check("llama", "lm_head.weight", Role::Head, None);
    check("llama", "model.layers.1.mlp.down_proj.bias", Role::Bias, Some(1));
    check("olmo2", "model.layers.0.self_attn.q_norm.weight", Role::Norm, Some(0));
    check("mixtral", "model.layers.1.block_sparse_moe.gate.weight", Role::Router, Some(1));
    check("gemma3", "multi_modal_projector.mm_input_projection_weight", Role::Tower, None);
    check("gemma3", "vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias", Role::Tower, None);
    let scale = "model.layers.1.mlp.up_proj.weight_scale_inv";
    check("llama-fp8", scale, Role::BlockScale, Some(1));
    assert_eq!(bound(&checkpoint("llama")).get("model.layers.2.mlp.down_proj.bias"), None);
}

#[test]
fn embedding_and_head_are_sites_only_when_asked_for() {
    let check = |folder, expected: &[(&str, Role)]| {
        let model = bound(&checkpoint(folder));
        let found =
            model.optional_linear_weights().iter().map(|site| (site.module.as_str(), site.role));
        assert!(found.eq(expected.iter().copied()), "{folder}");
    };
    check("llama", &[("model.embed_tokens", Role::Embedding), ("lm_head", Role::Head)]);
    check("qwen3", &[("model.embed_tokens", Role::Embedding)]);
}

#[test]
fn tied_pairs_are_named_under_the_wrapper_too() {
    let check = |folder, embedding, head| {
        assert_eq!(bound(&checkpoint(folder)).tied(), Some((embedding, head)), "{folder}");
    };
    check("llama-tied", "model.embed_tokens.weight", "lm_head.weight");
    let embedding = "language_model.model.embed_tokens.weight";
    check("gemma3", embedding, "language_model.lm_head.weight");
}

/// Both generations of names: of the checkpoints on the hub, and of models saved while the tower stood
/// below `model`.
#[test]
fn both_namings_of_the_wrapper_bind() {
    let old = checkpoint("gemma3");
    let mut new = old.clone();
    new.tensors = old
        .tensors
        .iter()
        .map(|(name, meta)| match name.strip_prefix("language_model.model.") {
            Some(rest) => (format!("model.language_model.{rest}"), meta.clone()),
            None => (format!("model.{name}"), meta.clone()),
        })
        .collect();
    let (old, new) = (bound(&old), bound(&new));
    assert_eq!(old.linear_weights().len(), new.linear_weights().len());
    assert_eq!(old.parameters_by_role(), new.parameters_by_role());
    assert_eq!(new.tied(), Some(("model.language_model.embed_tokens.weight", "lm_head.weight")));
    let module = |path: &str| format!("{path}.layers.1.mlp.up_proj");
    let (below, above) = (module("model.language_model"), module("language_model.model"));
    assert_eq!(old.aliases(&above), [above.clone(), below.clone()]);
    assert_eq!(new.aliases(&below), [below.clone(), above.clone()]);
    for model in [old, new] {
        let patterns = ["re:.*vision_tower.*", "re:.*multi_modal_projector.*", "re:.*lm_head"];
        assert_eq!(model.ignore_patterns(), patterns);
        assert!(
            ["lm_head", "language_model.lm_head"]
                .iter()
                .all(|head| { model.dense_linears().iter().any(|module| module == head) })
        );
    }
}

/// Embedding models are saved without their head and without the beginning of the names.
#[test]
fn a_base_model_needs_no_head() {
    let mut base = checkpoint("llama");
    let renamed =
        |(name, meta): (&String, _)| Some((name.strip_prefix("model.")?.to_owned(), meta));
    base.tensors =
        base.tensors.iter().filter_map(|(name, meta)| renamed((name, meta.clone()))).collect();
    base.config.insert("architectures".into(), ["LlamaModel"].as_slice().into());
    let model = bound(&base);
    assert_eq!((model.linear_weights().len(), model.tied()), (14, None));
    assert_eq!(model.dense_linears(), [""; 0]);
    let loaders = ["layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"];
    assert_eq!(model.aliases("layers.0.mlp.up_proj"), loaders);
    assert_eq!(bound(&checkpoint("llama")).aliases(loaders[1]), [loaders[1]]);
}

#[test]
fn what_no_template_names_passes_through() {
    let check = |name: &str, like: &str, role, dense: &[&str]| {
        let mut checkpoint = checkpoint("llama");
        let meta = checkpoint.tensors[like].clone();
        checkpoint.tensors.insert(name.to_owned(), meta);
        let model = bound(&checkpoint);
        assert_eq!(model.get(name).unwrap().role, role, "{name}");
        assert_eq!(model.linear_weights().len(), 14, "{name}");
        assert_eq!(model.dense_linears(), dense, "{name}");
    };
    let (matrix, vector) = ("model.layers.1.mlp.up_proj.weight", "model.norm.weight");
    check(
        "model.layers.2.mlp.up_proj.weight",
        matrix,
        Role::Other,
        &["lm_head", "model.layers.2.mlp.up_proj"],
    );
    check("score.weight", matrix, Role::Other, &["lm_head", "score"]);
    check("model.layers.0.self_attn.rotary_emb.inv_freq", vector, Role::Buffer, &["lm_head"]);
    check("model.extra", vector, Role::Other, &["lm_head"]);
}

#[test]
fn a_tied_head_may_be_there_all_the_same() {
    let mut checkpoint = checkpoint("llama-tied");
    let embedding = checkpoint.tensors["model.embed_tokens.weight"].clone();
    checkpoint.tensors.insert("lm_head.weight".into(), embedding);
    let model = bound(&checkpoint);
    assert_eq!(model.tied(), Some(("model.embed_tokens.weight", "lm_head.weight")));
    assert_eq!(model.dense_linears(), ["lm_head"]);
}

#[test]
fn block_scales_belong_to_their_weights() {
    let model = bound(&checkpoint("llama-fp8"));
    assert_eq!(model.block_scales().len(), 14);
    let scale = model.block_scale_of("model.layers.0.mlp.down_proj.weight").unwrap();
    assert_eq!((scale.rows, scale.columns), (128, 128));
    assert_eq!(scale.tensor, "model.layers.0.mlp.down_proj.weight_scale_inv");
    assert_eq!(model.block_scale_of("model.embed_tokens.weight"), None);
}
