//! What is asked for.

use crate::output_target::Target;
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What an artifact must meet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// All its files together have at most so many bytes.
    Size(u64),
    /// Its weight files have at most so many bits for each parameter of the model.
    BitsPerWeight(f64),
    /// The upper end of the 95 % interval of its mean KL divergence from the original, in nats, on windows that
    /// nothing was fitted to, is at most this.
    Kld(f64),
}

/// Everything that decides the bytes of a mixed artifact, apart from its input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixedRecipe {
    /// What it must meet.
    pub goal: Goal,
    /// Widths of integer weights that a unit may get.
    pub widths: Vec<u8>,
    /// Everything else. Its scheme says how scales and codes are stored, not how wide they are; a group size that
    /// is given is that of every width.
    pub recipe: Recipe,
}

/// A mixed artifact that is asked for.
#[derive(Clone, Debug)]
pub struct MixedRequest {
    /// The model's folder.
    pub model: PathBuf,
    /// Where the artifact goes.
    pub target: Target,
    /// Everything that decides its bytes.
    pub recipe: MixedRecipe,
}

impl MixedRecipe {
    /// Widths that are taken where none are asked for.
    pub const WIDTHS: [u8; 6] = [2, 3, 4, 5, 6, 8];
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(bytes) => write!(f, "{bytes} bytes of all files"),
            Self::BitsPerWeight(bits) => write!(f, "{bits} bits per parameter"),
            Self::Kld(nats) => write!(f, "a KL divergence of {nats}"),
        }
    }
}
