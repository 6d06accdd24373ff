//! A phase cut into stages: what can run on any few rows at a time, and what cannot.

use crate::check::{fault, name};
use crate::error::ForwardError;
use llmopt_arch::program::{Attention, Operation, Phase, Program, Tap};
use std::collections::{BTreeMap, BTreeSet};

/// A phase in stages.
pub(crate) struct Outline<'p> {
    /// In order.
    pub(crate) stages: Vec<Stage<'p>>,
    /// Taps that must be there when the phase begins.
    pub(crate) begins_with: BTreeSet<Tap>,
    /// Taps that it makes or changes.
    pub(crate) makes: BTreeSet<Tap>,
}

/// Operations that run together, and the taps that nobody wants afterwards.
pub(crate) struct Stage<'p> {
    pub(crate) work: Work<'p>,
    pub(crate) ends: Vec<Tap>,
}

pub(crate) enum Work<'p> {
    Rows(Segment<'p>),
    Attend(&'p Attention),
    Gather { input: Tap, routes: Tap, expert: usize, output: Tap },
    Scatter { input: Tap, routes: Tap, expert: usize, output: Tap },
}

/// A run of operations whose rows know nothing of each other.
pub(crate) struct Segment<'p> {
    pub(crate) operations: &'p [Operation],
    /// Whole matrices that are read.
    pub(crate) reads: Vec<Tap>,
    /// Whole matrices that are changed in place.
    pub(crate) changes: Vec<Tap>,
    /// Whole matrices that are made here, for later stages.
    pub(crate) makes: Vec<Tap>,
    /// Taps that live here alone: no matrix of them is ever whole.
    pub(crate) locals: Vec<Tap>,
}

impl<'p> Outline<'p> {
    /// Cuts `phase` where rows meet or change, and finds where each tap begins and ends. Taps that are
    /// watched are whole, and do not end.
    pub(crate) fn new(
        program: &Program,
        phase: &'p Phase,
        watched: &[Tap],
    ) -> Result<Self, ForwardError> {
        let wrong = |what| ForwardError::program(phase, what);
        if let Some(what) = phase.operations.iter().find_map(|one| fault(program, one)) {
            return Err(wrong(what));
        }
        let kept: Vec<Tap> = phase.carried.iter().chain(watched).copied().collect();
        if let Some(tap) = kept.iter().find(|tap| tap.0 >= program.taps.len()) {
            return Err(wrong(format!("there is no tap {} to carry", tap.0)));
        }
        let mut rows = Rows::of(phase).map_err(wrong)?;
        let makes: BTreeSet<Tap> = phase.operations.iter().flat_map(Operation::writes).collect();
        rows.begins_with.extend(watched.iter().filter(|tap| !makes.contains(tap)));
        let mut outline = Self { stages: Vec::new(), begins_with: rows.begins_with, makes };
        let mut alive = outline.begins_with.clone();
        let mut first = 0;
        while first < phase.operations.len() {
            let length = stage_length(&phase.operations[first..], &rows.of_operation[first..]);
            let (operations, later) = phase.operations[first..].split_at(length);
            let wanted = wanted(later, &kept);
            outline.stages.push(Stage::new(operations, &mut alive, &wanted));
            first += length;
        }
        Ok(outline)
    }
}

impl<'p> Stage<'p> {
    fn new(operations: &'p [Operation], alive: &mut BTreeSet<Tap>, wanted: &BTreeSet<Tap>) -> Self {
        let work = match &operations[0] {
            Operation::Attend(attention) => Work::Attend(attention),
            &Operation::Gather { input, routes, expert, output } => {
                Work::Gather { input, routes, expert, output }
            }
            &Operation::Scatter { input, routes, expert, output } => {
                Work::Scatter { input, routes, expert, output }
            }
            _ => Work::Rows(Segment::new(operations, alive, wanted)),
        };
        match &work {
            Work::Rows(segment) => alive.extend(&segment.makes),
            _ => alive.extend(operations[0].writes()),
        }
        let ends: Vec<Tap> = alive.difference(wanted).copied().collect();
        alive.retain(|tap| wanted.contains(tap));
        Self { work, ends }
    }
}

