//! A model that can be run: its program, and where the bytes of its weights are.
//!
//! Original, artifact or candidate: whatever is quantized is decoded by its own codec, so that what
//! runs here is what a runtime would load.

mod fetch;
mod open;
mod same;

pub use fetch::{Overlay, ROW_STEP, band_bytes, band_rows};

use crate::smoothing::Smoothing;
use crate::{nonfinite, report_file};
use llmopt_arch::program::Phase;
use llmopt_arch::{Model, Program};
use llmopt_checkpoint::Source;
use llmopt_codec::ConfigGroup;
use llmopt_forward::ForwardError;
use llmopt_run::Error;
use llmopt_scheme::{Activations, Scheme};
use llmopt_tensor::Dtype;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// An opened model. No weight of it is in memory, and clones share what is.
#[derive(Clone, Debug)]
pub struct Variant {
    source: Arc<Source>,
    model: Arc<Model>,
    program: Arc<Program>,
    /// The quantized matrices, by the name that the dense weight would have.
    matrices: Arc<BTreeMap<String, Stored>>,
    /// What happens to the inputs of linears that no group tells of.
    dense_activations: Activations,
    /// Scales that its weights get as they are read.
    smoothing: Option<Arc<Smoothing>>,
    /// Weights that are read from other variants of the model.
    borrowed: Arc<BTreeMap<String, Variant>>,
}

/// How a quantized matrix is stored.
#[derive(Clone, Debug)]
struct Stored {
    group: Arc<ConfigGroup>,
    rows: usize,
    columns: usize,
    scale_dtype: Dtype,
}

impl Variant {
    /// The files.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// What each tensor is for. Quantized matrices are listed as the dense ones that they stand for.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The forward pass.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The same without some of its layers.
    pub fn without_layers(mut self, layers: &[usize]) -> Self {
        let mut number = 0..;
        Arc::make_mut(&mut self.program)
            .blocks
            .retain(|_| number.next().is_some_and(|n| !layers.contains(&n)));
        self
    }

    /// The same with channels scaled: it computes what it did before.
    pub fn smoothed(self, smoothing: Arc<Smoothing>) -> Self {
        Self { smoothing: Some(smoothing), ..self }
    }

    /// The same with `weights` as `donor` stores them, which is another variant of the model. What the two
    /// share is not read to find out that it is the same.
    pub fn with_weights_of(
        mut self,
        donor: &Self,
        weights: impl IntoIterator<Item = String>,
    ) -> Self {
        let borrowed = Arc::make_mut(&mut self.borrowed);
        borrowed.extend(weights.into_iter().map(|weight| (weight, donor.clone())));
        self
    }

    /// The variant whose files hold a weight.
    fn holder(&self, weight: &str) -> &Self {
        self.borrowed.get(weight).unwrap_or(self)
    }

    /// The name of its folder or file.
    pub fn name(&self) -> String {
        source_name(&self.source)
    }

    /// Where the report of the run that wrote this artifact lies, if it does.
    pub fn report_path(&self) -> Option<PathBuf> {
        report_file::path(&self.source)
    }

    /// How many tensors there are, and the bytes of their names.
    pub fn names(&self) -> (usize, usize) {
        let names = self.source.tensors().map(|(name, _)| name.len());
        names.fold((0, 0), |(count, bytes), name| (count + 1, bytes + name))
    }

    /// The scheme of a quantized weight.
    pub fn scheme_of(&self, weight: &str) -> Option<Scheme> {
        self.holder(weight).matrices.get(weight).map(|stored| stored.group.scheme)
    }

    /// What a runtime does to the inputs of the product with `weight`.
    fn activations_of(&self, weight: &str) -> Activations {
        match self.scheme_of(weight) {
            Some(scheme) => scheme.activations,
            None if self.holder(weight).model.block_scale_of(weight).is_some() => {
                self.dense_activations
            }
            None => Activations::None,
        }
    }

    /// What stopped the forward pass, with the model's name; the weight that did, if one is not finite.
    pub fn failed(&self, error: ForwardError) -> Error {
        if let ForwardError::NotFinite { phase, .. } = &error
            && let Some(culprit) = self.not_finite_in(phase)
        {
            return culprit;
        }
        let what = format!("{error}\n  in `{}`", self.source.path().display());
        let hint = match error {
            ForwardError::NotFinite { .. } => {
                "a weight may be damaged, or too large for the precision chosen: `llmopt verify` and \
                 `--dtype f32` tell"
            }
            _ => "please report this: the model's data and the engine disagree",
        };
        Error::Input { what, hint: Some(hint.to_owned()) }
    }

    /// The first tensor of a phase, or of what comes before all phases, that holds NaN or infinity.
    fn not_finite_in(&self, phase: &str) -> Option<Error> {
        let Program { embedding, blocks, head, .. } = self.program();
        let phases = blocks.iter().flat_map(|block| &block.phases).chain([&head.norm]);
        let weights = phases.filter(|found| found.name == phase).flat_map(Phase::weights);
        weights.chain([embedding.tensor.as_str()]).find_map(|name| {
            let (shard, entry) = self.source.entry(name)?;
            // That it cannot be read is no better reason than the one at hand.
            let found = nonfinite::first((shard, entry)).ok().flatten()?;
            Some(fetch::not_finite(shard, found))
        })
    }

    /// An error about a tensor of this model.
    fn wrong(&self, tensor: &str, what: impl std::fmt::Display) -> Error {
        let file = self.source.entry(tensor).map(|(shard, _)| format!("\n  in `{}`", shard.name));
        let what = format!("tensor `{tensor}`: {what}{}", file.unwrap_or_default());
        Error::Input { what, hint: None }
    }
}

/// The name of a model's folder or file.
pub fn source_name(source: &Source) -> String {
    let path = source.path();
    // `.` has no name of its own.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().or(absolute.file_name()).unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
