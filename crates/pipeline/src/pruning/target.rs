//! A place that loses units, and what became of it.

use super::site::Site;
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, Coupling, Kept, Part};
use serde::{Deserialize, Serialize};

/// Units of one place, of which some go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(super) axis: Axis,
    pub(super) coupling: Coupling,
    /// Units that stay.
    pub(super) keep: usize,
    /// The matrix that reads the units.
    pub(super) reader: String,
    /// Its rows, and columns.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The bias that is fitted with it.
    pub(super) bias: Option<String>,
    /// Layers right behind it that go, if it can stand in for them.
    pub(super) stands_for: Vec<usize>,
    /// What makes the units, where it is moved, too.
    pub(super) site: Option<Site>,
}

impl Target {
    /// A place that keeps all of its units; none where no matrix reads them.
    pub(super) fn whole(model: &Model, axis: Axis, coupling: Coupling) -> Option<Self> {
        let reader = coupling.reader()?.tensor.clone();
        let &[rows, columns] = model.get(&reader)?.meta.shape() else { return None };
        let (keep, bias, stands_for, site) = (coupling.units, None, Vec::new(), None);
        Some(Self { axis, coupling, keep, reader, rows, columns, bias, stands_for, site })
    }

    /// Columns of the reader that belong to a unit.
    pub(super) fn width(&self) -> usize {
        self.columns / self.coupling.units
    }

    /// Whether no unit goes: the reader alone changes, to stand in for layers that go.
    pub(super) fn is_whole(&self) -> bool {
        self.keep == self.coupling.units
    }

    /// The dimensions of tensors that change.
    pub(super) fn written_parts(&self) -> impl Iterator<Item = &Part> {
        let moves = |part: &Part| self.moved_tensors().any(|tensor| tensor == part.tensor);
        let changes =
            move |part: &&Part| !self.is_whole() || part.tensor == self.reader || moves(part);
        self.coupling.parts.iter().filter(changes)
    }

    /// The tensors that are moved.
    pub(super) fn moved_tensors(&self) -> impl Iterator<Item = &str> {
        self.site.iter().flat_map(Site::tensors)
    }

    /// The place as it is once the units that go are gone.
    pub(super) fn narrowed(&self) -> Self {
        let coupling = Coupling { units: self.keep, ..self.coupling.clone() };
        Self { columns: self.kept_columns(), coupling, ..self.clone() }
    }

    /// The units that stay, as slices take them.
    pub(super) fn kept<'a>(&self, units: &'a [usize]) -> Kept<'a> {
        match self.axis {
            Axis::Ffn => Kept { channels: Some(units), groups: None },
            Axis::Heads => Kept { channels: None, groups: Some(units) },
            Axis::Layers => Kept::default(),
        }
    }

    /// Bytes of the source's tensors that range over the units.
    pub(super) fn bytes(&self, model: &Model) -> u64 {
        let tensors = self.coupling.parts.iter().filter_map(|part| model.get(&part.tensor));
        tensors.map(|tensor| tensor.meta.bytes()).sum()
    }

    /// Columns of the reader that stay.
    pub(super) fn kept_columns(&self) -> usize {
        self.keep * self.width()
    }
}

/// What became of the units of one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrunedUnits {
    /// The layer.
    pub layer: usize,
    /// The expert, where the units are one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<usize>,
    /// The axis.
    pub axis: String,
    /// The matrix that reads the units.
    pub reader: String,
    /// The layers behind it that it stands in for, where some go.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stands_for: Vec<usize>,
    /// How many there were.
    pub units: usize,
    /// Those that stay, ascending; written as runs, such as `0-11 13-21`.
    #[serde(serialize_with = "super::runs::write", deserialize_with = "super::runs::read")]
    pub kept: Vec<usize>,
    /// Tokens that were seen.
    pub tokens: u64,
    /// By how much the squared error of the outputs rises above that of all units refitted, as a share of
    /// the outputs' energy, by the sums on which both were fitted; none where units went by a score, or
    /// nothing was fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// That share as units were removed one batch after the other, where they were.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub curve: Vec<StepFacts>,
    /// Units that were swapped afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swaps: Option<usize>,
    /// What was added to the diagonal of the Gram matrix, relative to its mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<f64>,
    /// What moving gate and up projection did, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<MovedFacts>,
    /// Why it was not pruned as asked for, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// What moving gate and up projection of the units that stay did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedFacts {
    /// The matrices that were moved.
    pub tensors: Vec<String>,
    /// Steps of conjugate gradients; zero if none made it better.
    pub steps: usize,
    /// The squared error of the outputs before, as a share of the energy of those asked for.
    pub before: f64,
    /// That behind the steps, before the reader was refitted to them.
    pub after: f64,
}

/// A point of the curve of estimated damage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepFacts {
    /// Units left.
    pub kept: usize,
    /// As [`PrunedUnits::loss`].
    pub loss: f64,
}
