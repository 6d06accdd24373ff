//! Which matrices are quantized, with which scheme, and whether the runtimes take it.

use crate::patterns::Patterns;
use crate::recipe::{GroupSize, Recipe};
use crate::stacked::StackedExperts;
use crate::unknown::UnknownTensors;
use llmopt_arch::{LinearWeight, Model, Role};
use llmopt_codec::{Refusal, Runtime, check, check_dense, check_embedding, check_stacked};
use llmopt_run::Error;
use llmopt_scheme::{Granularity, Scheme};
use llmopt_verify::Groups;
use std::collections::{BTreeMap, BTreeSet};

/// What was selected, and which layers got something else than was asked for.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The scheme of each tensor to be quantized.
    schemes: BTreeMap<String, Scheme>,
    pub(crate) fallbacks: Vec<Fallback>,
}

impl Selection {
    /// The scheme of a tensor, if it is to be quantized.
    pub(crate) fn scheme_of(&self, tensor: &str) -> Option<Scheme> {
        self.schemes.get(tensor).copied()
    }

    /// Every selected site with its scheme, in the order of execution.
    pub(crate) fn linears<'a>(
        &self,
        model: &'a Model,
    ) -> impl Iterator<Item = (&'a LinearWeight, Scheme)> {
        let linears = model.linear_weights().iter().chain(model.optional_linear_weights());
        linears.filter_map(|linear| Some((linear, self.scheme_of(&linear.tensor)?)))
    }
}

/// A tensor that got another scheme than was asked for.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Fallback {
    /// The tensor.
    pub tensor: String,
    /// What it got, and why.
    pub why: String,
}

/// Selects. `kept` are tensors that stay as they are whatever the recipe says, each with the reason.
pub(crate) fn selected(
    model: &Model,
    recipe: &Recipe,
    kept: &BTreeMap<String, String>,
) -> Result<Selection, Error> {
    let patterns = Selectors::of(recipe, model)?;
    let requested = wanted(model, recipe, &patterns)?;
    let of_kept = requested.iter().filter_map(|linear| kept.get_key_value(&linear.tensor));
    let fallback = |(tensor, why): (&String, &String)| {
        let (tensor, why) = (tensor.clone(), why.clone());
        Fallback { tensor, why }
    };
    let mut selection =
        Selection { fallbacks: of_kept.map(fallback).collect(), ..Selection::default() };
    let stays = |linear: &&LinearWeight| kept.contains_key(&linear.tensor);
    let wanted: Vec<_> = requested.into_iter().filter(|linear| !stays(linear)).collect();
    refuse_nothing(model, &wanted)?;
    for members in fused_groups(&wanted) {
        choose(&members, recipe, &mut selection)?;
    }
    refusals(model, recipe, &selection).into_result()?;
    UnknownTensors::check(model, &recipe.runtimes)?;
    StackedExperts::check(model, recipe, |tensor: &str| patterns.includes(tensor))?;
    if let (true, Some(fallback)) = (recipe.strict, selection.fallbacks.first()) {
        let Fallback { tensor, why } = fallback;
        return Err(Error::Refused(format!("tensor `{tensor}`: {why}, and `--strict` forbids it")));
    }
    Ok(selection)
}

/// The sites that the recipe names, in the order of execution.
fn wanted<'a>(
    model: &'a Model,
    recipe: &Recipe,
    selectors: &Selectors,
) -> Result<Vec<&'a LinearWeight>, Error> {
    let named = |linear: &&LinearWeight| selectors.includes(&linear.tensor);
    let optional = optional_sites(model, recipe, &selectors.include)?;
    let wanted: Vec<_> = model.linear_weights().iter().chain(optional).filter(named).collect();
    refuse_nothing(model, &wanted)?;
    refuse_vain(recipe, &wanted)?;
    Ok(wanted)
}

fn refuse_nothing(model: &Model, wanted: &[&LinearWeight]) -> Result<(), Error> {
    if !wanted.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(match model.linear_weights().len() {
        0 => format!("there is no matrix to quantize in this checkpoint{}", but_stacks(model)),
        n => format!("none of the {n} quantizable matrices is selected"),
    }))
}

