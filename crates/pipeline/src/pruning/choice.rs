//! Which units of a group stay, and what the matrix that reads them becomes.

use crate::pruning::group::PruneGroup;
use crate::pruning::observe::Observed;
use crate::pruning::recipe::{PruneMethod, PruneRecipe};
use llmopt_linalg::Gemm;
use llmopt_prune::{
    Constant, Fluctuation, Moments, Refit, Regression, RegressionError, Search, Selection,
};
use llmopt_run::Error;
use llmopt_verify::{PrunedUnits, StepFacts};
use std::collections::BTreeMap;

/// What was decided for a group.
pub(super) struct Chosen {
    pub(super) facts: PrunedUnits,
    /// The reader's new weights, `[rows, kept columns]`; the old ones stay, if there are none.
    pub(super) weights: Option<Vec<f32>>,
    /// What is added to its bias.
    pub(super) bias: Option<Vec<f32>>,
    /// Other matrices with new values, by name.
    pub(super) moved: BTreeMap<String, Vec<f32>>,
}

/// Decides by `magnitudes`, one for each unit, and by what was `observed`.
pub(super) fn chosen(
    group: &PruneGroup,
    recipe: &PruneRecipe,
    gemm: Gemm,
    reader: &[f32],
    magnitudes: impl Fn() -> Result<Vec<f64>, Error>,
    observed: Option<&Observed>,
) -> Result<Chosen, Error> {
    let Some(observed) = observed else {
        return Ok(plain(group, highest(&magnitudes()?, group.keep), 0));
    };
    let tokens = observed.inputs.tokens();
    let fluctuation = || Fluctuation::new(tokens, &observed.sums, observed.inputs.squares());
    if let Some(why) = short(group, recipe, tokens) {
        if recipe.strict {
            let reader = &group.reader;
            return Err(Error::Refused(format!(
                "tensor `{reader}`: {why}, and `--strict` forbids it"
            )));
        }
        let mut chosen = plain(group, highest(&magnitudes()?, group.keep), tokens);
        chosen.facts.fallback = Some(why);
        return Ok(chosen);
    }
    let mean = |kept: &[usize]| {
        let gone = columns(&complement(kept, group.coupling.units), group.width());
        group.bias.is_some().then(|| fluctuation().bias(reader, &gone))
    };
    let simply = || -> Result<Vec<usize>, Error> {
        match recipe.method {
            _ if group.is_whole() => Ok((0..group.keep).collect()),
            PruneMethod::Magnitude => Ok(highest(&magnitudes()?, group.keep)),
            _ => Ok(highest(&fluctuation().scores(reader, group.width()), group.keep)),
        }
    };
    if !recipe.needs_gram() {
        let kept = simply()?;
        return Ok(Chosen { bias: mean(&kept), ..plain(group, kept, tokens) });
    }
    let fault = |error: RegressionError| Error::Input {
        what: format!("tensor `{}`: {error}", group.reader),
        hint: Some("`--method magnitude --no-refit` needs no moments".to_owned()),
    };
    let mut regression = prepared(group, gemm, reader, observed).map_err(fault)?;
    let (kept, selection) = match recipe.method {
        PruneMethod::Obs if !group.is_whole() => {
            let found = regression.select(group.width(), group.keep, &Search::default());
            let found = found.map_err(fault)?;
            (found.kept.clone(), Some(found))
        }
        _ => (simply()?, None),
    };
    let (weights, bias) = match recipe.refit {
        true => {
            let refit = regression.refit(&columns(&kept, group.width()));
            let Refit { weights, bias } = refit.map_err(fault)?;
            (Some(weights), bias)
        }
        false => (None, mean(&kept)),
    };
    let mut chosen = Chosen { weights, bias, ..plain(group, kept, tokens) };
    chosen.facts.damping = Some(regression.damping());
    if let Some(selection) = selection.filter(|_| recipe.refit) {
        tell(&mut chosen.facts, &selection, regression.energy());
    }
    Ok(chosen)
}

pub(super) fn prepared<'a>(
    group: &PruneGroup,
    gemm: Gemm,
    reader: &'a [f32],
    observed: &'a Observed,
) -> Result<Regression<'a>, RegressionError> {
    let residual = observed.residual.as_ref();
    let constant = group.bias.is_some().then(|| Constant {
        tokens: observed.inputs.tokens(),
        inputs: &observed.sums,
        residual: residual.map(|residual| &*residual.sums),
    });
    let moments = Moments {
        weights: reader,
        gram: observed.inputs.gram().expect("the method asked for it"),
        cross: None,
        residual: residual.map(|residual| residual.products.values()),
        constant,
    };
    // Inputs rounded to bf16 would show in directions that the units hardly use.
    Regression::prepare(gemm.in_f32(), &moments, DAMPING)
}

/// Why so few tokens tell nothing of an expert, if so.
fn short(group: &PruneGroup, recipe: &PruneRecipe, tokens: u64) -> Option<String> {
    let needed = if recipe.needs_gram() { group.columns as u64 } else { 2 };
    let expert = group.coupling.expert.filter(|_| tokens < needed)?;
    Some(format!(
        "by magnitude, and not refitted: expert {expert} saw {tokens} tokens of {needed} needed"
    ))
}

fn plain(group: &PruneGroup, kept: Vec<usize>, tokens: u64) -> Chosen {
    let coupling = &group.coupling;
    let facts = PrunedUnits {
        layer: coupling.layer,
        expert: coupling.expert,
        axis: group.axis.name().to_owned(),
        reader: group.reader.clone(),
        stands_for: group.stands_for.clone(),
        units: coupling.units,
        kept,
        tokens,
        loss: None,
        curve: Vec::new(),
        swaps: None,
        damping: None,
        moved: None,
        fallback: None,
    };
    Chosen { facts, weights: None, bias: None, moved: BTreeMap::new() }
}

fn tell(facts: &mut PrunedUnits, selection: &Selection, energy: f64) {
    let share = |loss: f64| if energy > 0.0 { loss / energy } else { 0.0 };
    facts.loss = Some(share(selection.loss));
    let points = selection.curve.len().div_ceil(CURVE_POINTS).max(1);
    let last = selection.curve.len().saturating_sub(1);
    let shown = selection.curve.iter().enumerate();
    let shown = shown.filter(|(number, _)| number % points == 0 || *number == last);
    facts.curve =
        shown.map(|(_, step)| StepFacts { kept: step.kept, loss: share(step.loss) }).collect();
    facts.swaps = Some(selection.swaps);
}

/// The units with the highest scores, ascending; of equal ones the first.
fn highest(scores: &[f64], keep: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(keep);
    order.sort_unstable();
    order
}

fn complement(kept: &[usize], units: usize) -> Vec<usize> {
    (0..units).filter(|unit| kept.binary_search(unit).is_err()).collect()
}

/// The columns of some units.
fn columns(units: &[usize], width: usize) -> Vec<usize> {
    units.iter().flat_map(|unit| unit * width..(unit + 1) * width).collect()
}

/// Relative to the mean of the Gram matrix's diagonal.
const DAMPING: f64 = 1e-3;
/// Points of a curve that a report has.
const CURVE_POINTS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_stay_in_ascending_order_and_the_first_of_equals() {
        assert_eq!(highest(&[1.0, 3.0, 2.0, 3.0], 2), [1, 3]);
        assert_eq!(highest(&[1.0, 1.0, 1.0], 2), [0, 1]);
        assert_eq!(complement(&[1, 3], 5), [0, 2, 4]);
        assert_eq!(columns(&[0, 2], 2), [0, 1, 4, 5]);
    }
}
