//! What the name of a tensor says about it, in any family.

use serde::Deserialize;

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Rows looked up by token or position.
    Embedding,
    /// From hidden states to logits or scores.
    Head,
    /// Scales of a normalization.
    Norm,
    /// A matrix that multiplies hidden states.
    Linear,
    /// Chooses the experts of a token.
    Router,
    /// A matrix of every expert of a layer, in one tensor.
    Experts,
    /// Added after a linear.
    Bias,
    /// Vision, audio, and what projects them.
    Tower,
    /// A constant that loaders compute themselves: rotary frequencies.
    Buffer,
    /// Scales of an F8_E4M3 weight, one per block.
    BlockScale,
    /// Anything else; it passes through untouched.
    Other,
}

impl Role {
    /// One word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Head => "head",
            Self::Norm => "norm",
            Self::Linear => "linear",
            Self::Router => "router",
            Self::Experts => "stacked experts",
            Self::Bias => "bias",
            Self::Tower => "tower",
            Self::Buffer => "buffer",
            Self::BlockScale => "block scale",
            Self::Other => "other",
        }
    }
}

/// The role that the name alone suggests. [`Role::Linear`] is any other `.weight`.
pub(crate) fn role(name: &str) -> Role {
    let segments: Vec<&str> = name.split('.').collect();
    let (last, path) = segments.split_last().unwrap_or((&"", &[]));
    let module = path.iter().rev().find(|segment| !is_number(segment)).unwrap_or(&"");
    let any_in_path = |test: fn(&str) -> bool| path.iter().any(|segment| test(segment));
    match *last {
        "inv_freq" => Role::Buffer,
        "weight_scale_inv" | "weight_scale" | "input_scale" => Role::BlockScale,
        _ if any_in_path(is_tower) => Role::Tower,
        "bias" => Role::Bias,
        "weight" if is_head(module) && layer(name).is_none() => Role::Head,
        "weight" if is_embedding(module) => Role::Embedding,
        "weight" if is_norm(module) => Role::Norm,
        "weight" if any_in_path(is_router) => Role::Router,
        "weight" if path.contains(&"lm_head") => Role::Head,
        "weight" => Role::Linear,
        _ => Role::Other,
    }
}

/// The first segment of the name that says that the tensor belongs to a tower.
pub(crate) fn tower(name: &str) -> Option<&str> {
    name.split('.').find(|segment| is_tower(segment))
}

/// The number of the layer that the tensor is in: the first number in its name, unless that counts
/// experts.
pub(crate) fn layer(name: &str) -> Option<usize> {
    let (place, number) = name.split('.').enumerate().find(|(_, segment)| is_number(segment))?;
    let counts_experts = place > 0 && name.split('.').nth(place - 1) == Some("experts");
    if counts_experts { None } else { number.parse().ok() }
}

/// The number of the expert that the tensor is part of.
pub(crate) fn expert(name: &str) -> Option<usize> {
    let after = name.split_once(".experts.")?.1;
    after.split('.').next().filter(|segment| is_number(segment))?.parse().ok()
}

/// The module that runtimes merge this one into, known from its name alone: an expert into the stack
/// of its layer's experts, the three projections of attention, the two that enter a gated activation.
pub(crate) fn fused(module: &str) -> Option<String> {
    if expert(module).is_some() {
        return Some(format!("{}.experts", module.split_once(".experts.")?.0));
    }
    let (parent, projection) = module.rsplit_once('.')?;
    match projection {
        "q_proj" | "k_proj" | "v_proj" => Some(format!("{parent}.qkv_proj")),
        "gate_proj" | "up_proj" => Some(format!("{parent}.gate_up_proj")),
        _ => None,
    }
}

/// The order in which people count: runs of digits compare as numbers.
pub(crate) fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a_rest, mut b_rest) = (a.as_bytes(), b.as_bytes());
    while let ([a_first, ..], [b_first, ..]) = (a_rest, b_rest) {
        let order = if a_first.is_ascii_digit() && b_first.is_ascii_digit() {
            let (a_digits, b_digits) = (taken_digits(&mut a_rest), taken_digits(&mut b_rest));
            a_digits.len().cmp(&b_digits.len()).then(a_digits.cmp(b_digits))
        } else {
            (a_rest, b_rest) = (&a_rest[1..], &b_rest[1..]);
            a_first.cmp(b_first)
        };
        if order.is_ne() {
            return order;
        }
    }
    // Names that differ in leading zeros alone are still two names.
    a_rest.len().cmp(&b_rest.len()).then_with(|| a.cmp(b))
}

/// The digits that `rest` begins with, without leading zeros.
fn taken_digits<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_tower(segment: &str) -> bool {
    const WORDS: [&str; 7] =
        ["vision", "visual", "audio", "speech", "image", "projector", "resampler"];
    WORDS.iter().any(|word| segment.contains(word))
        || segment.starts_with("img_")
        || segment.starts_with("mm_")
}

fn is_embedding(module: &str) -> bool {
    matches!(module, "wte" | "wpe" | "shared" | "relative_attention_bias") || module.contains("emb")
}

fn is_norm(module: &str) -> bool {
    module.contains("norm")
        || module.starts_with("ln_")
        || module.starts_with("ln") && module.len() < 4
}

fn is_router(segment: &str) -> bool {
    ROUTERS.contains(&segment) || segment.contains("router")
}