/// Refuses flags that ask for what nothing is done to.
fn refuse_vain(recipe: &Recipe, wanted: &[&LinearWeight]) -> Result<(), Error> {
    let flags = [
        ("--embeddings", recipe.embeddings, Role::Embedding, "embedding"),
        ("--lm-head", recipe.lm_head, Role::Head, "output head"),
    ];
    for (flag, requested, role, name) in flags {
        if requested && !wanted.iter().any(|linear| linear.role == role) {
            return Err(Error::RefusedWithHint {
                what: format!("`{flag}` has no effect: no {name} of this model is selected"),
                hint: "leave it out, or see to it that `--include` and `--exclude` let it through"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

/// The recipe's patterns, each of which means something in the model.
struct Selectors {
    include: Patterns,
    exclude: Patterns,
}

impl Selectors {
    fn of(recipe: &Recipe, model: &Model) -> Result<Self, Error> {
        let include = Patterns::new("--include", &recipe.include)?;
        let exclude = Patterns::new("--exclude", &recipe.exclude)?;
        include.check_all_match(model)?;
        exclude.check_all_match(model)?;
        let quantizable = model.linear_weights().iter().chain(model.optional_linear_weights());
        include.check_all_mean(quantizable.map(|linear| linear.tensor.as_str()))?;
        Ok(Self { include, exclude })
    }

    /// Whether they leave a tensor in.
    fn includes(&self, tensor: &str) -> bool {
        (self.include.is_empty() || self.include.is_match(tensor)) && !self.exclude.is_match(tensor)
    }
}

/// Why there may be none although the checkpoint has weights.
fn but_stacks(model: &Model) -> String {
    StackedExperts::of(model.stacks().iter())
        .map(|stacked| format!(": {}", stacked.why))
        .unwrap_or_default()
}

/// The embedding and the head, if asked for by flag or by name.
fn optional_sites<'a>(
    model: &'a Model,
    recipe: &Recipe,
    include: &Patterns,
) -> Result<impl Iterator<Item = &'a LinearWeight>, Error> {
    let requested = |linear: &&LinearWeight| match linear.role {
        Role::Embedding => recipe.embeddings || include.is_match(&linear.tensor),
        _ => recipe.lm_head || include.is_match(&linear.tensor),
    };
    let linears: Vec<_> = model.optional_linear_weights().iter().filter(requested).collect();
    let tensor = linears.first().map(|linear| linear.tensor.as_str());
    if let Some((embedding, head)) = model.tied()
        && let Some(tensor) = tensor.or(recipe.lm_head.then_some(head))
    {
        return Err(Error::Refused(format!(
            "tensor `{tensor}` cannot be quantized: `{embedding}` and `{head}` are tied, and runtimes \
             expect one dense matrix for both"
        )));
    }
    Ok(linears.into_iter())
}

/// Sites that must share a scheme, together; the order of the first members is kept.
fn fused_groups<'a>(linears: &[&'a LinearWeight]) -> Vec<Vec<&'a LinearWeight>> {
    let mut groups: Vec<Vec<&LinearWeight>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for linear in linears {
        let place = linear.fused.as_deref().and_then(|group| places.get(group));
        match place {
            Some(&place) => groups[place].push(linear),
            None => {
                if let Some(group) = linear.fused.as_deref() {
                    places.insert(group, groups.len());
                }
                groups.push(vec![linear]);
            }
        }
    }
    groups
}

fn choose(
    members: &[&LinearWeight],
    recipe: &Recipe,
    selection: &mut Selection,
) -> Result<(), Error> {
    if let Some(scheme) = own_scheme(members, recipe)? {
        let tensors = members.iter().map(|linear| (linear.tensor.clone(), scheme));
        selection.schemes.extend(tensors);
        return Ok(());
    }
    let columns: Vec<usize> = members.iter().map(|linear| linear.view.columns()).collect();
    let requested = recipe.scheme;
    let granularity = recipe
        .group_size
        .granularity(requested, &columns)
        .ok_or_else(|| undivided(members, recipe.group_size))?;
    let scheme = Scheme { granularity, ..requested };
    for linear in members {
        if recipe.group_size == GroupSize::Auto
            && matches!(requested.granularity, Granularity::Group(_))
            && granularity == Granularity::Channel
        {
            let why = format!(
                "a scale per channel, because none of {:?} divides a row of {} columns",
                GroupSize::AUTO,
                linear.view.columns()
            );
            selection.fallbacks.push(Fallback { tensor: linear.tensor.clone(), why });
        }
        selection.schemes.insert(linear.tensor.clone(), scheme);
    }
    Ok(())
}

/// The scheme of its own that the recipe gives to a fused group, if it does.
fn own_scheme(members: &[&LinearWeight], recipe: &Recipe) -> Result<Option<Scheme>, Error> {
    let scheme_of = |linear: &LinearWeight| recipe.schemes.get(&linear.tensor).copied();
    let Some(first) = members.first() else { return Ok(None) };
    let scheme = scheme_of(first);
    match members.iter().find(|linear| scheme_of(linear) != scheme) {
        None => Ok(scheme),
        Some(other) => Err(Error::Refused(format!(
            "`{}` and `{}` are given different schemes, and runtimes fuse them into one matrix",
            first.tensor, other.tensor
        ))),
    }
}

