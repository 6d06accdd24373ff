//! What runtimes can load and run, matrix by matrix. The facts are those of Transformers 5.24 with
//! compressed-tensors 0.20, vLLM 0.33 on GPU and CPU, and SGLang 0.5.23.

mod embeddings;
mod kernels;

pub use embeddings::check_embedding;

use crate::{Runtime, for_scheme};
use kernels::{Groups, Kernels, kernels};
use llmopt_scheme::{Activations, Granularity, Numeric, Scheme};

/// What a runtime's rules ask about one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Path of its module.
    pub module: &'a str,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// Its place in a layer that runtimes merge, such as q, k and v. Tensor parallelism splits the
    /// rows of merged layers, and the columns of the others.
    pub fused: Option<Fused>,
    /// Whether it belongs to one expert of several.
    pub expert: bool,
    /// Tensor-parallel degree: how many devices share each matrix.
    pub tp: usize,
}

/// A place in a merged layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fused {
    /// Matrices stacked before this one.
    pub position: usize,
    /// Matrices in all.
    pub members: usize,
    /// Rows of all of them together.
    pub rows: usize,
}

/// A rule that would be broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Whose rule.
    pub runtime: Runtime,
    /// What breaks it: a scheme, or a module with its sizes.
    pub what: String,
    /// The rule, as a sentence that begins with the runtime.
    pub why: String,
    /// What would do instead.
    pub hint: Option<String>,
}

/// All that keeps `runtime` from running a matrix with `scheme`.
pub fn check(runtime: Runtime, scheme: &Scheme, facts: &Facts<'_>) -> Vec<Refusal> {
    let shapes = site_rules(runtime).iter().filter_map(|rule| rule(scheme, facts));
    let kernels = kernels(runtime).into_iter().flat_map(|kernels| {
        SITE_RULES_OF_KERNELS.iter().filter_map(|rule| rule(kernels, scheme, facts))
    });
    let refusals = shapes.chain(kernels).map(|broken| Refusal {
        runtime,
        what: format!("`{}` {}", facts.module, broken.what),
        why: format!("{runtime} {}", broken.rule),
        hint: broken.hint,
    });
    check_scheme(runtime, scheme).into_iter().chain(refusals).collect()
}

/// All that keeps `runtime` from running any matrix with `scheme`.
pub fn check_scheme(runtime: Runtime, scheme: &Scheme) -> Vec<Refusal> {
    let refusal = |rule: String| Refusal {
        runtime,
        what: scheme.to_string(),
        why: format!("{runtime} {rule}"),
        hint: alternatives(scheme),
    };
    broken_by_scheme(runtime, scheme).into_iter().map(refusal).collect()
}

/// What keeps `runtime` from loading ordinary weights, whatever scheme their values are on.
pub fn check_dense(runtime: Runtime) -> Option<Refusal> {
    let readers = Runtime::ALL.into_iter().filter(|&runtime| unread(runtime).is_none());
    let names: Vec<_> = readers.map(Runtime::name).collect();
    unread(runtime).map(|rule| Refusal {
        runtime,
        what: "dense weights".to_owned(),
        why: format!("{runtime} {rule}"),
        hint: Some(format!("they load with `--runtime {}`", names.join(","))),
    })
}

/// The runtimes that can run `scheme`; the shapes of a model may still rule one out.
pub fn runtimes_for(scheme: &Scheme) -> Vec<Runtime> {
    let columns = match scheme.granularity {
        Granularity::Group(size) => size,
        Granularity::Channel | Granularity::Block { .. } => 1,
    };
    if for_scheme(scheme).layout(scheme, llmopt_tensor::Dtype::F32, 1, columns).is_err() {
        return Vec::new();
    }
    let runs = |runtime: &Runtime| broken_by_scheme(*runtime, scheme).is_empty();
    Runtime::ALL.into_iter().filter(runs).collect()
}