/// The module whose experts a router, a tensor, chooses from: what its name says before it says router.
pub(crate) fn routed(name: &str) -> Option<&str> {
    let mut end = 0;
    name.split('.').find_map(|segment| {
        end += segment.len() + 1;
        is_router(segment).then(|| name[..end - 1 - segment.len()].trim_end_matches('.'))
    })
}

/// Whether a tensor scales the key-value cache, in one of the spellings that vLLM knows.
pub(crate) fn is_cache_scale(name: &str) -> bool {
    const ENDINGS: [&str; 4] = ["k_scale", "v_scale", "q_scale", "kv_scale"];
    name.rsplit('.').next().is_some_and(|ending| ENDINGS.contains(&ending))
}

/// What models call the linear that chooses experts, or weighs a shared one. `gate_proj` is another
/// thing: one half of a gated activation.
const ROUTERS: [&str; 5] =
    ["gate", "gating", "moe_gate", "shared_expert_gate", "shared_experts_gate"];

/// Patterns for an ignore list that hold for whatever [`role`] takes for a router, and for nothing
/// that it does not. A loader may know a router by another of these names than the file does:
/// Transformers calls PhiMoE's `block_sparse_moe.gate` `mlp.router`, and its class derives from a
/// linear.
pub(crate) fn router_patterns() -> [String; 2] {
    ["re:.*router".to_owned(), format!(r"re:(.*\.)?({})(\.|$)", ROUTERS.join("|"))]
}

fn is_head(module: &str) -> bool {
    const NAMES: [&str; 8] =
        ["lm_head", "head", "output", "score", "classifier", "decoder", "qa_outputs", "embed_out"];
    NAMES.contains(&module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_roles() {
        let check = |name, expected| assert_eq!(role(name), expected, "{name}");
        check("model.embed_tokens.weight", Role::Embedding);
        check("transformer.wte.weight", Role::Embedding);
        check("tok_embeddings.weight", Role::Embedding);
        check("embeddings.0.weight", Role::Embedding);
        check("shared.weight", Role::Embedding);
        check("embed_out.weight", Role::Head);
        check("lm_head.weight", Role::Head);
        check("output.weight", Role::Head);
        check("score.weight", Role::Head);
        check("lm_head.decoder.weight", Role::Head);
        check("model.norm.weight", Role::Norm);
        check("h.0.ln_1.weight", Role::Norm);
        check("layers.0.ln2.weight", Role::Norm);
        check("layers.0.attention.output.dense.weight", Role::Linear);
        check("layers.0.output.weight", Role::Linear);
        check("layers.0.self_attn.q_proj.weight", Role::Linear);
        check("layers.0.mlp.gate_proj.weight", Role::Linear);
        check("layers.0.mlp.gate.weight", Role::Router);
        check("layers.0.mlp.gate.wg.weight", Role::Router);
        check("layers.0.mlp.shared_expert_gate.weight", Role::Router);
        check("layers.0.moe.gating.weight", Role::Router);
        check("layers.0.mlp.gate_up_proj.weight", Role::Linear);
        check("layers.0.mlp.experts.3.down_proj.weight", Role::Linear);
        check("layers.0.mlp.router.classifier.weight", Role::Router);
        check("vision_tower.layers.0.q_proj.weight", Role::Tower);
        check("vision_tower.layers.0.q_proj.bias", Role::Tower);
        check("model.visual.blocks.0.mlp.fc1.weight", Role::Tower);
        check("multi_modal_projector.linear_1.weight", Role::Tower);
        check("model.mm_input.weight", Role::Tower);
        check("layers.0.self_attn.q_proj.bias", Role::Bias);
        check("layers.0.self_attn.rotary_emb.inv_freq", Role::Buffer);
        check("layers.0.self_attn.q_proj.weight_scale_inv", Role::BlockScale);
        check("layers.0.self_attn.sinks", Role::Other);
        check("weight", Role::Linear);
        check("", Role::Other);
    }

    #[test]
    fn layers_and_experts_are_counted_apart() {
        let check = |name, expected| assert_eq!((layer(name), expert(name)), expected, "{name}");
        check("model.layers.12.mlp.experts.7.up_proj.weight", (Some(12), Some(7)));
        check("model.layers.12.mlp.experts.down_proj", (Some(12), None));
        check("block.experts.7.up_proj.weight", (None, Some(7)));
        check("model.norm.weight", (None, None));
        check("h.99999999999999999999999.w", (None, None));
    }

    #[test]
    fn siblings_are_fused() {
        let check = |module, expected: Option<&str>| assert_eq!(fused(module).as_deref(), expected);
        check("a.0.attn.k_proj", Some("a.0.attn.qkv_proj"));
        check("a.0.mlp.up_proj", Some("a.0.mlp.gate_up_proj"));
        check("a.0.mlp.down_proj", None);
        check("a.0.mlp.experts.5.down_proj", Some("a.0.mlp.experts"));
        check("a.0.mlp.experts.5.w1", Some("a.0.mlp.experts"));
        check("q_proj", None);
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let mut names =
            ["l.10.w", "l.9.w", "l.9", "k", "l.09.w", "l.x", "l.9.v", "l.10000000000000000000000"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["k", "l.9", "l.9.v", "l.09.w", "l.9.w", "l.10.w", "l.10000000000000000000000", "l.x"]
        );
    }
}
