//! A group of units of which some go, with the matrix that reads them.

use crate::pruning::gated::GatedUnits;
use llmopt_arch::Model;
use llmopt_arch::axes::{Axis, Coupling, Kept, Part};
use llmopt_arch::program::{Phase, Tap};

/// Units of one place that are cut alike, of which some go.
#[derive(Clone, Debug)]
pub(crate) struct PruneGroup {
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
    pub(super) gated: Option<GatedUnits>,
}

impl PruneGroup {
    /// A group that keeps all of its units; none where no matrix reads them.
    pub(super) fn whole(model: &Model, axis: Axis, coupling: Coupling) -> Option<Self> {
        let reader = coupling.reader()?.tensor.clone();
        let &[rows, columns] = model.get(&reader)?.meta.shape() else { return None };
        let (keep, bias, stands_for, gated) = (coupling.units, None, Vec::new(), None);
        Some(Self { axis, coupling, keep, reader, rows, columns, bias, stands_for, gated })
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

    /// The tensors that are written.
    pub(super) fn written_tensors(&self) -> impl Iterator<Item = &str> {
        let parts = self.written_parts().map(|part| part.tensor.as_str());
        parts.chain(self.bias.as_deref())
    }

    /// The tensors that are moved.
    pub(super) fn moved_tensors(&self) -> impl Iterator<Item = &str> {
        self.gated.iter().flat_map(GatedUnits::tensors)
    }

    /// The group as it is once the units that go are gone.
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
    /// The tap that holds the units, if `phase` multiplies them.
    pub(super) fn units_in(&self, phase: &Phase) -> Option<Tap> {
        let mut linears = phase.operations.iter().filter_map(|operation| operation.linear());
        linears.find(|linear| linear.weight == self.reader).map(|linear| linear.input)
    }

    /// The tap that holds the units and, where they are moved, that of what they are made of.
    pub(super) fn watched_in(&self, phase: &Phase) -> Vec<Tap> {
        let input = self.gated.as_ref().map(|gated| gated.input);
        self.units_in(phase).into_iter().chain(input).collect()
    }

    /// Whether what the reader gives is added to the hidden state as it is, so that the original's
    /// stream behind `phase` says what it should give. Tokens of experts are others in the two streams.
    pub(super) fn adds_to_hidden(&self, phase: &Phase) -> bool {
        self.coupling.expert.is_none() && llmopt_calib::adds_to_hidden(phase, &self.reader)
    }
}
