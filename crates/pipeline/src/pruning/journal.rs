//! What is known to be written, and the journal from which an interrupted run goes on.

use crate::pruning::depth::FoundLayers;
use llmopt_checkpoint::Journal;
use llmopt_run::Error;
use llmopt_verify::PrunedUnits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    /// Which layers go.
    Layers(FoundLayers),
    /// Tensors of a file that are copied, by name, with their fingerprints.
    Copied { shard: usize, prints: BTreeMap<String, u64> },
    /// A group that is pruned.
    Pruned { group: usize, facts: Box<PrunedUnits>, prints: BTreeMap<String, u64> },
}

/// What is done.
pub(super) struct Records {
    journal: Journal,
    layers: Option<FoundLayers>,
    copied: BTreeMap<usize, BTreeMap<String, u64>>,
    pruned: BTreeMap<usize, (Box<PrunedUnits>, BTreeMap<String, u64>)>,
}

impl Records {
    /// What the lines of a journal tell; one that cannot be understood is passed over.
    pub(super) fn new(lines: &[String], journal: Journal) -> Self {
        let mut records =
            Self { journal, layers: None, copied: BTreeMap::new(), pruned: BTreeMap::new() };
        for line in lines.iter().filter_map(|line| serde_json::from_str(line).ok()) {
            records.keep(line);
        }
        records
    }

    /// Nothing that is known of what files hold is true any more.
    pub(super) fn forget_files(&mut self) {
        self.copied.clear();
        self.pruned.clear();
    }

    /// Which layers go, where that was found.
    pub(super) fn layers(&self) -> Option<&FoundLayers> {
        self.layers.as_ref()
    }

    /// Has the journal keep which layers go.
    pub(super) fn add_layers(&mut self, found: FoundLayers) -> Result<(), Error> {
        self.add(Line::Layers(found))
    }

    pub(super) fn is_copied(&self, shard: usize) -> bool {
        self.copied.contains_key(&shard)
    }

    pub(super) fn is_pruned(&self, group: usize) -> bool {
        self.pruned.contains_key(&group)
    }

    /// Has the journal keep what is on the disk.
    pub(super) fn add_copied(
        &mut self,
        shard: usize,
        prints: BTreeMap<String, u64>,
    ) -> Result<(), Error> {
        self.add(Line::Copied { shard, prints })
    }

    /// Has the journal keep what is on the disk.
    pub(super) fn add_pruned(
        &mut self,
        group: usize,
        facts: PrunedUnits,
        prints: BTreeMap<String, u64>,
    ) -> Result<(), Error> {
        self.add(Line::Pruned { group, facts: Box::new(facts), prints })
    }

    /// What became of every group, in their order.
    pub(super) fn units(&self) -> impl Iterator<Item = &PrunedUnits> {
        self.pruned.values().map(|(facts, _)| &**facts)
    }

    /// The fingerprint of every tensor that was written.
    pub(super) fn prints(&self) -> BTreeMap<&str, u64> {
        let pruned = self.pruned.values().map(|(_, prints)| prints);
        let prints = self.copied.values().chain(pruned).flatten();
        prints.map(|(name, &print)| (name.as_str(), print)).collect()
    }

    fn add(&mut self, line: Line) -> Result<(), Error> {
        let text =
            serde_json::to_string(&line).map_err(|error| Error::Refused(error.to_string()))?;
        self.journal.append(&[text])?;
        self.keep(line);
        Ok(())
    }

    fn keep(&mut self, line: Line) {
        match line {
            Line::Layers(found) => self.layers = Some(found),
            Line::Copied { shard, prints } => {
                self.copied.insert(shard, prints);
            }
            Line::Pruned { group, facts, prints } => {
                self.pruned.insert(group, (facts, prints));
            }
        }
    }
}
