//! The groups of matrices that runtimes merge, as their rules ask for them.

use llmopt_arch::{Model, Site};
use llmopt_codec::{Facts, Fused};
use std::collections::BTreeMap;

/// The sites of each fused group, and the place of each site in its own.
pub struct Groups<'a> {
    members: BTreeMap<&'a str, Vec<&'a Site>>,
    positions: BTreeMap<&'a str, usize>,
}

impl<'a> Groups<'a> {
    /// Those of a model.
    pub fn of(model: &'a Model) -> Self {
        let mut groups = Self { members: BTreeMap::new(), positions: BTreeMap::new() };
        for site in model.sites() {
            if let Some(group) = site.fused.as_deref() {
                let members = groups.members.entry(group).or_default();
                groups.positions.insert(&site.tensor, members.len());
                members.push(site);
            }
        }
        groups
    }

    /// What the rules of a runtime ask about a site.
    pub fn facts<'b>(&self, site: &'b Site, tp: usize) -> Facts<'b> {
        let members = site.fused.as_deref().and_then(|group| self.members.get(group));
        let position = self.positions.get(site.tensor.as_str());
        let fused = position.zip(members).map(|(&position, members)| Fused {
            position,
            members: members.len(),
            rows: members.iter().map(|site| site.view.rows()).sum(),
        });
        Facts {
            module: &site.module,
            rows: site.view.rows(),
            columns: site.view.columns(),
            fused,
            expert: site.expert.is_some(),
            tp,
        }
    }

    /// The members of every group.
    pub fn members(&self) -> impl Iterator<Item = &[&'a Site]> {
        self.members.values().map(Vec::as_slice)
    }
}
