//! What may be chosen from: units, choices, and the recipes that they make.

use crate::method::Method;
use crate::mixed::plan::PlannedChoice;
use crate::mixed::request::{Goal, MixedRecipe, MixedRequest};
use crate::mixed::units::{Choice, Unit};
use crate::plan::Plan;
use crate::recipe::{Calibrate, GroupSize, Recipe};
use crate::select::selected;
use llmopt_model::Checkpoint;
use llmopt_run::{Error, Resources};
use llmopt_scheme::Scheme;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What does not change.
pub(super) struct Fixed {
    pub(super) checkpoint: Checkpoint,
    pub(super) request: MixedRequest,
    pub(super) resources: Resources,
}

/// Units, and the choices of each.
pub(super) struct Candidates {
    pub(super) fixed: Fixed,
    pub(super) units: Vec<Unit>,
    /// The smallest first.
    pub(super) choices: Vec<Choice>,
    /// Bytes of each unit with each choice; none, if it cannot have it. The last is the unit as it is.
    pub(super) bytes: Vec<Vec<Option<u64>>>,
    /// Bytes of all files, if every unit had a choice that can.
    whole: Vec<u64>,
    /// Choices that meet a size if every unit has them, the largest first; none, if the goal is no size.
    pub(super) uniform: Vec<Choice>,
    /// Weights of the model.
    pub(super) parameters: u64,
}

impl Candidates {
    /// Those of a request, with what a reader should know of choices that are left out.
    pub(super) fn new(fixed: Fixed) -> Result<(Self, Vec<String>), Error> {
        let MixedRecipe { widths, recipe, .. } = &fixed.request.recipe;
        let model = &fixed.checkpoint.model;
        let all = Recipe {
            runtimes: Vec::new(),
            group_size: GroupSize::Auto,
            scheme: Choice { bits: 8, size: GroupSize::Auto }.scheme(recipe),
            ..recipe.clone()
        };
        let selection = selected(model, &all, &BTreeMap::new())?;
        let units = Unit::of(model, &selection, &recipe.runtimes);
        let given = !widths.is_empty();
        let asked = if given { &widths[..] } else { &MixedRecipe::WIDTHS };
        let choices = Choice::all(recipe, asked);
        let uniform = Choice::uniform(recipe, asked);
        let mut candidates = Self {
            fixed,
            units,
            choices,
            bytes: Vec::new(),
            whole: Vec::new(),
            uniform: Vec::new(),
            parameters: 0,
        };
        let notes = candidates.keep_what_runtimes_take(given)?;
        candidates.check_goal()?;
        candidates.uniform = candidates.within_goal(uniform);
        candidates.keep_near_goal()?;
        Ok((candidates, notes))
    }

