//! Where hidden states rest between two phases: in memory, or in a scratch file.

use crate::batches::Batches;
use llmopt_arch::Program;
use llmopt_arch::program::{Phase, Tap};
use llmopt_checkpoint::Scratch;
use llmopt_forward::{Matrix, Taps};
use llmopt_model::Variant;
use llmopt_run::Error;
use std::borrow::Cow;
use std::path::Path;

/// What every batch of a stream carries.
pub enum Store {
    /// By batch, in memory.
    Memory(Vec<Taps>),
    /// In a scratch file.
    Spilled(Spill),
}

/// A scratch file with a slot of constant size for each batch.
pub struct Spill {
    scratch: Scratch,
    /// Numbers of a slot.
    slot: u64,
    /// What each slot holds: taps with their shapes.
    held: Vec<Vec<(Tap, usize, usize)>>,
}

impl Store {
    /// An empty store for the batches of a stream; in `folder`, if it is to spill.
    pub fn new(program: &Program, batches: &Batches, folder: Option<&Path>) -> Result<Self, Error> {
        Self::of_width(carried_width(program), batches, folder)
    }

    /// As [`Store::new`], for a stream that carries no more than `width` columns.
    pub fn of_width(width: usize, batches: &Batches, folder: Option<&Path>) -> Result<Self, Error> {
        let count = batches.len();
        let Some(folder) = folder else {
            return Ok(Self::Memory((0..count).map(|_| Taps::default()).collect()));
        };
        let slot = (batches.rows_of(batches.largest()) * width) as u64;
        let scratch = Scratch::create(folder, slot * count as u64)?;
        Ok(Self::Spilled(Spill { scratch, slot, held: vec![Vec::new(); count] }))
    }

    /// Takes out what a batch carries.
    pub fn take(&mut self, batch: usize) -> Result<Taps, Error> {
        match self {
            Self::Memory(taps) => Ok(std::mem::take(&mut taps[batch])),
            Self::Spilled(spill) => spill.read(batch),
        }
    }

    /// Puts back what a batch carries.
    pub fn put(&mut self, batch: usize, taps: Taps) -> Result<(), Error> {
        match self {
            Self::Memory(all) => all[batch] = taps,
            Self::Spilled(spill) => spill.write(batch, &taps)?,
        }
        Ok(())
    }

    /// The hidden state of a batch, between two blocks.
    pub fn hidden(&self, batch: usize) -> Result<Cow<'_, Matrix>, Error> {
        let hidden = match self {
            Self::Memory(taps) => taps[batch].get(Program::HIDDEN).map(Cow::Borrowed),
            Self::Spilled(spill) => spill.read(batch)?.take(Program::HIDDEN).map(Cow::Owned),
        };
        Ok(hidden.unwrap_or_else(|| Cow::Owned(Matrix::zeros(0, 0))))
    }

    /// All that a batch carries.
    pub fn get(&self, batch: usize) -> Result<Cow<'_, Taps>, Error> {
        match self {
            Self::Memory(taps) => Ok(Cow::Borrowed(&taps[batch])),
            Self::Spilled(spill) => spill.read(batch).map(Cow::Owned),
        }
    }

    /// A second store with the same content.
    pub fn copied(&self, empty: impl Fn() -> Result<Self, Error>) -> Result<Self, Error> {
        match self {
            Self::Memory(taps) => Ok(Self::Memory(taps.clone())),
            Self::Spilled(spill) => {
                let mut copy = empty()?;
                for batch in 0..spill.held.len() {
                    copy.put(batch, spill.read(batch)?)?;
                }
                Ok(copy)
            }
        }
    }
}

impl Spill {
    fn read(&self, batch: usize) -> Result<Taps, Error> {
        let mut taps = Taps::default();
        let mut first = self.slot * batch as u64;
        for &(tap, rows, columns) in &self.held[batch] {
            let mut values = vec![0.0; rows * columns];
            self.scratch.read(first, &mut values)?;
            first += values.len() as u64;
            taps.insert(tap, matrix(rows, columns, values));
        }
        Ok(taps)
    }

    fn write(&mut self, batch: usize, taps: &Taps) -> Result<(), Error> {
        let mut first = self.slot * batch as u64;
        let mut held = Vec::new();
        let numbers: usize = taps.iter().map(|(_, matrix)| matrix.values().len()).sum();
        assert!(numbers as u64 <= self.slot, "a slot has room for what is carried at most");
        for (tap, matrix) in taps.iter() {
            self.scratch.write(first, matrix.values())?;
            first += matrix.values().len() as u64;
            held.push((tap, matrix.rows(), matrix.columns()));
        }
        self.held[batch] = held;
        Ok(())
    }
}

/// What the embedding makes of every batch, in a store that was empty.
///
/// # Errors
/// If the embedding cannot be read, or the store is a scratch file that cannot be written.
pub fn embedded(variant: &Variant, batches: &Batches, mut store: Store) -> Result<Store, Error> {
    for batch in 0..batches.len() {
        let hidden = variant.embedded(batches.tokens_of(batch))?;
        store.put(batch, Taps::new(hidden))?;
    }
    Ok(store)
}

/// Columns of everything that is ever carried from one phase to the next.
pub fn carried_width(program: &Program) -> usize {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    phases.map(|phase| carried_by(program, phase)).max().unwrap_or(0).max(program.hidden)
}

/// Columns of what a phase hands on.
pub fn carried_by(program: &Program, phase: &Phase) -> usize {
    phase.carried.iter().map(|&tap| program.width(tap)).sum()
}

/// A matrix of values that were counted out for it.
fn matrix(rows: usize, columns: usize, values: Vec<f32>) -> Matrix {
    Matrix::from_values(rows, columns, values).expect("as many values as rows times columns")
}
