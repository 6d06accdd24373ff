//! Who loads a quantized embedding: a question of the scheme, and of the family.

use super::{Refusal, width_alone};
use crate::Runtime;
use llmopt_scheme::Scheme;

/// What keeps `runtime` from loading the embedding `module` of a `model_type` with `scheme`. Whether it
/// is tied to the head is another matter.
pub fn check_embedding(
    runtime: Runtime,
    scheme: &Scheme,
    module: &str,
    model_type: Option<&str>,
) -> Option<Refusal> {
    let why = broken(runtime, scheme, model_type)?;
    Some(Refusal {
        runtime,
        what: format!("`{module}` is the embedding"),
        why: format!("{runtime} {why}"),
        hint: Some("leave out `--embeddings`".to_owned()),
    })
}

fn broken(runtime: Runtime, scheme: &Scheme, model_type: Option<&str>) -> Option<String> {
    match runtime {
        Runtime::Transformers | Runtime::Sglang => {
            Some("cannot load a quantized embedding".to_owned())
        }
        Runtime::VllmCpu => Some("loads quantized embeddings on a GPU alone".to_owned()),
        Runtime::Vllm => broken_in_vllm(scheme, model_type),
        // They read other files.
        Runtime::LlamaCpp | Runtime::Mlx => None,
    }
}

/// vLLM 0.33, `compressed_tensors_embedding.py`: a word holds 32 / bits whole codes, without zero points.
fn broken_in_vllm(scheme: &Scheme, model_type: Option<&str>) -> Option<String> {
    if !matches!(width_alone(scheme), Some(2 | 4 | 8)) || !scheme.symmetric {
        let takes = "symmetric integer weights of 2, 4 or 8 bits";
        return Some(format!("loads embeddings of {takes} alone, and this is {scheme}"));
    }
    match model_type {
        Some(name) if GIVE_THEIR_CONFIG.contains(&name) => None,
        Some(name) => Some(format!(
            "is not known to load a quantized embedding of `{name}`; it does of {}",
            GIVE_THEIR_CONFIG.join(", ")
        )),
        None => Some("chooses the model by a config, and there is none here".to_owned()),
    }
}

/// Families whose model gives the quantization config to its embedding.
const GIVE_THEIR_CONFIG: [&str; 8] =
    ["llama", "qwen2", "qwen3", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "granite"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllm_on_a_gpu_loads_those_of_some_families_and_widths() {
        let check = |runtime, name: &str, symmetric, model_type, expected: Option<&str>| {
            let scheme = Scheme { symmetric, ..Scheme::preset(name).expect("a preset") };
            let refusal = check_embedding(runtime, &scheme, "e", model_type);
            let why = refusal.map(|refusal| refusal.why);
            match expected {
                None => assert_eq!(why, None, "{runtime} {scheme} {model_type:?}"),
                Some(part) => assert!(why.expect(part).contains(part), "{runtime} {scheme}"),
            }
        };
        use Runtime::{Sglang, Transformers, Vllm, VllmCpu};
        for model_type in ["llama", "qwen2", "qwen3", "gemma3", "granite"] {
            for scheme in ["w8a16", "w4a16", "w2a16"] {
                check(Vllm, scheme, true, Some(model_type), None);
            }
        }
        let widths = "vllm loads embeddings of symmetric integer weights of 2, 4 or 8 bits alone";
        for scheme in ["w3a16", "w5a16", "w6a16", "w7a16", "w8a8", "fp8"] {
            check(Vllm, scheme, true, Some("llama"), Some(widths));
        }
        check(Vllm, "w4a16", false, Some("llama"), Some(widths));
        check(Vllm, "w8a16", true, Some("mixtral"), Some("embedding of `mixtral`"));
        check(Vllm, "w8a16", true, None, Some("there is none here"));
        check(VllmCpu, "w4a16", true, Some("llama"), Some("on a GPU alone"));
        check(Sglang, "w8a16", true, Some("llama"), Some("cannot load a quantized embedding"));
        check(Transformers, "w8a16", true, Some("llama"), Some("cannot load"));
    }
}
