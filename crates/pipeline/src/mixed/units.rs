//! The units of a model, and the schemes among which each one's is chosen.

use crate::recipe::{GroupSize, Recipe};
use crate::select::Selection;
use llmopt_arch::{LinearWeight, Model};
use llmopt_codec::Runtime;
use llmopt_scheme::{Granularity, Numeric, Scheme};
use std::fmt;

/// Matrices that get one scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// The module into which runtimes fuse them, or the only matrix's.
    pub(super) name: String,
    /// The layer that it is in; none, if it spans several.
    pub(super) layer: Option<usize>,
    pub(super) tensors: Vec<String>,
    /// Columns of each of the matrices.
    columns: Vec<usize>,
}

impl Unit {
    /// The units of what is selected, in the order of execution.
    ///
    /// Fused groups are units, and so are the experts of a layer, of which vLLM looks at the first. Where the files
    /// are to load in Transformers, the experts of all layers are one: of several groups of experts it takes the
    /// first for all.
    pub(super) fn of(model: &Model, selection: &Selection, runtimes: &[Runtime]) -> Vec<Self> {
        let spans = runtimes.contains(&Runtime::Transformers);
        let mut units: Vec<Self> = Vec::new();
        for (linear, _) in selection.linears(model) {
            let (name, layer) = match linear.expert {
                Some(_) if spans => ("experts".to_owned(), None),
                Some(_) => (experts_of(linear), linear.layer),
                None => (fused_name(linear), linear.layer),
            };
            let place = units.iter().position(|unit| unit.name == name);
            let place = place.unwrap_or_else(|| {
                units.push(Self { name, layer, tensors: Vec::new(), columns: Vec::new() });
                units.len() - 1
            });
            units[place].tensors.push(linear.tensor.clone());
            units[place].columns.push(linear.view.columns());
        }
        units
    }
}

fn fused_name(linear: &LinearWeight) -> String {
    linear.fused.clone().unwrap_or_else(|| linear.module.clone())
}

fn experts_of(linear: &LinearWeight) -> String {
    let layer = linear.layer.map_or_else(String::new, |layer| format!("layer {layer}: "));
    format!("{layer}experts")
}

/// A choice of a unit: what `--bits` and `--group-size` would say of a whole model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) bits: u8,
    pub(super) size: GroupSize,
}

impl Choice {
    /// Those that `recipe` allows of these widths, the smallest first.
    ///
    /// At 8 bits a scale per channel loses nothing that counts, so there are no groups. Below 5 bits groups of 32
    /// are worth as much as a part of a bit, so there are two sizes of them.
    pub(super) fn all(recipe: &Recipe, widths: &[u8]) -> Vec<Self> {
        let mut widths = widths.to_vec();
        widths.sort_unstable();
        widths.dedup();
        let sizes = |bits: u8| match recipe.group_size {
            GroupSize::Auto if bits < 5 => vec![GroupSize::Auto, GroupSize::Columns(FINE)],
            size => vec![size],
        };
        let of_width = |bits: u8| sizes(bits).into_iter().map(move |size| Self { bits, size });
        widths.into_iter().flat_map(of_width).collect()
    }

    /// Every width with every usual group size: what people give to a whole model.
    pub(super) fn uniform(recipe: &Recipe, widths: &[u8]) -> Vec<Self> {
        let mut all = Self::all(recipe, widths);
        if recipe.group_size == GroupSize::Auto {
            let narrow = all.iter().map(|choice| choice.bits).filter(|&bits| bits < 8);
            let sizes = || GroupSize::AUTO.map(GroupSize::Columns).into_iter();
            let grouped = narrow.flat_map(|bits| sizes().map(move |size| Self { bits, size }));
            let grouped: Vec<Self> = grouped.filter(|choice| !all.contains(choice)).collect();
            all.extend(grouped);
        }
        let same = |a: &Self, b: &Self| (a.bits, a.nominal_bits()) == (b.bits, b.nominal_bits());
        all.sort_by(|a, b| a.nominal_bits().total_cmp(&b.nominal_bits()));
        all.dedup_by(|a, b| same(a, b));
        all
    }

    /// The scheme that a unit gets; none, if its rows are not cut evenly.
    pub(super) fn scheme_of(&self, unit: &Unit, recipe: &Recipe) -> Option<Scheme> {
        let scheme = self.scheme(recipe);
        let granularity = self.size.granularity(scheme, &unit.columns)?;
        Some(Scheme { granularity, ..scheme })
    }

