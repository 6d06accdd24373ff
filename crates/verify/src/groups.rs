//! The groups of matrices that runtimes merge, as their rules ask for them.

use llmopt_arch::{LinearWeight, Model};
use llmopt_codec::{Facts, Fused};
use std::collections::BTreeMap;

/// The sites of each fused group, and the place of each site in its own.
pub struct Groups<'a> {
    members: BTreeMap<&'a str, Vec<&'a LinearWeight>>,
    positions: BTreeMap<&'a str, usize>,
}

impl<'a> Groups<'a> {
    /// Those of a model.
    pub fn of(model: &'a Model) -> Self {
        let mut groups = Self { members: BTreeMap::new(), positions: BTreeMap::new() };
        for linear in model.linear_weights() {
            if let Some(group) = linear.fused.as_deref() {
                let members = groups.members.entry(group).or_default();
                groups.positions.insert(&linear.tensor, members.len());
                members.push(linear);
            }
        }
        groups
    }

    /// What the rules of a runtime ask about a site.
    pub fn facts<'b>(&self, linear: &'b LinearWeight, tp: usize) -> Facts<'b> {
        let members = linear.fused.as_deref().and_then(|group| self.members.get(group));
        let position = self.positions.get(linear.tensor.as_str());
        let fused = position.zip(members).map(|(&position, members)| Fused {
            position,
            members: members.len(),
            rows: members.iter().map(|linear| linear.view.rows()).sum(),
        });
        Facts {
            module: &linear.module,
            rows: linear.view.rows(),
            columns: linear.view.columns(),
            fused,
            expert: linear.expert.is_some(),
            tp,
        }
    }

    /// The members of every group.
    pub fn members(&self) -> impl Iterator<Item = &[&'a LinearWeight]> {
        self.members.values().map(Vec::as_slice)
    }
}
