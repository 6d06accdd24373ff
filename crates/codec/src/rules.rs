//! What runtimes can load and run. The facts are those of Transformers 5.17 with compressed-tensors
//! 0.19, vLLM 0.33 and SGLang 0.5.

use crate::{Runtime, for_scheme};
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
    let broken = site_rules(runtime).iter().filter_map(|rule| rule(scheme, facts));
    let refusals = broken.map(|broken| Refusal {
        runtime,
        what: format!("`{}` {}", facts.module, broken.what),
        why: format!("{runtime} {}", broken.rule),
        hint: broken.hint,
    });
    check_scheme(runtime, scheme).into_iter().chain(refusals).collect()
}

/// All that keeps `runtime` from running any matrix with `scheme`.
pub fn check_scheme(runtime: Runtime, scheme: &Scheme) -> Vec<Refusal> {
    let broken = scheme_rules(runtime).iter().filter_map(|rule| rule(scheme));
    let refusal = |rule| Refusal {
        runtime,
        what: scheme.to_string(),
        why: format!("{runtime} {rule}"),
        hint: alternatives(scheme),
    };
    broken.map(refusal).collect()
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
    let runs = |runtime: &Runtime| scheme_rules(*runtime).iter().all(|rule| rule(scheme).is_none());
    Runtime::ALL.into_iter().filter(runs).collect()
}

fn alternatives(scheme: &Scheme) -> Option<String> {
    let names: Vec<_> = runtimes_for(scheme).into_iter().map(Runtime::name).collect();
    (!names.is_empty()).then(|| format!("it runs with `--runtime {}`", names.join(",")))
}

/// Says of a scheme what the runtime does instead.
type SchemeRule = fn(&Scheme) -> Option<&'static str>;

fn scheme_rules(runtime: Runtime) -> &'static [SchemeRule] {
    match runtime {
        Runtime::Transformers => &[],
        Runtime::Vllm | Runtime::Sglang => &[widths, zero_points, group_sizes, block_sizes],
        Runtime::LlamaCpp => &[|_| unread(Runtime::LlamaCpp)],
        Runtime::Mlx => &[|_| unread(Runtime::Mlx)],
    }
}

/// Says of a runtime that cannot read what is written which files it reads.
fn unread(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Transformers | Runtime::Vllm | Runtime::Sglang => None,
        Runtime::LlamaCpp => Some("loads GGUF files, and these are not written yet"),
        Runtime::Mlx => Some("loads MLX folders, and these are not written yet"),
    }
}

fn widths(scheme: &Scheme) -> Option<&'static str> {
    // SGLang refuses others by name. vLLM reads 2 to 8 bits and then finds no kernel: Humming has
    // them, but is a package of its own.
    (!has_kernels(scheme.weights))
        .then_some("has kernels for integer weights of 4 and 8 bits alone")
}

fn has_kernels(numeric: Numeric) -> bool {
    matches!(numeric, Numeric::E4m3 | Numeric::Int { bits: 4 | 8 })
}

fn zero_points(scheme: &Scheme) -> Option<&'static str> {
    // Marlin takes zero points of 4 bits. In vLLM, Machete, Conch and Humming take 8, but the first
    // wants a Hopper GPU and the others are packages of their own.
    (!scheme.symmetric && has_kernels(scheme.weights) && scheme.weights.bits() != 4)
        .then_some("has kernels for zero points of 4 bits; others need special devices or packages")
}

fn group_sizes(scheme: &Scheme) -> Option<&'static str> {
    matches!(scheme.granularity, Granularity::Group(size) if !GROUP_SIZES.contains(&size))
        .then_some("has kernels for groups of 32, 64 or 128, and for whole rows (`channel`)")
}

fn block_sizes(scheme: &Scheme) -> Option<&'static str> {
    let Granularity::Block { rows, columns } = scheme.granularity else { return None };
    ((rows, columns) != (128, 128)).then_some("has kernels for blocks of 128 by 128")
}