    /// The scheme of a model, whose granularity gives way to the group size.
    pub(super) fn scheme(&self, recipe: &Recipe) -> Scheme {
        let granularity = match self.bits {
            8 => Granularity::Channel,
            _ => Granularity::Group(GroupSize::AUTO[0]),
        };
        Scheme { weights: Numeric::Int { bits: self.bits }, granularity, ..recipe.scheme }
    }

    /// Bits of a weight with its share of a 16-bit scale, where rows are long.
    pub(super) fn nominal_bits(&self) -> f64 {
        let code = f64::from(self.bits);
        match self.size {
            GroupSize::Columns(size) => code + 16.0 / size as f64,
            GroupSize::Auto if self.bits < 8 => code + 16.0 / GroupSize::AUTO[0] as f64,
            GroupSize::Auto | GroupSize::Channel => code,
        }
    }
}

/// As its artifact's folder is called.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}a16", self.bits)?;
        match self.size {
            GroupSize::Columns(size) => write!(f, "-g{size}"),
            GroupSize::Channel => f.write_str("-channel"),
            GroupSize::Auto => Ok(()),
        }
    }
}

/// The smaller of the two group sizes of narrow codes.
const FINE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::selected;
    use crate::testing::{dense, experts};
    use std::collections::BTreeMap;

    fn recipe() -> Recipe {
        Recipe::new(Scheme::preset("w8a16").expect("a preset"))
    }

    fn units(model: &Model, runtimes: &[Runtime]) -> Vec<Unit> {
        let recipe = Recipe { runtimes: runtimes.to_vec(), ..recipe() };
        let selection = selected(model, &recipe, &BTreeMap::new()).expect("it can be had");
        Unit::of(model, &selection, runtimes)
    }

    #[test]
    fn fused_groups_are_units() {
        let found = units(&dense(2, 512).model(), &[Runtime::Transformers, Runtime::Vllm]);
        let told: Vec<(Option<usize>, usize)> =
            found.iter().map(|unit| (unit.layer, unit.tensors.len())).collect();
        let layer = |layer| [(layer, 3), (layer, 1), (layer, 2), (layer, 1)];
        assert_eq!(told, [layer(Some(0)), layer(Some(1))].concat());
    }

    #[test]
    fn experts_are_one_unit_for_transformers_and_one_per_layer_for_others() {
        let model = experts(3, 256).model();
        let of_experts = |runtimes: &[Runtime]| -> Vec<(Option<usize>, usize)> {
            let units = units(&model, runtimes).into_iter();
            let units = units.filter(|unit| unit.name.ends_with("experts"));
            units.map(|unit| (unit.layer, unit.tensors.len())).collect()
        };
        assert_eq!(of_experts(&[Runtime::Transformers]), [(None, 18)]);
        assert_eq!(of_experts(&[]), [(Some(1), 9), (Some(2), 9)]);
    }

    #[test]
    fn choices_come_by_their_size_and_take_what_they_divide() {
        let found = Choice::all(&recipe(), &[8, 4, 2, 5, 4]);
        let told: Vec<String> = found.iter().map(Choice::to_string).collect();
        assert_eq!(told, ["w2a16", "w2a16-g32", "w4a16", "w4a16-g32", "w5a16", "w8a16"]);
        let bits: Vec<f64> = found.iter().map(Choice::nominal_bits).collect();
        assert_eq!(bits, [2.125, 2.5, 4.125, 4.5, 5.125, 8.0]);
        let unit = &units(&dense(1, 192).model(), &[])[3];
        let schemes = found.iter().map(|choice| choice.scheme_of(unit, &recipe()));
        let told: Vec<String> = schemes.flatten().map(|scheme| scheme.to_string()).collect();
        let expected = ["w2a16 g64", "w2a16 g32", "w4a16 g64", "w4a16 g32", "w5a16 g64", "w8a16"];
        assert_eq!(told, expected);
    }

    #[test]
    fn uniform_choices_have_every_usual_group_size() {
        let found = Choice::uniform(&recipe(), &[8, 4]);
        let told: Vec<String> = found.iter().map(Choice::to_string).collect();
        assert_eq!(told, ["w4a16", "w4a16-g64", "w4a16-g32", "w8a16"]);
    }

    #[test]
    fn a_group_size_that_was_given_is_that_of_every_width() {
        let recipe = Recipe { group_size: GroupSize::Columns(64), ..recipe() };
        let found = Choice::all(&recipe, &[8, 3]);
        let told: Vec<String> = found.iter().map(Choice::to_string).collect();
        assert_eq!(told, ["w3a16-g64", "w8a16-g64"]);
        let unit = &units(&dense(1, 96).model(), &[])[3];
        assert_eq!(found[0].scheme_of(unit, &recipe), None);
    }
}
