//! How each runtime loads an artifact: what a run says at its end, and what a model card tells.

use crate::print;
use llmopt_pipeline::Runtime;

/// An artifact, as far as loading it depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loadable<'a> {
    /// Where it is, or what it will be called.
    pub(crate) path: &'a str,
    pub(crate) zero_points: ZeroPoints,
    /// Whether experts are quantized.
    pub(crate) has_experts: bool,
}

/// Whether packed weights have zero points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroPoints {
    No,
    /// In matrices that all have the same scheme.
    OneScheme,
    SeveralSchemes,
}

/// A line of code, and what must be known beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loading {
    /// The runtime as it calls itself.
    pub(crate) runtime: &'static str,
    pub(crate) language: Language,
    pub(crate) code: String,
    /// What goes on behind the code: a comma or a colon, and words; or nothing.
    pub(crate) remark: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Shell,
    Python,
}

/// How a runtime loads it; nothing, where that was never tried.
pub(crate) fn loading(runtime: Runtime, artifact: &Loadable<'_>) -> Option<Loading> {
    let serve = || format!("vllm serve {}", print::shell_word(artifact.path));
    let vllm =
        |remark| Loading { runtime: "vLLM", language: Language::Shell, code: serve(), remark };
    match runtime {
        Runtime::Vllm => Some(vllm("")),
        Runtime::VllmCpu if artifact.has_experts => {
            Some(vllm(", on a CPU with AMX, for its experts"))
        }
        Runtime::VllmCpu => Some(vllm("")),
        Runtime::Transformers => {
            let quoted = serde_json::Value::from(artifact.path);
            let (options, remark) = artifact.zero_points.told();
            Some(Loading {
                runtime: "Transformers",
                language: Language::Python,
                code: format!("AutoModelForCausalLM.from_pretrained({quoted}{options})"),
                remark,
            })
        }
        _ => None,
    }
}

impl ZeroPoints {
    /// What `from_pretrained` must be told, and why.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::No => ("", ""),
            Self::OneScheme => DEQUANTIZED,
            Self::SeveralSchemes => NEEDS_OLDER,
        }
    }
}

/// Of packed weights with zero points.
const DEQUANTIZED: (&str, &str) = (
    ", quantization_config=CompressedTensorsConfig(dequantize=True)",
    ": compressed-tensors 0.20 lays zero points out wrongly otherwise; 0.19 loads them without",
);

/// The same where matrices differ in their scheme: what dequantizes them knows one alone.
const NEEDS_OLDER: (&str, &str) = (
    "",
    ", with compressed-tensors up to 0.19: version 0.20 loads zero points in groups of one size alone, \
     so with `--group-size 32` or another that divides every row",
);
