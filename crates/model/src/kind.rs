//! Tensors of the same kind: their names differ in the numbers of layers and experts alone.

use llmopt_arch::Role;

/// The name with a star for every part that is a number.
pub fn kind_pattern(name: &str) -> String {
    let starred = |part: &'_ str| {
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if number { "*" } else { part }.to_owned()
    };
    name.split('.').map(starred).collect::<Vec<_>>().join(".")
}

/// What is left of a pattern without what all have in common: where layers are, and that it is a
/// weight.
pub fn kind_label(pattern: &str) -> &str {
    let inner = pattern.split_once(".*.").map_or(pattern, |(_, inner)| inner);
    let inner = inner.strip_suffix(".weight").unwrap_or(inner);
    if inner.is_empty() { pattern } else { inner }
}

/// Whether weights of a role multiply hidden states inside the blocks, an expert's among them.
pub fn is_linear(role: Role) -> bool {
    matches!(role, Role::Linear | Role::Experts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_form_have_a_label() {
        let check = |name, expected| assert_eq!(kind_label(&kind_pattern(name)), expected);
        check("model.layers.12.self_attn.q_proj.weight", "self_attn.q_proj");
        check("model.layers.2.mlp.experts.7.up_proj.weight", "mlp.experts.*.up_proj");
        check("lm_head.weight", "lm_head");
        check("", "");
        check("7", "*");
        check("a.3.weight", "weight");
    }
}
