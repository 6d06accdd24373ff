//! What a reader should know of a model before anything is measured on it or made of it. Every command
//! says it, and every plan.

use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_tensor::Dtype;

/// Of its files and of what it holds.
pub fn of_model(source: &Source, model: &Model) -> Vec<String> {
    source.notes().iter().cloned().chain(unmerged(model)).collect()
}

/// Of a model that is run: also what becomes of its numbers as they are read.
pub fn of_running(source: &Source, model: &Model) -> Vec<String> {
    let doubles = model.tensors().iter().filter(|tensor| tensor.meta.dtype() == Dtype::F64).count();
    let mut notes = of_model(source, model);
    notes.extend(dequantized(model));
    notes.extend(
        (doubles > 0).then(|| format!("F64 weights of {} are rounded to F32", tensors(doubles))),
    );
    notes
}

/// What an adapter has added to some weights and not to their values.
fn unmerged(model: &Model) -> Option<String> {
    let is_of_adapter = |name: &str| name.split('.').any(|part| part.starts_with("lora_"));
    let mut found = model.tensors().iter().filter(|tensor| is_of_adapter(&tensor.name));
    let first = found.next()?;
    let are = match found.count() {
        0 => " is".to_owned(),
        1 => " and another tensor are".to_owned(),
        others => format!(" and {others} other tensors are"),
    };
    Some(format!(
        "`{}`{are} of a LoRA adapter that is not merged: what it was trained to do is not in the weights \
         beside it; merge it first, with PEFT's `merge_and_unload()`",
        first.name
    ))
}

/// So many tensors, in words.
pub fn tensors(count: usize) -> String {
    format!("{count} tensor{}", if count == 1 { "" } else { "s" })
}

/// Weights that are multiplied with their scales.
pub fn dequantized(model: &Model) -> Option<String> {
    let weights = model.block_scales().len();
    (weights > 0).then(|| {
        format!("FP8 weights of {} are multiplied with their scales first", tensors(weights))
    })
}
