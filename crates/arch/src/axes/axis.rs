//! The axes themselves.

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
