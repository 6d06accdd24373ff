//! Kernels for integer weights alone, by runtime and device: facts as data, each with its source.

use crate::Runtime;

/// What a runtime's kernels take on one kind of device.
#[derive(Debug)]
pub(super) struct Kernels {
    /// Widths of a code.
    pub(super) widths: &'static [u8],
    /// Widths of a code with zero points.
    pub(super) zero_points: &'static [u8],
    /// Sizes of a group, beside whole rows.
    pub(super) groups: Groups,
    /// Rows and columns come in so many.
    pub(super) unit: usize,
    /// What holds for experts.
    pub(super) experts: Experts,
    /// Whether E4M3 weights may have scales per block.
    pub(super) blocks: bool,
}

/// Sizes of a group.
#[derive(Debug)]
pub(super) enum Groups {
    /// Whatever divides a row.
    Any,
    /// Whatever divides a row, and is even.
    Even,
    /// These alone.
    Of(&'static [usize]),
}

/// What holds for the experts of a layer, which one kernel runs together.
#[derive(Debug)]
pub(super) struct Experts {
    /// Whether they may have zero points.
    pub(super) zero_points: bool,
    /// Widths that may have a scale per row, without zero points.
    pub(super) per_channel: &'static [u8],
    /// Whether they may be E4M3 with a scale per row.
    pub(super) e4m3: bool,
}

impl Groups {
    pub(super) fn takes(&self, size: usize) -> bool {
        match self {
            Self::Any => true,
            Self::Even => size.is_multiple_of(2),
            Self::Of(sizes) => sizes.contains(&size),
        }
    }
}

/// The kernels of `runtime`; none, if it has no limits of its own, or reads other files.
pub(super) fn kernels(runtime: Runtime) -> Option<&'static Kernels> {
    match runtime {
        Runtime::Vllm => Some(&VLLM_GPU),
        Runtime::VllmCpu => Some(&VLLM_CPU),
        Runtime::Sglang => Some(&SGLANG),
        Runtime::Transformers | Runtime::LlamaCpp | Runtime::Mlx => None,
    }
}

/// vLLM 0.33 on a GPU of compute capability 7.5 or above. What neither Machete nor Marlin takes,
/// Humming runs, which the requirements for CUDA pin since 0.33: `compressed_tensors_wNa16.py`. Experts
/// that Marlin does not take (it takes 4 and 8 bits without zero points) need groups there.
static VLLM_GPU: Kernels = Kernels {
    widths: &[2, 3, 4, 5, 6, 7, 8],
    zero_points: &[2, 3, 4, 5, 6, 7, 8],
    groups: Groups::Any,
    unit: 1,
    experts: Experts { zero_points: true, per_channel: &[4, 8], e4m3: true },
    blocks: true,
};

/// vLLM 0.33 on a CPU: `CPUWNA16`, as seen with `vllm-cpu` 0.32 on AVX-512 (`cargo xtask interop --vllm`).
/// E4M3 with scales per block has no kernel for linears. Of experts `cpu_moe.py` has kernels for AMX alone, which
/// no file tells, and none for E4M3 with a scale per row or for zero points.
static VLLM_CPU: Kernels = Kernels {
    widths: &[4],
    zero_points: &[4],
    groups: Groups::Even,
    unit: 32,
    experts: Experts { zero_points: false, per_channel: &[4], e4m3: false },
    blocks: false,
};

/// SGLang 0.5.23: Marlin alone, which takes zero points of 4 bits, and experts without.
static SGLANG: Kernels = Kernels {
    widths: &[4, 8],
    zero_points: &[4],
    groups: Groups::Of(&[32, 64, 128]),
    unit: 1,
    experts: Experts { zero_points: false, per_channel: &[4, 8], e4m3: true },
    blocks: true,
};
