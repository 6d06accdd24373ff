//! Which runtimes load experts that are stacked in one tensor, dense beside quantized matrices.

use crate::{Refusal, Runtime};

/// What keeps `runtime` from loading the stacked experts of `module` as they are in a model of this
/// `model_type`, if its config says that it is quantized.
///
/// Transformers 5.24 loads stacks of experts as parameters, which no target holds for; only where its
/// quantizers replace the experts of Llama 4 by a linear for each does it look for tensors that are not
/// there. vLLM 0.32 loads them where `ignore` holds for the matrices of an expert.
pub fn check_stacked(runtime: Runtime, model_type: Option<&str>, module: &str) -> Option<Refusal> {
    let is_replaced = matches!(model_type, Some("llama4" | "llama4_text"));
    (runtime == Runtime::Transformers && is_replaced).then(|| Refusal {
        runtime,
        what: format!("`{module}` is a stack of experts"),
        why: "transformers makes a linear of every expert of a quantized Llama 4, and cannot load \
              stacked ones"
            .to_owned(),
        hint: Some("stacked experts of Llama 4 load with `--runtime vllm`".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Transformers 5.24 with compressed-tensors 0.20 did with tiny models.
    #[test]
    fn transformers_loads_stacked_experts_but_those_of_llama_4() {
        let check = |runtime, model_type, refused| {
            let found = check_stacked(runtime, model_type, "m.experts");
            assert_eq!(found.is_some(), refused, "{runtime} {model_type:?}");
        };
        check(Runtime::Transformers, Some("llama4"), true);
        check(Runtime::Transformers, Some("llama4_text"), true);
        check(Runtime::Transformers, Some("gpt_oss"), false);
        check(Runtime::Transformers, None, false);
        check(Runtime::Vllm, Some("llama4"), false);
    }
}
