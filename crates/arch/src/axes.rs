//! Pruning axes: along what a model can become smaller, and what changes together when it does.
//!
//! An axis is counted in units: intermediate channels, key-value groups, layers. Where the shape of a
//! tensor names a size of the axis, that dimension ranges over its units; so the families' files tell
//! which rows and columns go, and little had to be added to them. Nothing here knows which units are
//! worth keeping, or has seen a weight.

mod bias;
mod coupling;
mod data;
mod edits;
mod error;
mod facts;
mod refused;
mod renamed;
mod shape;
mod slice;
mod span;

pub use bias::{Bias, BiasSwitch};
pub use coupling::{Coupling, Part};
pub(crate) use data::Axes;
pub use edits::Edit;
pub use error::AxisError;
pub use facts::{AxisFacts, Units};
pub use shape::Shape;
pub use slice::{Kept, Slice};

use std::fmt;

/// What a model can lose without becoming another kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Intermediate channels of MLPs: rows of gate and up, columns of down; in experts, too.
    Ffn,
    /// Key-value heads, each with the query heads that read it.
    Heads,
    /// Layers.
    Layers,
}

impl Axis {
    /// Every axis.
    pub const ALL: [Self; 3] = [Self::Ffn, Self::Heads, Self::Layers];

    /// One word, as requests and messages give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ffn => "ffn",
            Self::Heads => "heads",
            Self::Layers => "layers",
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