fn alternatives(scheme: &Scheme) -> Option<String> {
    let names: Vec<_> = runtimes_for(scheme).into_iter().map(Runtime::name).collect();
    (!names.is_empty()).then(|| format!("it runs with `--runtime {}`", names.join(",")))
}

/// What the runtime does instead, once for each rule that the scheme breaks.
fn broken_by_scheme(runtime: Runtime, scheme: &Scheme) -> Vec<String> {
    let unread = unread(runtime).map(str::to_owned);
    let kernels = kernels(runtime);
    let limits = kernels.into_iter().flat_map(|kernels| {
        [widths, zero_points, group_sizes, block_sizes].map(|rule| rule(kernels, scheme))
    });
    unread.into_iter().chain(limits.flatten()).collect()
}

/// Says of a runtime that cannot read what is written which files it reads.
fn unread(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Transformers | Runtime::Vllm | Runtime::VllmCpu | Runtime::Sglang => None,
        Runtime::LlamaCpp => Some("loads GGUF files, and these are not written yet"),
        Runtime::Mlx => Some("loads MLX folders, and these are not written yet"),
    }
}

/// The width of integer weights that are quantized alone.
fn width_alone(scheme: &Scheme) -> Option<u8> {
    match (scheme.weights, scheme.activations) {
        (Numeric::Int { bits }, Activations::None) => Some(bits),
        _ => None,
    }
}

fn widths(kernels: &Kernels, scheme: &Scheme) -> Option<String> {
    let bits = width_alone(scheme)?;
    (!kernels.widths.contains(&bits))
        .then(|| format!("has kernels for integer weights of {} bits alone", list(kernels.widths)))
}

fn zero_points(kernels: &Kernels, scheme: &Scheme) -> Option<String> {
    let bits = width_alone(scheme).filter(|bits| kernels.widths.contains(bits))?;
    (!scheme.symmetric && !kernels.zero_points.contains(&bits))
        .then(|| format!("has kernels for zero points of {} bits alone", list(kernels.zero_points)))
}

fn group_sizes(kernels: &Kernels, scheme: &Scheme) -> Option<String> {
    let Granularity::Group(size) = scheme.granularity else { return None };
    (!kernels.groups.takes(size)).then(|| {
        let sizes = match kernels.groups {
            Groups::Of(sizes) => format!("groups of {}", list(sizes)),
            Groups::Any | Groups::Even => "groups of even size".to_owned(),
        };
        format!("has kernels for {sizes}, and for whole rows (`channel`)")
    })
}

fn block_sizes(kernels: &Kernels, scheme: &Scheme) -> Option<String> {
    let Granularity::Block { rows, columns } = scheme.granularity else { return None };
    match kernels.blocks {
        false => Some("runs E4M3 with scales per channel (`fp8`), not per block".to_owned()),
        true if (rows, columns) == (128, 128) => None,
        true => Some("has kernels for blocks of 128 by 128".to_owned()),
    }
}

/// `4`, `4 and 8`, `32, 64 and 128`
fn list(numbers: &[impl ToString]) -> String {
    let names: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "no".to_owned(),
    }
}

