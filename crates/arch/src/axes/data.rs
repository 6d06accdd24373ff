//! Axes as a family's file writes them: what shapes and program do not tell.

use super::axis::Axis;
use serde::Deserialize;

/// The axes that a family has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axes {
    pub(crate) ffn: Option<Ffn>,
    pub(crate) heads: Option<Heads>,
    pub(crate) layers: Option<Layers>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ffn {
    /// The dimensions that count channels.
    pub(crate) sizes: Vec<String>,
    /// The config key with which the matrix that reads the channels has a bias, in every loader.
    pub(crate) bias: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heads {
    /// Why no head can be removed, if a loader could not tell their number.
    pub(crate) refused: Option<String>,
    /// The dimension that the number of query heads must divide for some loader.
    pub(crate) divide: Option<String>,
    /// The config key with which the matrix that reads the heads has a bias, in every loader.
    pub(crate) bias: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layers {
    /// Config keys of lists with an entry for each layer.
    #[serde(default)]
    pub(crate) lists: Vec<String>,
    /// Config keys that repeat in a number what a list says; wrong once the list is no period.
    #[serde(default)]
    pub(crate) periods: Vec<String>,
}

impl Axes {
    pub(crate) fn has(&self, axis: Axis) -> bool {
        match axis {
            Axis::Ffn => self.ffn.is_some(),
            Axis::Heads => self.heads.is_some(),
            Axis::Layers => self.layers.is_some(),
        }
    }

    /// The axis that a dimension counts units of, among those that tensors range over.
    pub(crate) fn of_size(&self, size: &str) -> Option<Axis> {
        let counts_channels = |ffn: &Ffn| ffn.sizes.iter().any(|name| name == size);
        match size {
            HEADS | GROUPS => self.heads.is_some().then_some(Axis::Heads),
            _ => self.ffn.as_ref().is_some_and(counts_channels).then_some(Axis::Ffn),
        }
    }

    /// The config key of the bias of the matrix that reads the axis.
    pub(crate) fn bias_of(&self, axis: Axis) -> Option<&str> {
        match axis {
            Axis::Ffn => self.ffn.as_ref()?.bias.as_deref(),
            Axis::Heads => self.heads.as_ref()?.bias.as_deref(),
            Axis::Layers => None,
        }
    }
}

/// The dimension of query heads.
pub(crate) const HEADS: &str = "heads";
/// The dimension of key-value heads.
pub(crate) const GROUPS: &str = "kv_heads";