impl<'p> Segment<'p> {
    /// Whether a row's place in its sequence matters.
    pub(crate) fn rotates(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::Rotate { .. }))
    }

    fn new(operations: &'p [Operation], alive: &BTreeSet<Tap>, wanted: &BTreeSet<Tap>) -> Self {
        let made: BTreeSet<Tap> = operations.iter().flat_map(Operation::writes).collect();
        let taken: BTreeSet<Tap> = operations.iter().flat_map(Operation::reads).collect();
        let (changes, new): (Vec<Tap>, Vec<Tap>) = made.iter().partition(|tap| alive.contains(tap));
        let (makes, locals) = new.into_iter().partition(|tap| wanted.contains(tap));
        Self {
            operations,
            reads: taken.difference(&made).copied().collect(),
            changes,
            makes,
            locals,
        }
    }
}

/// Which rows each operation works on: those of the batch, or those of a gather.
struct Rows {
    of_operation: Vec<usize>,
    begins_with: BTreeSet<Tap>,
}

impl Rows {
    const BATCH: usize = 0;

    fn of(phase: &Phase) -> Result<Self, String> {
        let mut rows = Self { of_operation: Vec::new(), begins_with: BTreeSet::new() };
        let mut of_tap: BTreeMap<Tap, usize> = BTreeMap::new();
        for (number, operation) in phase.operations.iter().enumerate() {
            let mut takes = operation.reads();
            if let Operation::Scatter { output, .. } = operation {
                // It may begin as zeros.
                takes.retain(|tap| tap != output);
            }
            for &tap in &takes {
                of_tap.entry(tap).or_insert_with(|| {
                    rows.begins_with.insert(tap);
                    Self::BATCH
                });
            }
            let (works_on, makes) = match operation {
                Operation::Gather { .. } => (Self::BATCH, number + 1),
                Operation::Scatter { input, .. } => (of_tap[input], Self::BATCH),
                _ => (of_tap[&takes[0]], of_tap[&takes[0]]),
            };
            let expected = |tap: &Tap| match operation {
                Operation::Scatter { routes, .. } if tap == routes => Self::BATCH,
                Operation::Attend(_) | Operation::Rotate { .. } => Self::BATCH,
                _ => works_on,
            };
            if takes.iter().any(|tap| of_tap[tap] != expected(tap)) {
                return Err(format!("{}: its taps are of different rows", name(operation)));
            }
            rows.of_operation.push(works_on);
            of_tap.extend(operation.writes().iter().map(|&tap| (tap, makes)));
        }
        let strange = |tap: &&Tap| of_tap.get(tap).is_some_and(|&rows| rows != Self::BATCH);
        // The rows of an expert go from one part of its own phase to the next.
        match phase.carried.iter().find(strange).filter(|_| phase.expert.is_none()) {
            Some(tap) => Err(format!("tap {} has rows of an expert and cannot be carried", tap.0)),
            None => Ok(rows),
        }
    }
}

/// How many of `operations` make one stage.
fn stage_length(operations: &[Operation], rows: &[usize]) -> usize {
    let alone = |operation: &Operation| {
        use Operation::{Attend, Gather, Scatter};
        matches!(operation, Attend(_) | Gather { .. } | Scatter { .. })
    };
    let together = operations.iter().zip(rows).take_while(|(one, r)| !alone(one) && **r == rows[0]);
    together.count().max(1)
}

/// Taps that are taken before they are made anew, or kept to the end.
fn wanted(later: &[Operation], kept: &[Tap]) -> BTreeSet<Tap> {
    let mut wanted: BTreeSet<Tap> = kept.iter().copied().collect();
    for operation in later.iter().rev() {
        let writes = operation.writes();
        wanted.retain(|tap| !writes.contains(tap));
        wanted.extend(operation.reads());
    }
    wanted
}
