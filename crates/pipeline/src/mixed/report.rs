//! What was found: every unit with what it got and why, and every allocation that was measured.

use crate::ladder::judges::JudgedText;
use crate::method::Method;
use crate::mixed::plan::{MixedPlan, method_of_choices};
use crate::mixed::request::Goal;
use crate::mixed::search::Tried;
use crate::mixed::table::{Known, Table};
use llmopt_eval::Estimate;
use serde::Serialize;

/// How schemes were allocated.
#[derive(Clone, Debug, Serialize)]
pub struct MixedReport {
    /// What the artifact had to meet.
    pub goal: Goal,
    /// The candidate that was taken.
    pub chosen: String,
    /// Whether that is a uniform choice, which no allocation has beaten.
    pub is_uniform: bool,
    /// How all choices were solved for.
    pub method_of_choices: Method,
    /// Tokens that units were probed on.
    pub probing_tokens: usize,
    /// What allocations were judged on.
    pub judged_on: JudgedText,
    /// The units, in the order of execution.
    pub units: Vec<MixedUnit>,
    /// Everything that was measured, in order.
    pub candidates: Vec<MixedCandidate>,
}

/// Matrices with one scheme.
#[derive(Clone, Debug, Serialize)]
pub struct MixedUnit {
    /// The module into which runtimes fuse them, or the only matrix's.
    pub name: String,
    /// The layer that it is in; none, if it spans several.
    pub layer: Option<usize>,
    /// The choice that it got.
    pub choice: String,
    /// Bits of its weights, scales included.
    pub bits: f64,
    /// The choice with which it alone was changed.
    pub probed: String,
    /// The KL divergence that this caused, in nats.
    pub probe_kld: f64,
    /// Everything that it could have got, the smallest first.
    pub choices: Vec<UnitChoice>,
}

/// A choice of a unit.
#[derive(Clone, Debug, Serialize)]
pub struct UnitChoice {
    /// Its name.
    pub choice: String,
    /// Bytes of the unit.
    pub bytes: u64,
    /// Squared relative error of the unit's outputs, or without calibration of its weights, to four digits. What a
    /// choice is expected to cost is the probe's KL divergence, times this, over that of the choice probed with.
    pub error: f64,
}

/// An allocation that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct MixedCandidate {
    /// How it was found.
    pub name: String,
    /// Whether it was solved for as an artifact of its own; composed of the choices' codes otherwise.
    pub solved: bool,
    /// Bytes of its units.
    pub bytes: u64,
    /// The KL divergence that the table expects, in nats; none of a choice that is not in it.
    pub expected: Option<f64>,
    /// Mean KL divergence from the original, in nats.
    pub kld: Estimate,
}

impl MixedReport {
    /// What is known before artifacts are solved for.
    pub(super) fn new(plan: &MixedPlan, table: &Table, tried: &[Tried]) -> Self {
        let candidate = |tried: &Tried| MixedCandidate {
            name: tried.name.clone(),
            solved: false,
            bytes: tried.bytes,
            expected: Some(table.expected(&tried.taken)),
            kld: tried.klds.mean(),
        };
        Self {
            goal: plan.request.recipe.goal,
            chosen: String::new(),
            is_uniform: false,
            method_of_choices: method_of_choices(&plan.request.recipe.recipe),
            probing_tokens: plan.probing.iter().map(Vec::len).sum(),
            judged_on: plan.judges.text.clone(),
            units: Vec::new(),
            candidates: tried.iter().map(candidate).collect(),
        }
    }

    /// With the units as an artifact has them: their bytes, and what the choice of each is called.
    pub(super) fn with_units(
        mut self,
        plan: &MixedPlan,
        table: &Table,
        bytes: &[u64],
        choice: impl Fn(usize) -> String,
    ) -> Self {
        let unit = |(unit, &bytes)| MixedUnit::new(plan, table, unit, (bytes, choice(unit)));
        self.units = bytes.iter().enumerate().map(unit).collect();
        self
    }
}

impl MixedUnit {
    fn new(plan: &MixedPlan, table: &Table, number: usize, (bytes, choice): (u64, String)) -> Self {
        let candidates = &plan.candidates;
        let (unit, known) = (&candidates.units[number], &table.units[number]);
        let as_it_is = known.last().copied().flatten().map_or(0, |known| known.bytes);
        let (probed, probe_kld) = table.probes[number];
        let could = |(choice, known): (usize, &Option<Known>)| {
            let Known { bytes, error } = (*known)?;
            Some(UnitChoice { choice: candidates.choice_name(choice), bytes, error: short(error) })
        };
        Self {
            name: unit.name.clone(),
            layer: unit.layer,
            choice,
            bits: short(bytes as f64 / as_it_is.max(1) as f64 * candidates.source_bits(unit)),
            probed: candidates.choice_name(probed),
            probe_kld: short(probe_kld),
            choices: known.iter().enumerate().filter_map(could).collect(),
        }
    }
}

/// A number to four digits.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