fn undivided(members: &[&LinearWeight], size: GroupSize) -> Error {
    let GroupSize::Columns(size) = size else {
        return Error::Refused("a scale per channel fits every row".to_owned());
    };
    let linear = members
        .iter()
        .find(|linear| size == 0 || !linear.view.columns().is_multiple_of(size))
        .unwrap_or(&members[0]);
    let divides =
        |candidate: &usize| members.iter().all(|linear| linear.view.columns() % candidate == 0);
    let fitting: Vec<String> =
        [256, 128, 64, 32, 16].iter().filter(|size| divides(size)).map(usize::to_string).collect();
    Error::RefusedWithHint {
        what: format!(
            "a group size of {size} does not divide the {} columns of tensor `{}`",
            linear.view.columns(),
            linear.tensor
        ),
        hint: match fitting.as_slice() {
            [] => "`--group-size channel` fits every row".to_owned(),
            sizes => format!("{} divide them, and `channel` fits every row", sizes.join(", ")),
        },
    }
}

/// What the runtimes asked for cannot run.
fn refusals(model: &Model, recipe: &Recipe, selection: &Selection) -> Refusals {
    let groups = Groups::of(model);
    let mut refusals = Refusals::default();
    // Ordinary weights need no kernel and fuse with any others: only whose files are read matters.
    if recipe.format.is_dense() {
        let unread = recipe.runtimes.iter().filter_map(|&runtime| check_dense(runtime));
        unread.for_each(|refusal| refusals.add(refusal));
        return refusals;
    }
    for &runtime in &recipe.runtimes {
        let stacked = model.stacked_modules().into_iter();
        stacked
            .filter_map(|module| check_stacked(runtime, model.model_type(), module))
            .for_each(|refusal| refusals.add(refusal));
        for (linear, scheme) in selection.linears(model) {
            let facts = groups.facts(linear, recipe.tensor_parallel);
            check(runtime, &scheme, &facts).into_iter().for_each(|refusal| refusals.add(refusal));
            if linear.role == Role::Embedding {
                let refusal = check_embedding(runtime, &scheme, &linear.module, model.model_type());
                refusal.into_iter().for_each(|refusal| refusals.add(refusal));
            }
        }
        // Transformers fuses nothing.
        if runtime != Runtime::Transformers {
            split(&groups, runtime, selection).for_each(|refusal| refusals.add(refusal));
        }
    }
    refusals
}

/// Each rule that is broken, with the first that breaks it and how many others do: there may be one
/// for every tensor of the model.
#[derive(Default)]
struct Refusals {
    rules: BTreeMap<String, (String, usize)>,
    hints: BTreeSet<String>,
}

impl Refusals {
    fn add(&mut self, Refusal { what, why, hint, .. }: Refusal) {
        self.hints.extend(hint);
        match self.rules.get_mut(&why) {
            // A rule about the scheme is broken alike by every site.
            Some((first, _)) if *first == what => {}
            Some((_, more)) => *more += 1,
            None => drop(self.rules.insert(why, (what, 0))),
        }
    }

    /// One error for all of them.
    fn into_result(mut self) -> Result<(), Error> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let lines = self.rules.iter().map(|(why, (first, more))| match more {
            0 => format!("{first}: {why}"),
            more => format!("{first} (and {more} more): {why}"),
        });
        let what = lines.collect::<Vec<_>>().join("\n  ");
        let general = "`--runtime` says whose rules hold, `--exclude` leaves tensors as they are";
        self.hints.insert(general.to_owned());
        let hint = self.hints.into_iter().collect::<Vec<_>>().join("\n      ");
        Err(Error::RefusedWithHint { what, hint })
    }
}

/// Refuses groups of which some members are quantized and others stay dense.
fn split(
    groups: &Groups<'_>,
    runtime: Runtime,
    selection: &Selection,
) -> impl Iterator<Item = Refusal> {
    groups.members().filter_map(move |members| {
        let is_dense = |linear: &&&LinearWeight| selection.scheme_of(&linear.tensor).is_none();
        let dense = members.iter().find(is_dense)?;
        let quantized = members.iter().find(|linear| !is_dense(linear))?;
        Some(Refusal {
            runtime,
            what: format!("`{}` is quantized while `{}` is not", quantized.module, dense.module),
            why: format!("{runtime} fuses them into one matrix, whose parts must share a scheme"),
            hint: Some("include or exclude the members of a fused group together".to_owned()),
        })
    })
}

#[cfg(test)]
mod tests;
