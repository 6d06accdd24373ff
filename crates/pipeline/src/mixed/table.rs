//! What is known of every choice of every unit: its bytes, the error of its outputs, and what that costs.

use crate::mixed::allocate::{Cell, allocated};
use llmopt_checkpoint::{REPORT_NAME, read_bytes};
use llmopt_model::report_file;
use llmopt_run::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A choice of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    /// Bytes of its tensors.
    pub(super) bytes: u64,
    /// Squared error of its outputs, relative to their square, on average over its matrices. Without calibration
    /// the error is that of the weights.
    pub(super) error: f64,
}

/// Units by choices. A choice that a unit cannot have is none; the last one is the unit as it is.
pub(super) struct Table {
    pub(super) units: Vec<Vec<Option<Known>>>,
    /// The choice with which each unit was probed, and the KL divergence that it alone causes.
    pub(super) probes: Vec<(usize, f64)>,
}

impl Table {
    /// What a choice costs: the divergence that the probe found grows as the squared error does.
    pub(super) fn cost(&self, unit: usize, choice: usize) -> Option<f64> {
        let (probed, kld) = self.probes[unit];
        let (known, probed) = (self.units[unit][choice]?, self.units[unit][probed]?);
        Some(if probed.error > 0.0 { kld * known.error / probed.error } else { 0.0 })
    }

    /// The allocation of the least cost. `trust` is what of the probes is believed: with 1 a unit counts for as
    /// much as it was found to, with 0 all count for what their errors say, and in between by powers.
    pub(super) fn allocation(&self, budget: u64, trust: f64) -> Option<Vec<usize>> {
        let weights = self.weights(trust);
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut cells: Vec<Vec<Cell>> = Vec::new();
        for (known, weight) in self.units.iter().zip(weights) {
            let there = known.iter().enumerate().filter_map(|(at, known)| Some((at, (*known)?)));
            let cell = |(_, known): (usize, Known)| Cell {
                bytes: known.bytes,
                cost: weight * known.error,
            };
            places.push(there.clone().map(|(at, _)| at).collect());
            cells.push(there.map(cell).collect());
        }
        let taken = allocated(&cells, budget)?;
        Some(taken.into_iter().zip(places).map(|(of, places)| places[of]).collect())
    }

    /// What a relative error of each unit costs, with as much trust in the probes. Their geometric mean does not
    /// depend on it.
    fn weights(&self, trust: f64) -> Vec<f64> {
        let found: Vec<f64> = (0..self.units.len()).map(|unit| self.sensitivity(unit)).collect();
        let logarithms: Vec<f64> =
            found.iter().filter(|&&weight| weight > 0.0).map(|&weight| libm::log(weight)).collect();
        let mean = logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64;
        let weight = |&found: &f64| match found > 0.0 {
            true => libm::exp(mean + trust * (libm::log(found) - mean)),
            false => 0.0,
        };
        found.iter().map(weight).collect()
    }

    /// Nats per squared relative error.
    fn sensitivity(&self, unit: usize) -> f64 {
        let (probed, kld) = self.probes[unit];
        let error = self.units[unit][probed].map_or(0.0, |known| known.error);
        if error > 0.0 { kld.max(0.0) / error } else { 0.0 }
    }

    /// Bytes of an allocation.
    pub(super) fn bytes(&self, taken: &[usize]) -> u64 {
        let known = self.units.iter().zip(taken).filter_map(|(known, &of)| known[of]);
        known.map(|known| known.bytes).sum()
    }

    /// What it is expected to cost in all.
    pub(super) fn expected(&self, taken: &[usize]) -> f64 {
        taken.iter().enumerate().filter_map(|(unit, &of)| self.cost(unit, of)).sum()
    }
}

/// The squared relative error of every quantized tensor of the artifact at `folder`.
///
/// # Errors
/// If its record cannot be read.
pub(super) fn errors(folder: &Path) -> Result<BTreeMap<String, f64>, Error> {
    let path = folder.join(REPORT_NAME);
    let bytes = read_bytes(&path, report_file::LIMIT)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| Error::Input {
        what: format!("`{}`: {error}", path.display()),
        hint: None,
    })?;
    let error = |tensor: RecordedTensor| {
        let of_outputs = tensor.calibrated.and_then(|calibrated| calibrated.output_error);
        let relative = of_outputs.or(tensor.relative_error)?;
        Some((tensor.name, relative * relative))
    };
    Ok(record.tensors.into_iter().filter_map(error).collect())
}

#[derive(Deserialize)]
struct Record {
    tensors: Vec<RecordedTensor>,
}

#[derive(Deserialize)]
struct RecordedTensor {
    name: String,
    relative_error: Option<f64>,
    calibrated: Option<RecordedCalibrated>,
}

#[derive(Deserialize)]
struct RecordedCalibrated {
    output_error: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: u64, error: f64) -> Option<Known> {
        Some(Known { bytes, error })
    }

    /// Two units of the same size, of which the second costs a hundred times as much.
    fn table() -> Table {
        let unit = vec![known(20, 0.16), known(40, 0.01), None, known(160, 0.0)];
        Table { units: vec![unit.clone(), unit], probes: vec![(0, 0.016), (0, 1.6)] }
    }

    #[test]
    fn costs_grow_from_the_probe_as_errors_do() {
        let table = table();
        assert_eq!(
            [0, 1, 2, 3].map(|choice| table.cost(0, choice)),
            [Some(0.016), Some(0.001), None, Some(0.0)]
        );
        assert!((table.expected(&[0, 1]) - 0.116).abs() < 1e-12);
    }

    #[test]
    fn bytes_go_where_they_are_worth_most_as_far_as_probes_are_trusted() {
        let table = table();
        assert_eq!(table.allocation(60, 1.0), Some(vec![0, 1]));
        assert_eq!(table.allocation(180, 1.0), Some(vec![0, 3]));
        assert_eq!(table.allocation(180, 0.0), Some(vec![1, 1]));
        assert_eq!(table.allocation(39, 1.0), None);
        assert_eq!(table.bytes(&[0, 3]), 180);
    }
}
