//! Who runs models.

use std::fmt;
use std::str::FromStr;

/// Something that runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// Hugging Face Transformers with the compressed-tensors package.
    Transformers,
    /// vLLM on a GPU.
    Vllm,
    /// vLLM on a CPU.
    VllmCpu,
    /// SGLang.
    Sglang,
    /// llama.cpp.
    LlamaCpp,
    /// mlx-lm.
    Mlx,
}

/// A name that is no runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no runtime `{0}`; there are {list}", list = Runtime::ALL.map(Runtime::name).join(", "))]
pub struct UnknownRuntime(pub String);

impl Runtime {
    /// Every runtime.
    pub const ALL: [Self; 6] =
        [Self::Transformers, Self::Vllm, Self::VllmCpu, Self::Sglang, Self::LlamaCpp, Self::Mlx];

    /// Whether it makes one matrix of q, k and v, and of gate and up.
    pub const fn merges(self) -> bool {
        matches!(self, Self::Vllm | Self::VllmCpu | Self::Sglang)
    }

    /// Whether it has rules on how matrices are split over devices.
    pub const fn splits(self) -> bool {
        matches!(self, Self::Vllm | Self::VllmCpu | Self::Sglang)
    }

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transformers => "transformers",
            Self::Vllm => "vllm",
            Self::VllmCpu => "vllm-cpu",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llama.cpp",
            Self::Mlx => "mlx",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Runtime {
    type Err = UnknownRuntime;

    fn from_str(name: &str) -> Result<Self, UnknownRuntime> {
        let found = Self::ALL.into_iter().find(|runtime| runtime.name() == name);
        found.ok_or_else(|| UnknownRuntime(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.name().parse(), Ok(runtime));
        }
        let error = "ollama".parse::<Runtime>().expect_err("no runtime of ours").to_string();
        assert_eq!(
            error,
            "there is no runtime `ollama`; there are transformers, vllm, vllm-cpu, sglang, \
             llama.cpp, mlx"
        );
    }
}
