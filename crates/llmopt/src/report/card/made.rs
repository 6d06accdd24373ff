//! What the record of an artifact says of how it was made.

use crate::loading::{Loadable, ZeroPoints};
use crate::print;
use crate::report::markdown::code;
use crate::units;
use llmopt_pipeline::{Runtime, Scheme};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A record, and those of the artifacts that it was made from.
pub(super) struct Made<'a> {
    /// The first was made from the original; the last is the artifact's own.
    stages: Vec<&'a Value>,
    record: &'a Value,
}

impl<'a> Made<'a> {
    pub(super) fn new(record: &'a Value) -> Self {
        let earlier = std::iter::successors(Some(record), |record| record.get("made_from"));
        let mut stages: Vec<&Value> =
            earlier.filter(|stage| stage.is_object()).take(MOST_STAGES).collect();
        stages.reverse();
        Self { stages, record }
    }

    /// The records from the one of what was made from the original on.
    pub(super) fn stages(&self) -> &[&'a Value] {
        &self.stages
    }

    /// `llmopt 0.1.0`
    pub(super) fn tool(&self) -> String {
        let text = |key| self.record.get(key).and_then(Value::as_str).unwrap_or("");
        print::one_line(&format!("{} {}", text("tool"), text("version")))
    }

    /// Bytes of the artifact's weights.
    pub(super) fn bytes_after(&self) -> Option<u64> {
        self.record.get("bytes_after")?.as_u64()
    }

    pub(super) fn is_quantized(&self) -> bool {
        self.scheme().is_some()
    }

    pub(super) fn is_pruned(&self) -> bool {
        self.stages.iter().any(|stage| sparsity(stage).is_some())
    }

    /// The scheme asked for.
    fn scheme(&self) -> Option<Scheme> {
        serde_json::from_value(self.record.pointer("/recipe/scheme")?.clone()).ok()
    }

    fn is_packed(&self) -> bool {
        let format = self.record.pointer("/recipe/format").and_then(Value::as_str);
        self.is_quantized() && format == Some("compressed-tensors")
    }

    /// What the hub finds it by.
    pub(super) fn tags(&self) -> Vec<String> {
        let mut tags = vec!["llmopt".to_owned()];
        if self.is_packed() {
            tags.push("compressed-tensors".to_owned());
        }
        if let Some(scheme) = self.scheme() {
            let name = scheme.name();
            tags.push(match name.starts_with("fp8") {
                true => "fp8".to_owned(),
                false => format!("int{}", scheme.weights.bits()),
            });
            tags.push(name);
        }
        if self.is_pruned() {
            tags.push("pruned".to_owned());
        }
        tags.dedup();
        tags
    }

    /// Lines on what was done, each beginning with what it is about.
    pub(super) fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        facts.extend(self.size());
        facts.extend(self.bits());
        facts.extend(self.schemes_told());
        facts.extend(self.stages.iter().filter_map(|stage| removed(stage)));
        facts.extend(self.stages.iter().filter_map(|stage| calibrated(stage)));
        facts.extend(self.fallbacks());
        facts
    }

    fn size(&self) -> Option<String> {
        let after = self.bytes_after()?;
        let before = self.stages.iter().find_map(|stage| stage.get("bytes_before")?.as_u64());
        Some(match before {
            Some(before) => format!(
                "size: {} of weights, which were {} ({})",
                units::bytes(after),
                units::bytes(before),
                units::share(after, before)
            ),
            None => format!("size: {} of weights", units::bytes(after)),
        })
    }

    fn bits(&self) -> Option<String> {
        let all = self.record.get("bits_per_weight")?.as_f64()?;
        let linears = self.record.get("linear_bits_per_weight").and_then(Value::as_f64);
        Some(format!("bits per weight: {}", units::bits_per_weight(linears, all)))
    }

    /// How many matrices have which scheme, the most common first.
    fn schemes_told(&self) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, scheme) in self.quantized() {
            *counts.entry(scheme).or_default() += 1;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let told: Vec<String> = counts
            .into_iter()
            .take(MOST_SCHEMES)
            .map(|(scheme, count)| format!("{} in {}", code(scheme), units::matrices(count)))
            .collect();
        (!told.is_empty()).then(|| format!("schemes: {}", told.join(", ")))
    }

    /// Each quantized tensor and how.
    fn quantized(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let tensors = self.record.get("tensors").and_then(Value::as_array).into_iter().flatten();
        let quantized = tensors.filter(|tensor| tensor.get("relative_error").is_some());
        quantized.filter_map(|tensor| {
            Some((tensor.get("name")?.as_str()?, tensor.get("what")?.as_str()?))
        })
    }

    fn fallbacks(&self) -> Option<String> {
        let count = self.record.get("fallbacks")?.as_array()?.len();
        (count > 0).then(|| {
            let layers = units::counted(count, "fallback");
            format!("{layers}: what got something else than was asked for, `llmopt.json` lists")
        })
    }

    /// The runtimes that it was checked for, without those that stop at what the family does not have.
    pub(super) fn runtimes(&self) -> Vec<Runtime> {
        let names = |pointer: &str| {
            let list = self.record.pointer(pointer).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let stop = names("/unknown_tensors/stop");
        let known = |name: &str| Runtime::ALL.into_iter().find(|runtime| runtime.name() == name);
        let asked = names("/recipe/runtimes").into_iter().filter_map(known);
        asked.filter(|runtime| !stop.contains(&runtime.name())).collect()
    }

    /// The artifact as loaders take it.
    pub(super) fn loadable<'n>(&self, path: &'n str) -> Loadable<'n> {
        let schemes: BTreeSet<&str> = self.quantized().map(|(_, scheme)| scheme).collect();
        let symmetric = self.scheme().is_none_or(|scheme| scheme.symmetric);
        Loadable {
            path,
            zero_points: match (self.is_packed() && !symmetric, schemes.len() > 1) {
                (false, _) => ZeroPoints::No,
                (true, false) => ZeroPoints::OneScheme,
                (true, true) => ZeroPoints::SeveralSchemes,
            },
            has_experts: self.quantized().any(|(name, _)| name.contains(".experts.")),
        }
    }
}

/// The share that a stage removed.
pub(super) fn sparsity(stage: &Value) -> Option<f64> {
    stage.get("sparsity")?.as_f64()
}

fn removed(stage: &Value) -> Option<String> {
    let sparsity = sparsity(stage)?;
    let axes = stage.get("axes").and_then(Value::as_array).into_iter().flatten();
    let axes: Vec<String> = axes.filter_map(Value::as_str).map(code).collect();
    let along =
        if axes.is_empty() { String::new() } else { format!(", along {}", axes.join(" and ")) };
    Some(format!("pruned: {} of the blocks' parameters{along}", units::percent(sparsity)))
}

fn calibrated(stage: &Value) -> Option<String> {
    let data = stage.get("calibration")?;
    let number = |key| data.get(key).and_then(Value::as_u64);
    let list = |key| data.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<String> = Vec::new();
    for name in list("sources").filter_map(|source| source.get("name")?.as_str()).map(code) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let what = if sparsity(stage).is_some() { "pruned" } else { "quantized" };
    Some(format!(
        "{what} on: {} windows of {} tokens of {}",
        units::count(number("windows")?),
        units::count(number("window")?),
        names.join(", ")
    ))
}

/// No chain of artifacts is longer.
const MOST_STAGES: usize = 16;
/// As many are told.
const MOST_SCHEMES: usize = 8;
