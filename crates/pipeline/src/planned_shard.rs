//! A file of weights that will be written.

use crate::place::Place;
use std::collections::BTreeMap;

/// A file of weights to be written: the counterpart of the source's shard with the same number.
#[derive(Debug)]
pub(crate) struct PlannedShard {
    pub(crate) name: String,
    /// What the header says besides its tensors.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Size of the whole file.
    pub(crate) bytes: u64,
    /// One per tensor of the source's shard, in the order of its bytes.
    pub(crate) places: Vec<Place>,
}
