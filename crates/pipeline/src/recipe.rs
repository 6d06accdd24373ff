//! What was asked for, as resolved: the part of the report that lets anyone repeat the run.

use crate::calibration::Smooth;
use crate::method::Method;
use crate::recipe_read as read;
use llmopt_codec::Runtime;
use llmopt_data::{CalibrationRequest, CalibrationSource};
use llmopt_linalg::{KernelChoice, Precision};
use llmopt_scheme::{Granularity, Scheme};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that decides the bytes of an artifact, apart from its input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The scheme of the linears. Its granularity gives way to `group_size`.
    pub scheme: Scheme,
    /// How many columns of a row share a scale.
    pub group_size: GroupSize,
    /// Tensors with a scheme of their own, granularity included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemes: BTreeMap<String, Scheme>,
    /// How scales and codes are chosen.
    pub method: Method,
    /// What the model is observed on; none, if weights alone decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<Calibrate>,
    /// How the scales of channels are chosen that move the range of inputs into weights; none, if
    /// channels stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smooth: Option<Smooth>,
    /// What is written.
    pub format: Format,
    /// Whose rules the artifact must follow.
    #[serde(serialize_with = "names", deserialize_with = "read::runtimes")]
    pub runtimes: Vec<Runtime>,
    /// Tensor-parallel degree whose divisibility must hold.
    pub tensor_parallel: usize,
    /// Only tensors that match one of these are quantized; all, when empty.
    pub include: Vec<String>,
    /// Tensors that match one of these stay as they are.
    pub exclude: Vec<String>,
    /// Whether the embedding is quantized, too.
    pub embeddings: bool,
    /// Whether the output head is quantized, too.
    pub lm_head: bool,
    /// Whether a tensor with NaN or infinity is kept as it is, instead of failing the run.
    pub allow_nonfinite: bool,
    /// Whether a fallback is an error.
    pub strict: bool,
}

/// Group size of integer weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupSize {
    /// Per channel at 8 bits; below, the largest of 128, 64 and 32 that divides every row of a fused
    /// group, and per channel where none does.
    Auto,
    /// A scale per row.
    Channel,
    /// So many columns, which must divide every row.
    Columns(usize),
}

/// What calibration observes, and with what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrate {
    /// The data.
    #[serde(flatten)]
    pub data: CalibrationRequest,
    /// Whether sites of a block are observed one after the other, each behind what is rewritten
    /// already; otherwise all of them with the block as it was found.
    pub sequential: bool,
    /// Whether some windows only judge, and fit nothing.
    pub held_out: bool,
    /// What the inputs of products are rounded to.
    #[serde(serialize_with = "shown")]
    pub precision: Precision,
    /// What computes the products.
    #[serde(serialize_with = "kernel")]
    pub kernel: KernelChoice,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Codes and scales as compressed-tensors lays them out.
    CompressedTensors,
    /// Ordinary weights with the values that the codes stand for.
    Dense(DenseDtype),
}

/// Element type of a dense artifact's quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenseDtype {
    /// F32: exactly the values that the codes stand for.
    F32,
    /// The source's own: values are rounded to it.
    Source,
}

impl Calibrate {
    /// The usual windows of these sources, observed site after site in f32, none held out.
    pub fn new(sources: Vec<CalibrationSource>) -> Self {
        Self {
            data: CalibrationRequest::new(sources),
            sequential: true,
            held_out: false,
            precision: Precision::F32,
            kernel: KernelChoice::Auto,
        }
    }
}

impl Recipe {
    /// The plain recipe of a scheme: `search`, compressed-tensors, for Transformers and vLLM.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            group_size: GroupSize::Auto,
            schemes: BTreeMap::new(),
            method: Method::Search,
            calibrate: None,
            smooth: None,
            format: Format::CompressedTensors,
            runtimes: vec![Runtime::Transformers, Runtime::Vllm],
            tensor_parallel: 1,
            include: Vec::new(),
            exclude: Vec::new(),
            embeddings: false,
            lm_head: false,
            allow_nonfinite: false,
            strict: false,
        }
    }
}

impl Recipe {
    /// The recipe with what follows from it: methods that are chosen from need windows to judge by.
    pub(crate) fn resolved(&self) -> Self {
        let mut resolved = self.clone();
        if let Some(calibrate) = &mut resolved.calibrate {
            calibrate.held_out |= self.method == Method::Auto;
        }
        resolved
    }

    /// The data that it observes the model on.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &CalibrationSource> {
        self.calibrate.iter().flat_map(|calibrate| &calibrate.data.sources)
    }

    /// The plain artifact that one of a choice between methods has to beat as a whole.
    pub(crate) fn rival(&self) -> Option<Self> {
        let rival = || Self { method: Method::RIVAL, calibrate: None, ..self.clone() };
        (self.method == Method::Auto).then(rival)
    }
}

impl Format {
    /// Whether nothing of the scheme is left but the values.
    pub(crate) fn is_dense(self) -> bool {
        matches!(self, Self::Dense(_))
    }
}

impl GroupSize {
    /// The sizes tried by [`GroupSize::Auto`], best first.
    pub const AUTO: [usize; 3] = [128, 64, 32];

    /// The granularity of rows of these lengths, which share one scheme. `None` when a size was asked
    /// for that does not divide them all.
    pub fn granularity(self, scheme: Scheme, columns: &[usize]) -> Option<Granularity> {
        let divides = |size: usize| columns.iter().all(|length| length.is_multiple_of(size));
        match self {
            Self::Auto if scheme.granularity == Granularity::Channel => Some(Granularity::Channel),
            Self::Auto if matches!(scheme.granularity, Granularity::Block { .. }) => {
                Some(scheme.granularity)
            }
            Self::Auto => {
                let size = Self::AUTO.into_iter().find(|&size| divides(size));
                Some(size.map_or(Granularity::Channel, Granularity::Group))
            }
            Self::Channel => Some(Granularity::Channel),
            Self::Columns(size) => (size > 0 && divides(size)).then_some(Granularity::Group(size)),
        }
    }
}

fn names<S: serde::Serializer>(runtimes: &[Runtime], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(runtimes.iter().map(|runtime| runtime.name()))
}

fn shown<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn kernel<S: serde::Serializer>(kernel: &KernelChoice, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kernel.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_largest_group_that_divides_every_row() {
        let check = |preset, columns: &[usize], expected| {
            let scheme = Scheme::preset(preset).expect("a preset");
            assert_eq!(GroupSize::Auto.granularity(scheme, columns), Some(expected), "{columns:?}");
        };
        check("w4a16", &[256, 384], Granularity::Group(128));
        check("w4a16", &[256, 192], Granularity::Group(64));
        check("w4a16", &[96], Granularity::Group(32));
        check("w4a16", &[80], Granularity::Channel);
        check("w8a16", &[80], Granularity::Channel);
        check("fp8-block", &[80], Granularity::Block { rows: 128, columns: 128 });
    }

    #[test]
    fn a_size_that_was_asked_for_must_divide() {
        let scheme = Scheme::preset("w8a16").expect("a preset");
        let size = GroupSize::Columns(48);
        assert_eq!(size.granularity(scheme, &[96, 144]), Some(Granularity::Group(48)));
        assert_eq!(size.granularity(scheme, &[96, 100]), None);
        assert_eq!(GroupSize::Columns(0).granularity(scheme, &[96]), None);
    }
}
