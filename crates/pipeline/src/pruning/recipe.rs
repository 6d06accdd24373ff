//! What is asked of a pruned model.

use crate::recipe::Calibrate;
use crate::recipe_read as read;
use llmopt_arch::axes::Axis;
use llmopt_codec::Runtime;
use llmopt_data::held_out;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A model to be pruned, and where the result goes.
#[derive(Clone, Debug)]
pub struct PruneRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// The output folder; the input's name with the sparsity appended, if there is none.
    pub output: Option<PathBuf>,
    /// Whether an existing output is replaced, once the new one is complete.
    pub force: bool,
    /// A folder for hidden states that do not fit in memory; the one that the artifact goes to, if
    /// there is none.
    pub scratch: Option<PathBuf>,
    /// Everything that decides the bytes.
    pub recipe: PruneRecipe,
}

/// Everything that decides the bytes of a pruned model, apart from its input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneRecipe {
    /// The share of the parameters of the transformer blocks to remove.
    pub sparsity: f64,
    /// Along what; the best of several mixes, if empty.
    #[serde(serialize_with = "names", deserialize_with = "read::axes")]
    pub axes: Vec<Axis>,
    /// How units are chosen.
    pub method: PruneMethod,
    /// Whether the matrices that read what was removed are refitted.
    pub refit: bool,
    /// In how many passes over the tokens gate and up projections are moved, too.
    pub refine: usize,
    /// Whether they get a bias.
    pub bias: bool,
    /// What widths are multiples of; from the model, if not given.
    pub align: Option<usize>,
    /// Whether a fallback is an error.
    pub strict: bool,
    /// What the model is observed on.
    pub calibrate: Calibrate,
    /// Whose rules the artifact must follow.
    #[serde(serialize_with = "runtimes", deserialize_with = "read::runtimes")]
    pub runtimes: Vec<Runtime>,
}

/// How the units that go are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneMethod {
    /// By the norm of a unit's weights. Needs no data unless matrices are refitted.
    Magnitude,
    /// By the fluctuation of a unit's values times the norm of what reads it (FLAP, 2312.11983).
    Flap,
    /// By optimal brain surgeon on the Gram matrix, then swaps.
    Obs,
}

/// No method of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such method")]
pub struct UnknownPruneMethod;

impl PruneMethod {
    /// The names of all methods.
    pub const NAMES: &'static [&'static str] = &["obs", "flap", "magnitude"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Flap => "flap",
            Self::Obs => "obs",
        }
    }
}

impl FromStr for PruneMethod {
    type Err = UnknownPruneMethod;

    fn from_str(name: &str) -> Result<Self, UnknownPruneMethod> {
        [Self::Magnitude, Self::Flap, Self::Obs]
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or(UnknownPruneMethod)
    }
}

impl fmt::Display for PruneMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PruneRecipe {
    /// Whether the model has to be run, to sum up what it shows or to find the layers that go.
    pub(crate) fn observes(&self) -> bool {
        self.sums() || self.axes.contains(&Axis::Layers)
    }

    /// Whether what the model shows is summed up.
    pub(super) fn sums(&self) -> bool {
        self.refit || self.bias || self.method != PruneMethod::Magnitude
    }

    /// The windows that the model is observed on, without those that judge.
    pub(super) fn fitting<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [Vec<u32>] {
        let judging = if self.calibrate.held_out { held_out(windows.len()) } else { 0 };
        &windows[..windows.len() - judging]
    }

    /// Whether products of inputs are summed.
    pub(super) fn needs_gram(&self) -> bool {
        self.refit || self.method == PruneMethod::Obs
    }
}

fn names<S: Serializer>(axes: &[Axis], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(axes.iter().map(|axis| axis.name()))
}

fn runtimes<S: Serializer>(runtimes: &[Runtime], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(runtimes.iter().map(|runtime| runtime.name()))
}