/// A rule about one matrix, and how it is broken.
type SiteRule = fn(&Scheme, &Facts<'_>) -> Option<Broken>;

struct Broken {
    what: String,
    rule: String,
    hint: Option<String>,
}

fn site_rules(runtime: Runtime) -> &'static [SiteRule] {
    match runtime {
        Runtime::Transformers => &[whole_groups, whole_activation_groups, stacked_experts],
        Runtime::Vllm | Runtime::Sglang => &[
            whole_groups,
            whole_activation_groups,
            split_columns,
            split_rows,
            merged_blocks,
            experts_with_zero_points,
        ],
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

fn experts_with_zero_points(scheme: &Scheme, facts: &Facts<'_>) -> Option<Broken> {
    (facts.expert && !scheme.symmetric).then(|| Broken {
        what: "is an expert".to_owned(),
        rule: "runs experts without zero points".to_owned(),
        hint: Some("leave out `--asymmetric`".to_owned()),
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
mod tests {
    use super::*;

    fn facts(rows: usize, columns: usize) -> Facts<'static> {
        Facts { module: "m", rows, columns, fused: None, expert: false, tp: 1 }
    }

    fn preset(name: &str) -> Scheme {
        Scheme::preset(name).expect("a preset")
    }

    fn grouped(size: usize) -> Scheme {
        Scheme { granularity: Granularity::Group(size), ..preset("w4a16") }
    }

    fn asymmetric(name: &str) -> Scheme {
        Scheme { symmetric: false, ..preset(name) }
    }

    #[test]
    fn each_rule_names_what_breaks_it_and_what_would_do() {
        let check = |runtime: Runtime, scheme, facts: Facts<'_>, expected: &[&str]| {
            let refusals = super::check(runtime, &scheme, &facts).into_iter();
            let text = |r: Refusal| {
                let hint = r.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}: {}{hint}", r.what, r.why)
            };
            assert_eq!(refusals.map(text).collect::<Vec<_>>(), expected);
        };
        use Runtime::{LlamaCpp, Transformers, Vllm};
        let expert = Facts { expert: true, ..facts(768, 2048) };
        let first = Some(Fused { position: 0, members: 3 });
        let last = Some(Fused { position: 2, members: 3 });

        check(Vllm, grouped(128), facts(64, 256), &[]);
        check(Transformers, preset("w3a16"), facts(64, 256), &[]);
        check(
            Vllm,
            asymmetric("w3a16"),
            facts(64, 256),
            &["w3a16 g128 asymmetric: vllm has kernels for integer weights of 4 and 8 bits alone \
               (it runs with `--runtime transformers`)"],
        );
        check(
            Vllm,
            asymmetric("w8a16"),
            facts(64, 256),
            &["w8a16 asymmetric: vllm has kernels for zero points of 4 bits; others need special \
               devices or packages (it runs with `--runtime transformers`)"],
        );
        check(
            Vllm,
            grouped(16),
            facts(64, 256),
            &["w4a16 g16: vllm has kernels for groups of 32, 64 or 128, and for whole rows \
               (`channel`) (it runs with `--runtime transformers`)"],
        );
        check(
            Vllm,
            grouped(128),
            facts(64, 4160),
            &["`m` has 4160 columns: vllm needs rows of whole groups of 128 (group sizes that \
               divide 4160: 64, 32, channel)"],
        );
        check(
            Vllm,
            grouped(128),
            Facts { tp: 8, ..facts(4096, 14_336 / 4) },
            &["`m` has 3584 columns: vllm splits them over 8 devices in groups of 128 (group \
               sizes that divide 448: 64, 32, channel)"],
        );
        check(Vllm, grouped(128), Facts { tp: 8, fused: first, ..facts(512, 3584) }, &[]);
        check(
            Vllm,
            preset("w8a8"),
            Facts { tp: 4, ..facts(64, 1026) },
            &["`m` has 1026 columns: vllm splits them evenly over 4 devices (tensor-parallel \
               degrees that do: 1, 2)"],
        );
        check(
            Vllm,
            grouped(32),
            Facts { tp: 2, fused: first, ..facts(96, 256) },
            &["`m` has 96 rows: vllm splits over 2 devices only multiples of 64 rows, in tiles"],
        );
        check(Vllm, grouped(32), facts(96, 256), &[]);
        check(Vllm, preset("fp8-block"), Facts { fused: last, ..facts(96, 128) }, &[]);
        check(
            Vllm,
            preset("fp8-block"),
            Facts { fused: first, ..facts(96, 128) },
            &["`m` has 96 rows: vllm merges it with others, and blocks of 128 must not cross the \
               seam (scales per channel (`fp8`) have no blocks)"],
        );
        check(Transformers, preset("fp8-block"), Facts { fused: first, ..facts(96, 128) }, &[]);
        check(
            Transformers,
            preset("fp8-block"),
            facts(128, 96),
            &["`m` has 96 columns: transformers quantizes activations in whole groups of 128 \
               (`fp8` quantizes activations per token, whatever their length)"],
        );
        check(
            Vllm,
            preset("fp8-block"),
            Facts { tp: 2, fused: last, ..facts(128, 128) },
            &["`m` has 128 rows: vllm splits over 2 devices only multiples of 256 rows, in blocks"],
        );
        check(Transformers, preset("w4a16"), expert, &[]);
        check(
            Transformers,
            preset("w8a8"),
            expert,
            &["`m` is an expert: transformers stacks experts as it loads them, and cannot load \
               those with int8 activations (symmetric integer weights and `fp8` load)"],
        );
        check(Vllm, preset("w8a8"), expert, &[]);
        check(
            Vllm,
            asymmetric("w4a16"),
            expert,
            &["`m` is an expert: vllm runs experts without zero points (leave out `--asymmetric`)"],
        );
        check(
            LlamaCpp,
            preset("fp8"),
            facts(64, 64),
            &["fp8: llama.cpp loads GGUF files, and these are not written yet (it runs with \
               `--runtime transformers,vllm,sglang`)"],
        );
    }

    #[test]
    fn dense_weights_are_refused_by_who_reads_other_files_alone() {
        let check = |runtime, expected: Option<&str>| {
            let refusal =
                check_dense(runtime).map(|found| format!("{}: {}", found.what, found.why));
            assert_eq!(refusal.as_deref(), expected, "{runtime}");
        };
        for runtime in [Runtime::Transformers, Runtime::Vllm, Runtime::Sglang] {
            check(runtime, None);
        }
        let gguf = "dense weights: llama.cpp loads GGUF files, and these are not written yet";
        check(Runtime::LlamaCpp, Some(gguf));
        let mlx = "dense weights: mlx loads MLX folders, and these are not written yet";
        check(Runtime::Mlx, Some(mlx));
    }

    #[test]
    fn experts_of_transformers_are_refused_as_it_fails_to_load_them() {
        let expert = Facts { expert: true, ..facts(768, 2048) };
        let loads = |scheme: Scheme| check(Runtime::Transformers, &scheme, &expert).is_empty();
        assert!(loads(preset("w8a16")) && loads(preset("w3a16")) && loads(preset("fp8")));
        assert!(!loads(asymmetric("w4a16")) && !loads(preset("fp8-block")));
    }

    #[test]
    fn runtimes_are_those_with_kernels_and_a_format() {
        let check = |scheme: Scheme, expected: &[&str]| {
            let names: Vec<_> = runtimes_for(&scheme).into_iter().map(Runtime::name).collect();
            assert_eq!(names, expected, "{scheme}");
        };
        for name in ["w8a16", "w4a16", "w8a8", "fp8", "fp8-block"] {
            check(preset(name), &["transformers", "vllm", "sglang"]);
        }
        for scheme in ["w3a16", "w2a16"].map(preset) {
            check(scheme, &["transformers"]);
            check(Scheme { symmetric: false, ..scheme }, &["transformers"]);
            check(Scheme { granularity: Granularity::Channel, ..scheme }, &["transformers"]);
        }
        check(asymmetric("w4a16"), &["transformers", "vllm", "sglang"]);
        check(Scheme { weights: Numeric::Int { bits: 5 }, ..grouped(64) }, &[]);
        check(asymmetric("w8a8"), &[]);
    }

    #[test]
    fn absurd_facts_are_no_panic() {
        for size in [0, 1, usize::MAX] {
            for runtime in Runtime::ALL {
                for scheme in [grouped(size), preset("fp8-block"), preset("w8a8")] {
                    for tp in [size, 2] {
                        super::check(
                            runtime,
                            &scheme,
                            &Facts { tp, ..facts(size, size - size / 3) },
                        );
                    }
                }
            }
        }
    }
}