    /// Leaves out choices that a runtime refuses. A width that was asked for and of which none is left is an error.
    fn keep_what_runtimes_take(&mut self, given: bool) -> Result<Vec<String>, Error> {
        let (mut kept, mut plans, mut refused) = (Vec::new(), Vec::new(), BTreeMap::new());
        for &choice in &self.choices {
            if !self.units.iter().any(|unit| self.scheme_of(choice, unit).is_some()) {
                continue;
            }
            match self.choice_plan(choice) {
                Ok(plan) => {
                    kept.push(choice);
                    plans.push(plan);
                }
                Err(error @ (Error::Refused(_) | Error::RefusedWithHint { .. })) => {
                    refused.entry(choice.bits).or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let gone: Vec<u8> = refused.keys().copied().collect();
        let gone: Vec<u8> =
            gone.into_iter().filter(|bits| kept.iter().all(|kept| kept.bits != *bits)).collect();
        if let Some(error) = gone.first().filter(|_| given || kept.is_empty()) {
            return Err(refused
                .remove(error)
                .unwrap_or_else(|| Error::Refused(NO_WIDTH.to_owned())));
        }
        let Some(any) = plans.first() else { return Err(Error::Refused(NO_WIDTH.to_owned())) };
        self.parameters = any.parameters();
        let stored: Vec<BTreeMap<String, (u64, u64)>> = plans.iter().map(stored).collect();
        self.whole = plans.iter().map(|plan| plan.files().values().sum()).collect();
        self.choices = kept;
        self.bytes = self.units.iter().map(|unit| self.bytes_of(unit, &stored)).collect();
        Ok(match gone.is_empty() {
            true => Vec::new(),
            false => {
                let gone: Vec<String> = gone.iter().map(u8::to_string).collect();
                vec![format!(
                    "widths of {} bits are left out, which not every runtime asked for takes",
                    gone.join(", ")
                )]
            }
        })
    }

    fn bytes_of(&self, unit: &Unit, stored: &[BTreeMap<String, (u64, u64)>]) -> Vec<Option<u64>> {
        let sum = |of: &BTreeMap<String, (u64, u64)>, after: bool| -> u64 {
            let tensors = unit.tensors.iter().filter_map(|tensor| of.get(tensor));
            tensors.map(|&(before, now)| if after { now } else { before }).sum()
        };
        let with = |(choice, stored): (&Choice, &BTreeMap<String, (u64, u64)>)| {
            self.scheme_of(*choice, unit).map(|_| sum(stored, true))
        };
        let as_it_is = stored.first().map(|stored| sum(stored, false));
        self.choices.iter().zip(stored).map(with).chain([as_it_is]).collect()
    }

    /// Leaves out choices that are far from what is aimed at, as long as what is left can meet it.
    fn keep_near_goal(&mut self) -> Result<(), Error> {
        let Some(bits) = self.average_bits()? else { return Ok(()) };
        let near = |choice: &Choice| {
            let off = choice.nominal_bits() - bits;
            (-BELOW..=ABOVE).contains(&off)
        };
        let near: Vec<bool> = self.choices.iter().map(near).collect();
        let reaches = self.choices.iter().zip(&near).any(|(choice, &near)| {
            near && choice.nominal_bits() <= bits && self.suits_all(*choice)
        });
        if !reaches {
            return Ok(());
        }
        let keep = |at: usize| near.get(at).copied().unwrap_or(true);
        retain(&mut self.choices, keep);
        retain(&mut self.whole, keep);
        self.bytes.iter_mut().for_each(|of| retain(of, keep));
        Ok(())
    }

    /// Whether every unit can have a choice.
    pub(super) fn suits_all(&self, choice: Choice) -> bool {
        self.units.iter().all(|unit| self.scheme_of(choice, unit).is_some())
    }

    /// The scheme that a unit gets by a choice.
    pub(super) fn scheme_of(&self, choice: Choice, unit: &Unit) -> Option<Scheme> {
        choice.scheme_of(unit, &self.fixed.request.recipe.recipe)
    }

    /// The plan of an artifact with one choice wherever it can be had, by weights alone.
    pub(super) fn choice_plan(&self, choice: Choice) -> Result<Plan, Error> {
        let recipe = self.choice_recipe(choice, None, Method::Search);
        self.planned_at(Path::new(NOWHERE), &recipe)
    }

    /// The recipe of such an artifact.
    pub(super) fn choice_recipe(
        &self,
        choice: Choice,
        calibrate: Option<Calibrate>,
        method: Method,
    ) -> Recipe {
        let recipe = &self.fixed.request.recipe.recipe;
        let unable = self.units.iter().filter(|unit| self.scheme_of(choice, unit).is_none());
        let unable = unable.flat_map(|unit| unit.tensors.iter().cloned());
        Recipe {
            scheme: choice.scheme(recipe),
            group_size: choice.size,
            exclude: recipe.exclude.iter().cloned().chain(unable).collect(),
            calibrate,
            method,
            ..recipe.clone()
        }
    }

    /// The recipe of an allocation: the choice that most units have, and schemes of the others.
    pub(super) fn recipe_of(
        &self,
        taken: &[usize],
        calibrate: Option<Calibrate>,
        method: Method,
    ) -> Recipe {
        let most = self.most_common(taken);
        let base = self.fixed.request.recipe.recipe.clone();
        let (mut schemes, mut exclude) = (BTreeMap::new(), base.exclude.clone());
        for (unit, &of) in self.units.iter().zip(taken) {
            match self.choices.get(of) {
                None => exclude.extend(unit.tensors.iter().cloned()),
                Some(_) if of == most => {}
                Some(&choice) => {
                    let scheme = self.scheme_of(choice, unit);
                    let scheme = scheme.into_iter().cycle().zip(&unit.tensors);
                    schemes.extend(scheme.map(|(scheme, tensor)| (tensor.clone(), scheme)));
                }
            }
        }
        let choice = self.choices[most];
        Recipe {
            scheme: choice.scheme(&base),
            group_size: choice.size,
            schemes,
            exclude,
            calibrate,
            method,
            ..base
        }
    }

    /// The choice that most units of an allocation have; of those that all keep as they are the first.
    fn most_common(&self, taken: &[usize]) -> usize {
        let count = |choice: &usize| taken.iter().filter(|&&of| of == *choice).count();
        (0..self.choices.len()).rev().max_by_key(count).unwrap_or(0)
    }

    /// The allocation that gives a choice to every unit; none, if some cannot have it.
    pub(super) fn everywhere(&self, choice: usize) -> Option<Vec<usize>> {
        self.suits_all(self.choices[choice]).then(|| vec![choice; self.units.len()])
    }

    /// Every choice, as a plan says it.
    pub(super) fn planned(&self) -> Vec<PlannedChoice> {
        let planned = |(choice, &bytes): (&Choice, &u64)| PlannedChoice {
            name: choice.to_string(),
            bytes,
            units: self.units.iter().filter(|unit| self.scheme_of(*choice, unit).is_some()).count(),
        };
        self.choices.iter().zip(&self.whole).map(planned).collect()
    }

    /// Bytes of every unit in an artifact.
    pub(super) fn bytes_in(&self, plan: &Plan) -> Vec<u64> {
        let stored = stored(plan);
        let bytes = |tensor: &String| stored.get(tensor).map_or(0, |&(_, after)| after);
        self.units.iter().map(|unit| unit.tensors.iter().map(bytes).sum()).collect()
    }

    /// Bytes of the model's weight files.
    pub(super) fn source_bytes(&self) -> u64 {
        self.fixed.checkpoint.source.shards().iter().map(|shard| shard.bytes).sum()
    }

    /// Weights of all units.
    pub(super) fn unit_weights(&self) -> u64 {
        let model = &self.fixed.checkpoint.model;
        let tensors: BTreeSet<&str> =
            self.units.iter().flat_map(|unit| &unit.tensors).map(String::as_str).collect();
        let tensors = model.tensors().iter().filter(|tensor| tensors.contains(&*tensor.name));
        tensors.map(|tensor| tensor.meta.elements()).sum()
    }

    /// What a choice is called, or a unit that stays as it is.
    pub(super) fn choice_name(&self, choice: usize) -> String {
        self.choices.get(choice).map_or_else(|| AS_IT_IS.to_owned(), Choice::to_string)
    }

    /// Bits of a weight of a unit as it is.
    pub(super) fn source_bits(&self, unit: &Unit) -> f64 {
        let metas = self.fixed.checkpoint.model.tensors().iter();
        let of_unit = metas.filter(|tensor| unit.tensors.contains(&tensor.name));
        let (bytes, weights) = of_unit.fold((0, 0), |(bytes, weights), tensor| {
            (bytes + tensor.meta.bytes(), weights + tensor.meta.elements())
        });
        bytes as f64 * 8.0 / weights.max(1) as f64
    }

    /// What is aimed at.
    pub(super) fn goal(&self) -> Goal {
        self.fixed.request.recipe.goal
    }
}

/// Bytes of every tensor before and after.
fn stored(plan: &Plan) -> BTreeMap<String, (u64, u64)> {
    let places = plan.places();
    let bytes = places.map(|(entry, place)| {
        (entry.name.clone(), (entry.meta.bytes(), place.stored_bytes(entry)))
    });
    bytes.collect()
}

/// Leaves those out whose number is not to be kept.
fn retain<T>(items: &mut Vec<T>, keeps: impl Fn(usize) -> bool) {
    let mut number = 0..;
    items.retain(|_| number.next().is_some_and(&keeps));
}

/// A folder that is not there: plans by weights alone read and write nothing.
const NOWHERE: &str = "mixed-choice.tmp";
/// A unit that is not quantized.
const AS_IT_IS: &str = "as it is";
const NO_WIDTH: &str = "no width is left: the group size divides the rows of no matrix";
/// Bits below the average that a choice may be.
const BELOW: f64 = 2.05;
/// Bits above it.
const ABOVE: f64 = 4.25;
