//! Sizes to the byte: of an allocation, and of the best allocation that meets a size.

use crate::method::Method;
use crate::mixed::candidates::Candidates;
use crate::mixed::request::Goal;
use crate::mixed::table::Table;
use crate::mixed::units::{Choice, Unit};
use crate::plan::Plan;
use llmopt_run::Error;
use std::path::Path;

/// Bytes of an artifact without its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Of its weight files.
    pub(super) weights: u64,
    /// Of all files.
    pub(super) files: u64,
}

impl Sizes {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { weights: plan.weight_bytes(), files: plan.files().values().sum() }
    }
}

impl Candidates {
    /// The sizes of an allocation.
    ///
    /// # Errors
    /// If it cannot be planned.
    pub(super) fn sized(&self, taken: &[usize]) -> Result<Sizes, Error> {
        if taken.iter().all(|&of| of == self.choices.len()) {
            let weights = self.source_bytes();
            let side = self.fixed.checkpoint.source.side_files().iter().map(|file| file.bytes);
            let config = self.fixed.checkpoint.source.config_bytes().map_or(0, |bytes| bytes.len());
            return Ok(Sizes { weights, files: weights + side.sum::<u64>() + config as u64 });
        }
        let recipe = self.recipe_of(taken, None, Method::Search);
        Ok(Sizes::of(&self.planned_at(Path::new("mixed-size.tmp"), &recipe)?))
    }

    /// The sizes of the smallest allocation and of the largest.
    pub(super) fn range(&self) -> Result<(Sizes, Sizes), Error> {
        let largest = vec![self.choices.len(); self.units.len()];
        Ok((self.sized(&self.smallest())?, self.sized(&largest)?))
    }

    /// The smallest choice of every unit.
    fn smallest(&self) -> Vec<usize> {
        self.bytes.iter().map(|of| smallest_of(of)).collect()
    }

    /// Bytes that a size counts beside those of the units, with a record of so many; as of the smallest allocation.
    fn beside_units(&self, record: u64) -> Result<u64, Error> {
        let smallest = self.smallest();
        let units: u64 = self.bytes.iter().zip(&smallest).filter_map(|(of, &at)| of[at]).sum();
        Ok(self.measured(self.sized(&smallest)?, record).saturating_sub(units))
    }

    /// Bytes that a goal leaves to what [`Candidates::measured`] measures; none of a goal that is no size.
    pub(super) fn goal_bytes(&self) -> Option<u64> {
        match self.goal() {
            Goal::Size(bytes) => Some(bytes),
            Goal::BitsPerWeight(bits) => Some((bits * self.parameters as f64 / 8.0).floor() as u64),
            Goal::Kld(_) => None,
        }
    }

    /// The size that a goal is about; `record` are the bytes of the record, which is a file, and no weight file.
    pub(super) fn measured(&self, sizes: Sizes, record: u64) -> u64 {
        match self.goal() {
            Goal::BitsPerWeight(_) => sizes.weights,
            Goal::Size(_) | Goal::Kld(_) => sizes.files + record,
        }
    }

    /// Refuses a size that no allocation has.
    pub(super) fn check_goal(&self) -> Result<(), Error> {
        let Some(goal) = self.goal_bytes() else { return Ok(()) };
        let (smallest, largest) = self.range()?;
        let record = self.least_record();
        let told = |sizes: Sizes| match self.goal() {
            Goal::BitsPerWeight(_) => {
                let bits = sizes.weights as f64 * 8.0 / self.parameters.max(1) as f64;
                format!("{bits:.3} bits per parameter")
            }
            Goal::Size(_) | Goal::Kld(_) => format!("{} bytes", self.measured(sizes, record)),
        };
        let refused =
            |what: String, hint: &str| Err(Error::RefusedWithHint { what, hint: hint.to_owned() });
        if self.measured(smallest, record) > goal {
            return refused(
                format!("{} cannot be reached: the smallest is {}", self.goal(), told(smallest)),
                "`--widths` with smaller ones, `--embeddings` or `--lm-head` make less, where the model has \
                 them; so does `llmopt prune`",
            );
        }
        match self.measured(largest, 0) <= goal {
            true => refused(
                format!("{} needs no quantization: the model has {}", self.goal(), told(largest)),
                "ask for less",
            ),
            false => Ok(()),
        }
    }

    /// Bytes of a record, at least: what is said of every tensor and every unit.
    fn least_record(&self) -> u64 {
        let model = &self.fixed.checkpoint.model;
        let said = |name: &String| LEAST_OF_TENSOR + name.len() as u64;
        let of_tensors: u64 = model.tensors().iter().map(|tensor| said(&tensor.name)).sum();
        let units: &[Unit] = if matches!(self.goal(), Goal::Size(_)) { &self.units } else { &[] };
        let of_choices = LEAST_OF_CHOICE * (1 + self.choices.len() as u64);
        of_tensors + units.iter().map(|unit| of_choices + unit.name.len() as u64).sum::<u64>()
    }

    /// Bits of a weight of the units, on average, with which a size is met; none, if the goal is no size.
    pub(super) fn average_bits(&self) -> Result<Option<f64>, Error> {
        let Some(goal) = self.goal_bytes() else { return Ok(None) };
        let left = goal.saturating_sub(self.beside_units(self.least_record())?);
        Ok(Some(left as f64 * 8.0 / self.unit_weights().max(1) as f64))
    }

    /// Those of these choices that every unit can have and that meet a size, the largest first.
    pub(super) fn within_goal(&self, mut choices: Vec<Choice>) -> Vec<Choice> {
        let Some(goal) = self.goal_bytes() else { return Vec::new() };
        let record = self.least_record();
        choices.reverse();
        choices.retain(|&choice| {
            let plan = self.suits_all(choice).then(|| self.choice_plan(choice));
            matches!(plan, Some(Ok(plan)) if self.measured(Sizes::of(&plan), record) <= goal)
        });
        choices
    }

    /// The allocation of least cost that meets a size, with as much trust in the probes; none, if none meets it.
    ///
    /// Headers and the configuration are longer with some allocations than with others: what is left for the units
    /// is found by measuring.
    ///
    /// # Errors
    /// If an allocation cannot be planned.
    pub(super) fn fitted(
        &self,
        table: &Table,
        (goal, record): (u64, u64),
        trust: f64,
    ) -> Result<Option<Vec<usize>>, Error> {
        let mut beside = self.beside_units(record)?;
        for _ in 0..ROUNDS {
            let Some(taken) = table.allocation(goal.saturating_sub(beside), trust) else {
                return Ok(None);
            };
            let found = self.measured(self.sized(&taken)?, record);
            if found <= goal {
                return Ok(Some(taken));
            }
            beside += found - goal;
        }
        Ok(None)
    }
}

/// The number of the smallest choice.
fn smallest_of(of: &[Option<u64>]) -> usize {
    let there = of.iter().enumerate().filter_map(|(at, bytes)| Some((at, (*bytes)?)));
    there.min_by_key(|&(_, bytes)| bytes).map_or(0, |(at, _)| at)
}

/// Bytes that a record says of a tensor beside its name.
const LEAST_OF_TENSOR: u64 = 160;
/// Bytes that it says of a choice of a unit.
const LEAST_OF_CHOICE: u64 = 60;
/// Allocations after which a budget is no longer made smaller.
const ROUNDS: usize = 8;
