//! What a checkpoint is quantized by when no config says so: its tensors' names tell.

use llmopt_checkpoint::Source;

/// A way of quantizing, as `quant_method` calls it, and the tensor whose name gives it away.
pub(crate) fn by_names(source: &Source) -> Option<(&'static str, &str)> {
    source.tensors().find_map(|(name, _)| Some((method(source, name)?, name)))
}

fn method(source: &Source, name: &str) -> Option<&'static str> {
    let (module, last) = name.rsplit_once('.')?;
    let has = |part: &str| source.meta(&format!("{module}.{part}")).is_some();
    match last {
        "qweight" if has("g_idx") => Some("gptq"),
        "qweight" if has("qzeros") && has("scales") => Some(gptq_or_awq(source, module)),
        "weight_packed" if has("weight_scale") => Some("compressed-tensors"),
        "W_q" => Some("hqq"),
        "q_weight" if has("q_scale") => Some("exl2"),
        "codebooks" if has("codes") => Some("aqlm"),
        "quant_map" | "SCB" => Some("bitsandbytes"),
        "absmax" if has("quant_map") => Some("bitsandbytes"),
        last if last.starts_with("bitsandbytes__") => Some("bitsandbytes"),
        _ => None,
    }
}

/// Both store `qweight`, `qzeros` and `scales`: GPTQ packs eight rows of inputs into a word, AWQ eight
/// columns of outputs.
fn gptq_or_awq(source: &Source, module: &str) -> &'static str {
    let columns = |part: &str| {
        let meta = source.meta(&format!("{module}.{part}"))?;
        meta.shape().get(1).copied()
    };
    if columns("qweight") == columns("scales") { "gptq" } else { "awq" }
}
