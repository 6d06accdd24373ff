//! The shape nearest to a sparsity.

use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, AxisError, Shape, Units};
use llmopt_run::Error;

/// A shape, and the share of the blocks' parameters that it removes.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) shape: Shape,
    pub(super) sparsity: f64,
    /// What widths are multiples of.
    pub(super) align: usize,
}

/// The shape along `axes` that comes nearest to removing `sparsity` of the blocks' parameters.
///
/// # Errors
/// A refusal if an axis cannot be pruned, or nothing comes within two points.
pub(super) fn nearest(
    model: &Model,
    axes: &[Axis],
    sparsity: f64,
    align: Option<usize>,
) -> Result<Reached, Error> {
    if !(sparsity > 0.0 && sparsity <= MOST) {
        return Err(Error::RefusedWithHint {
            what: format!(
                "`--sparsity {sparsity}` is out of range, expected more than 0 and at most {MOST}"
            ),
            hint: "0.2 removes a fifth of the blocks' parameters".to_owned(),
        });
    }
    let facts = axes.iter().map(|&axis| Ok((axis, model.prunable(axis)?.units)));
    let facts = facts.collect::<Result<Vec<_>, AxisError>>().map_err(refused)?;
    let units = |wanted| facts.iter().find(|(axis, _)| *axis == wanted).map(|(_, units)| &**units);
    let (ffn, heads) = (units(Axis::Ffn), units(Axis::Heads).and_then(<[Units]>::first));
    let align = align.unwrap_or_else(|| usual_align(model, ffn.unwrap_or_default()));
    let whole = model.shape().map_err(refused)?;
    let layers = units(Axis::Layers).and_then(<[Units]>::first);
    let depths = match layers {
        Some(layers) => depths_near(layers.count, sparsity, axes.len() > 1),
        None => vec![whole.layers.len()],
    };
    let groups = match heads {
        Some(heads) => counts_near(heads, sparsity, axes.len() > 1),
        None => vec![whole.groups],
    };
    let shapes = depths.into_iter().flat_map(|depth| {
        // Any layers stand for those that will stay, as far as sizes go.
        let layers: Vec<usize> = whole.layers[..depth].to_vec();
        groups.iter().map(move |&groups| (layers.clone(), groups))
    });
    let candidates: Vec<Shape> = shapes
        .flat_map(|(layers, groups)| {
            let shape = Shape { groups, layers, ..whole.clone() };
            match ffn {
                Some(units) => narrowed(model, &shape, units, sparsity, align),
                None => vec![shape],
            }
        })
        .collect();
    let mut reachable: Vec<(f64, Shape)> =
        candidates.into_iter().map(|shape| (model.sparsity(&shape), shape)).collect();
    reachable.retain(|(reached, _)| *reached > 0.0);
    reachable.sort_by(|a, b| (a.0 - sparsity).abs().total_cmp(&(b.0 - sparsity).abs()));
    let near = reachable.first().filter(|(reached, _)| (reached - sparsity).abs() <= TOLERANCE);
    let Some((reached, best)) = near.cloned() else {
        return Err(unreachable(axes, sparsity, &reachable, align));
    };
    model.narrowed(&best).map_err(refused)?;
    Ok(Reached { shape: best, sparsity: reached, align })
}

/// Counts of groups to try: those that loaders accept; beside another axis, the one nearest to an equal
/// share of both.
fn counts_near(heads: &Units, sparsity: f64, beside: bool) -> Vec<usize> {
    let wanted = heads.count as f64 * (1.0 - sparsity);
    let off = |&count: &usize| (count as f64 - wanted).abs();
    let counts = heads.counts().filter(|&count| count < heads.count);
    match beside {
        true => counts.min_by(|a, b| off(a).total_cmp(&off(b))).into_iter().collect(),
        false => counts.collect(),
    }
}

/// Numbers of layers to try; beside other axes, the one that removes as large a share of the layers as
/// the others then remove of what is left.
fn depths_near(layers: usize, sparsity: f64, beside: bool) -> Vec<usize> {
    match beside {
        true => {
            let depth = (layers as f64 * (1.0 - sparsity).sqrt()).round() as usize;
            vec![depth.clamp(1, (layers - 1).max(1))]
        }
        false => (1..layers).collect(),
    }
}

/// The two shapes around `sparsity`, with all widths reduced alike.
fn narrowed(
    model: &Model,
    shape: &Shape,
    units: &[Units],
    sparsity: f64,
    align: usize,
) -> Vec<Shape> {
    let widest = units.iter().map(|units| units.count).max().unwrap_or(0);
    let at = |steps: usize| {
        let share = (steps * align) as f64 / widest.max(1) as f64;
        let width = |units: &Units| {
            let width = (units.count as f64 * share / align as f64).round() as usize * align;
            (units.size, width.clamp(align.min(units.count), units.count))
        };
        Shape { widths: units.iter().map(width).collect(), ..shape.clone() }
    };
    // What is removed falls with every step of width.
    let (mut low, mut high) = (1, widest.div_ceil(align).max(1));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match model.sparsity(&at(middle)) > sparsity {
            true => low = middle,
            false => high = middle,
        }
    }
    vec![at(low), at(high)]
}

/// 32, halved down to 8 until one step is at most a hundredth of a block.
fn usual_align(model: &Model, units: &[Units]) -> usize {
    let per_step = |align: usize| {
        let parameters = |units: &Units| units.parameters * (units.places * align) as u64;
        let step: u64 = units.iter().map(parameters).sum();
        step as f64 / model.block_parameters().max(1) as f64
    };
    [32, 16].into_iter().find(|&align| per_step(align) <= COARSEST_STEP).unwrap_or(8)
}

fn unreachable(axes: &[Axis], requested: f64, reachable: &[(f64, Shape)], align: usize) -> Error {
    let names: Vec<&str> = axes.iter().map(|axis| axis.name()).collect();
    let mut near: Vec<f64> = reachable.iter().map(|(reached, _)| *reached).take(SHOWN).collect();
    near.sort_by(f64::total_cmp);
    near.dedup();
    let near: Vec<String> = near.into_iter().map(|reached| format!("{reached:.4}")).collect();
    let steps = match axes.contains(&Axis::Ffn) {
        true => format!(" in steps of {align}"),
        false => String::new(),
    };
    let nearest = match near.as_slice() {
        [] => "nothing is".to_owned(),
        near => format!("within reach: {}", near.join(", ")),
    };
    let what = format!(
        "`--sparsity {requested}` cannot be reached along {}{steps}; {nearest}",
        names.join(" and ")
    );
    Error::RefusedWithHint {
        what,
        hint: "ask for one of these, or for a smaller `--align` or other `--axes`".to_owned(),
    }
}

/// What forbids an axis.
pub(super) fn refused(error: AxisError) -> Error {
    match error.hint() {
        Some(hint) => Error::RefusedWithHint { what: error.to_string(), hint: hint.to_owned() },
        None => Error::Refused(error.to_string()),
    }
}

/// Beyond it, nothing that is left is worth a model.
const MOST: f64 = 0.9;
/// As many that can be reached are named.
const SHOWN: usize = 4;
/// How far what is reached may be from what was asked for.
pub(super) const TOLERANCE: f64 = 0.02;
/// A step of width is at most this share of a block's parameters, where alignment allows.
const COARSEST_STEP: f64 = 0.01;
