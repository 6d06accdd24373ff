//! What runtimes make of tensors that a model's family does not have.

use crate::Runtime;

/// Whether `runtime` stops at a tensor that its module does not have.
///
/// vLLM's loader raises for any but those named here (`AutoWeightsLoader`, read in 0.32 and 0.33), in an
/// ordinary checkpoint as in a quantized one. Transformers and SGLang leave the tensor out and say so.
pub fn stops_at_unknown(runtime: Runtime, tensor: &str) -> bool {
    let is_skipped = SKIPPED.iter().any(|ending| tensor.ends_with(ending));
    matches!(runtime, Runtime::Vllm | Runtime::VllmCpu) && !is_skipped
}

const SKIPPED: [&str; 6] = [
    ".bias",
    "rotary_emb.inv_freq",
    "rotary_pos_emb.inv_freq",
    "rotary_emb.cos_cached",
    "rotary_emb.sin_cached",
    ".g_idx",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllm_stops_at_unknown_tensors_and_others_leave_them_out() {
        let check = |runtime, tensor, stops| {
            assert_eq!(stops_at_unknown(runtime, tensor), stops, "{runtime} {tensor}");
        };
        check(Runtime::Vllm, "model.layers.4.eh_proj.weight", true);
        check(Runtime::Vllm, "model.layers.0.self_attn.bias", false);
        check(Runtime::Vllm, "model.layers.0.self_attn.masked_bias", true);
        check(Runtime::Vllm, "model.layers.0.self_attn.rotary_emb.cos_cached", false);
        check(Runtime::VllmCpu, "model.layers.4.eh_proj.weight", true);
        check(Runtime::Transformers, "model.layers.4.eh_proj.weight", false);
        check(Runtime::Sglang, "model.layers.4.eh_proj.weight", false);
    }
}