/// A rule about one matrix, and how it is broken.
type SiteRule = fn(&Scheme, &Facts<'_>) -> Option<Broken>;

struct Broken {
    what: String,
    rule: String,
    hint: Option<String>,
}

/// A rule about one matrix that follows from a runtime's kernels.
type SiteRuleOfKernels = fn(&Kernels, &Scheme, &Facts<'_>) -> Option<Broken>;

const SITE_RULES_OF_KERNELS: [SiteRuleOfKernels; 4] =
    [whole_units, experts_with_zero_points, experts_per_channel, experts_in_e4m3];

fn site_rules(runtime: Runtime) -> &'static [SiteRule] {
    match runtime {
        Runtime::Transformers => &[whole_groups, whole_activation_groups, stacked_experts],
        Runtime::Vllm | Runtime::VllmCpu | Runtime::Sglang => {
            &[whole_groups, whole_activation_groups, split_columns, split_rows, merged_blocks]
        }
        Runtime::LlamaCpp | Runtime::Mlx => &[],
    }
}

fn whole_groups(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let Granularity::Group(size) = scheme.granularity else { return None };
    (!divides(size, facts.columns)).then(|| Broken {
        what: format!("has {} columns", facts.columns),
        rule: format!("needs rows of whole groups of {size}"),
        hint: Some(fitting_groups(facts.columns)),
    })
}

/// Activations are quantized in whole groups of a token's features.
fn whole_activation_groups(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let Activations::Fp8Group(size) = scheme.activations else { return None };
    (!divides(size, facts.columns)).then(|| Broken {
        what: format!("has {} columns", facts.columns),
        rule: format!("quantizes activations in whole groups of {size}"),
        hint: Some("`fp8` quantizes activations per token, whatever their length".to_owned()),
    })
}

fn split_columns(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let unit = match scheme.granularity {
        Granularity::Channel => 1,
        Granularity::Group(size) => size,
        Granularity::Block { columns, .. } => columns,
    };
    let (columns, tp) = (facts.columns, facts.tp);
    // What does not divide undivided is another rule's.
    if !facts.is_split() || facts.fused.is_some() || divides(unit.checked_mul(tp)?, columns) {
        return None;
    }
    let unsplit = matches!(scheme.granularity, Granularity::Group(_)) && !divides(unit, columns);
    (!unsplit).then(|| Broken {
        what: format!("has {columns} columns"),
        rule: match scheme.granularity {
            Granularity::Channel => format!("splits them evenly over {tp} devices"),
            Granularity::Group(_) => format!("splits them over {tp} devices in groups of {unit}"),
            Granularity::Block { .. } => {
                format!("splits them over {tp} devices in blocks of {unit}")
            }
        },
        hint: match (scheme.granularity, columns.checked_rem(tp)) {
            (Granularity::Group(_), Some(0)) => Some(fitting_groups(columns / tp)),
            _ => Some(fitting_degrees(columns, unit)),
        },
    })
}

fn split_rows(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let weights_alone = scheme.activations == Activations::None;
    let (unit, rule) = match (scheme.weights, scheme.granularity) {
        (_, Granularity::Block { rows, .. }) => (rows.checked_mul(facts.tp)?, "blocks"),
        // Marlin's tiles.
        (Numeric::Int { .. }, _) if weights_alone => (64, "tiles"),
        _ => (facts.tp, "equal parts"),
    };
    let concerned = facts.is_split() && (facts.fused.is_some() || rule == "tiles");
    (concerned && !divides(unit, facts.rows)).then(|| Broken {
        what: format!("has {} rows", facts.rows),
        rule: format!("splits over {} devices only multiples of {unit} rows, in {rule}", facts.tp),
        hint: None,
    })
}

fn merged_blocks(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let (Granularity::Block { rows, .. }, Some(fused)) = (scheme.granularity, facts.fused) else {
        return None;
    };
    let last = fused.position.saturating_add(1) >= fused.members;
    (!last && !divides(rows, facts.rows)).then(|| Broken {
        what: format!("has {} rows", facts.rows),
        rule: format!("merges it with others, and blocks of {rows} must not cross the seam"),
        hint: Some("scales per channel (`fp8`) have no blocks".to_owned()),
    })
}

fn stacked_experts(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let kind = match (scheme.weights, scheme.granularity) {
        _ if !scheme.symmetric => "zero points",
        (_, Granularity::Block { .. }) => "scales per block",
        (Numeric::Int { .. }, _) if scheme.activations != Activations::None => "int8 activations",
        _ => return None,
    };
    facts.expert.then(|| Broken {
        what: "is an expert".to_owned(),
        rule: format!("stacks experts as it loads them, and cannot load those with {kind}"),
        hint: Some("symmetric integer weights and `fp8` load".to_owned()),
    })
}

fn experts_with_zero_points(
    kernels: &Kernels,
    scheme: &Scheme,
    facts: &Facts<'_>,
) -> Option<Broken> {
    let refused = !scheme.symmetric && !kernels.experts.zero_points;
    (facts.expert && refused).then(|| Broken {
        what: "is an expert".to_owned(),
        rule: "runs experts without zero points".to_owned(),
        hint: Some("leave out `--asymmetric`".to_owned()),
    })
}

fn experts_per_channel(kernels: &Kernels, scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let bits = width_alone(scheme).filter(|_| scheme.granularity == Granularity::Channel)?;
    let takes = scheme.symmetric && kernels.experts.per_channel.contains(&bits);
    // Widths and zero points that it does not run at all are other rules'.
    let runs = kernels.widths.contains(&bits) && (scheme.symmetric || kernels.experts.zero_points);
    (facts.expert && runs && !takes).then(|| Broken {
        what: "is an expert".to_owned(),
        rule: format!(
            "runs experts with a scale per row only in {} bits and without zero points",
            list(kernels.experts.per_channel)
        ),
        hint: Some("give it groups, with `--group-size`".to_owned()),
    })
}

fn experts_in_e4m3(kernels: &Kernels, scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    let per_row = (scheme.weights, scheme.granularity) == (Numeric::E4m3, Granularity::Channel);
    (facts.expert && per_row && !kernels.experts.e4m3).then(|| Broken {
        what: "is an expert".to_owned(),
        rule: "has no kernels for experts in E4M3 with a scale per row".to_owned(),
        hint: Some("`w8a8` and `w4a16` have some, on CPUs with AMX".to_owned()),
    })
}

/// Rows and columns of what one device multiplies, with all that is merged into it.
fn whole_units(kernels: &Kernels, scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    width_alone(scheme).filter(|bits| kernels.widths.contains(bits))?;
    // Experts are stacked, not merged row by row.
    let merged = facts.fused.filter(|_| !facts.expert);
    let rows = merged.map_or(facts.rows, |fused| fused.rows);
    let (down, across) = if merged.is_some() { (facts.tp, 1) } else { (1, facts.tp) };
    let unit = kernels.unit;
    let fits = |length, parts: usize| divides(unit.saturating_mul(parts), length);
    (!fits(rows, down) || !fits(facts.columns, across)).then(|| Broken {
        what: match merged {
            Some(_) => format!("is merged to {rows} rows and {} columns", facts.columns),
            None => format!("has {rows} rows and {} columns", facts.columns),
        },
        rule: format!("needs rows and columns in multiples of {unit} on each device"),
        hint: Some("`w8a8` and `fp8` run there with any".to_owned()),
    })
}

impl Facts<'_> {
    fn is_split(&self) -> bool {
        self.tp > 1
    }
}

/// Whether `length` is a whole number of `unit`s.
fn divides(unit: usize, length: usize) -> bool {
    unit > 0 && length.is_multiple_of(unit)
}

/// Group sizes with kernels everywhere, largest first.
const GROUP_SIZES: [usize; 3] = [128, 64, 32];

fn fitting_groups(columns: usize) -> String {
    let sizes = GROUP_SIZES.iter().filter(|&&size| divides(size, columns));
    let names: Vec<_> = sizes.map(usize::to_string).chain(["channel".to_owned()]).collect();
    format!("group sizes that divide {columns}: {}", names.join(", "))
}

fn fitting_degrees(columns: usize, unit: usize) -> String {
    let splits = |degree: &usize| divides(unit.saturating_mul(*degree), columns);
    let degrees = [1usize, 2, 4, 8].into_iter().filter(splits);
    let names: Vec<_> = degrees.map(|degree| degree.to_string()).collect();
    match names.as_slice() {
        [] => "it cannot be split; leave out `--tp`".to_owned(),
        names => format!("tensor-parallel degrees that do: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
