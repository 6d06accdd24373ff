//! A tensor that is missing under its own name and there under another: what a wrapper has put into names,
//! or before all of them.

use llmopt_arch::BindError;
use llmopt_checkpoint::Source;

/// The error with what explains it, if the names in `source` do.
pub(crate) fn explained(mut error: BindError, source: &Source) -> BindError {
    if let BindError::Missing { tensor, hint, .. } = &mut error
        && let Some(found) = explanation(tensor, source)
    {
        *hint = Some(found);
    }
    error
}

fn explanation(tensor: &str, source: &Source) -> Option<String> {
    if let Some(wrapper) = source.wrapper() {
        return Some(format!(
            "in the file every name begins with `{wrapper}`, which is left out, and `{wrapper}{tensor}` is \
             not there: was the whole model saved?"
        ));
    }
    source.tensors().find_map(|(name, _)| {
        if let Some(before) = name.strip_suffix(tensor).filter(|before| before.ends_with('.')) {
            return Some(format!(
                "`{name}` is there: something has put `{before}` before the names; save the model without it"
            ));
        }
        let wrapper = WRAPPERS.iter().find(|(wrapper, _)| without(name, wrapper) == tensor);
        wrapper.map(|(wrapper, of)| {
            let end = name.find(wrapper).map_or(0, |at| at + wrapper.len() + 1);
            let before = name.get(..end).unwrap_or(name);
            format!("`{name}` is there: {of} has put `{before}` into the names")
        })
    })
}

/// A name without each of its segments that is `wrapper`.
fn without(name: &str, wrapper: &str) -> String {
    name.split('.').filter(|segment| *segment != wrapper).collect::<Vec<_>>().join(".")
}

/// Segments that are part of no model's own names, who puts them there, and what to do.
const WRAPPERS: [(&str, &str); 3] = [
    ("_orig_mod", "`torch.compile`, whose `_orig_mod` is the model to save,"),
    ("base_layer", "PEFT, whose adapter is to be merged first with `merge_and_unload()`,"),
    ("module", "data parallelism, whose `module` is the model to save,"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_taken_out_as_a_whole() {
        assert_eq!(
            without("model._orig_mod.layers.0._orig_mod.w", "_orig_mod"),
            "model.layers.0.w"
        );
        assert_eq!(without("model.module_list.w", "module"), "model.module_list.w");
    }
}
