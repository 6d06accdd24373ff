//! What a run wrote, against what it meant to write.

use llmopt_arch::Model;
use llmopt_codec::Runtime;
use llmopt_model::{Artifact, Findings, Matrices, part_of};
use llmopt_scheme::Scheme;
use llmopt_tensor::TensorMeta;
use std::fmt;
use std::path::Path;

/// What a run meant to write.
pub struct Expected<'a> {
    /// The source's tensors, bound: the artifact is this model, with some of it in another form.
    pub model: &'a Model,
    /// Where it will be, for messages.
    pub output: &'a Path,
    /// Every tensor of the source, in order.
    pub tensors: Box<dyn Iterator<Item = ExpectedTensor<'a>> + 'a>,
    /// Names and sizes of the weight files.
    pub files: Vec<(&'a str, u64)>,
    /// Whose rules it must follow.
    pub runtimes: &'a [Runtime],
    /// Tensor-parallel degree whose divisibility must hold.
    pub tensor_parallel: usize,
}

/// A tensor of the source, and what becomes of it.
pub struct ExpectedTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape in the source.
    pub shape: &'a [usize],
    /// In the words of the report.
    pub told: &'a dyn fmt::Display,
    /// What is written of it.
    pub becomes: Becomes,
    /// How many tensors that is.
    pub parts: usize,
}

/// What is written of a tensor of the source.
pub enum Becomes {
    /// A matrix of codes and scales.
    Quantized(Scheme),
    /// One tensor of the same name.
    Dense(TensorMeta),
    /// Nothing of its own.
    Nothing,
}

impl Expected<'_> {
    /// Every tensor of the source became what was meant, and nothing else was written: the artifact is
    /// then the model that was bound.
    pub(crate) fn check(
        self,
        artifact: &Artifact,
        matrices: &Matrices<'_>,
        findings: &mut Findings,
    ) {
        let mut planned = 0;
        for tensor in self.tensors {
            planned += tensor.parts;
            if !tensor.is_in(artifact, matrices) {
                let message =
                    format!("the plan says `{}`, but something else was written", tensor.told);
                findings.fault("conservation", tensor.name, message);
            }
        }
        let written = artifact.source.tensors().len();
        if written != planned {
            let message = format!("{written} tensors were written, but {planned} were planned");
            findings.fault("conservation", &self.output.to_string_lossy(), message);
        }
        for (shard, (_, bytes)) in artifact.source.shards().iter().zip(self.files) {
            if shard.bytes != bytes {
                let message = format!("it has {} bytes, but {bytes} were planned", shard.bytes);
                findings.fault("size", &shard.name, message);
            }
        }
    }
}

impl ExpectedTensor<'_> {
    fn is_in(&self, artifact: &Artifact, matrices: &Matrices<'_>) -> bool {
        let stored = artifact.source.meta(self.name);
        match &self.becomes {
            Becomes::Quantized(scheme) => {
                let matrix = part_of(self.name).and_then(|(module, _)| matrices.get(module));
                matrix.is_some_and(|matrix| {
                    matrix.scheme() == *scheme && [matrix.rows, matrix.columns] == *self.shape
                })
            }
            Becomes::Dense(meta) => stored == Some(meta),
            // A scale of the source may be called as one of the artifact is.
            Becomes::Nothing => {
                let part = part_of(self.name);
                let is_new = part.is_some_and(|(module, suffix)| {
                    matrices.get(module).is_some_and(|matrix| matrix.has_part(suffix))
                });
                stored.is_none() || is_new
            }
        }
    }
}
