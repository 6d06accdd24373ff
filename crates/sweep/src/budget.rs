//! What a reading sweep holds in memory, and what it puts aside to keep a budget.

use crate::batches::Batches;
use crate::head::{SLICE_ROWS, slices, working_bytes};
use crate::store::carried_width;
use llmopt_arch::program::{Operation, Phase, Program, Tap};
use llmopt_forward::{Batch, Engine};
use llmopt_model::{Variant, band_bytes};
use llmopt_run::{Error, Resources, base_bytes};
use serde::Serialize;

/// What a reading sweep will take, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadingMemory {
    /// A bound on resident memory.
    pub predicted_peak: u64,
    /// The bound asked for.
    pub budget: u64,
    /// The smallest bound that works.
    pub smallest: u64,
    /// Whether hidden states go to a scratch file.
    pub spills: bool,
    /// Bytes of hidden states, in memory or in the scratch file.
    pub hidden_bytes: u64,
    /// Slices of the head that are in memory together.
    #[serde(skip)]
    pub head_slices: usize,
}

/// Decides what is held. `judged` are the bytes that the judge, and whoever else, holds to the end.
///
/// # Errors
/// [`Error::Budget`] if the largest site group does not fit.
pub fn planned(
    variants: &[&Variant],
    batches: &Batches,
    engine: &Engine,
    judged: u64,
    resources: Resources,
) -> Result<ReadingMemory, Error> {
    let sizes = Sizes::of(variants, batches, engine, resources.threads)?;
    let names = variants.iter().map(|variant| variant.names());
    let (tensors, bytes) = names.fold((0, 0), |(n, b), (count, bytes)| (n + count, b + bytes));
    let base = base_bytes(tensors, bytes) + judged + sizes.tokens;
    let floor = base + sizes.spilled_floor();
    if floor > resources.memory {
        return Err(Error::Budget { given: resources.memory, smallest: floor });
    }
    let in_memory = base + sizes.hidden + sizes.phase.max(sizes.head_rest + sizes.head_slice);
    let spills = in_memory > resources.memory;
    let held = if spills { sizes.slot } else { sizes.hidden };
    let room = resources.memory - base - held - sizes.head_rest;
    let all_slices = sizes.slices.max(1);
    let head_slices = (room / sizes.head_slice.max(1)).clamp(1, all_slices as u64);
    let head = sizes.head_rest + head_slices * sizes.head_slice;
    Ok(ReadingMemory {
        predicted_peak: base + held + sizes.phase.max(head),
        budget: resources.memory,
        smallest: floor,
        spills,
        hidden_bytes: sizes.hidden,
        head_slices: head_slices as usize,
    })
}

/// Bytes of what a sweep holds.
struct Sizes {
    /// Token ids.
    tokens: u64,
    /// Hidden states of all streams.
    hidden: u64,
    /// What one batch carries, in all streams.
    slot: u64,
    /// The largest site group, with what is made while it runs.
    phase: u64,
    /// A slice of every head.
    head_slice: u64,
    /// What the head takes beside its weights.
    head_rest: u64,
    slices: usize,
}

impl Sizes {
    fn of(
        variants: &[&Variant],
        batches: &Batches,
        engine: &Engine,
        threads: usize,
    ) -> Result<Self, Error> {
        let rows = batches.rows_of(batches.largest());
        let programs = || variants.iter().map(|variant| variant.program());
        let carried = |program: &Program| (carried_width(program) * size_of::<f32>()) as u64;
        let widest: u64 = programs().map(carried).sum();
        let gemm = engine.gemm();
        let slice = |program: &Program| gemm.packed_bytes(SLICE_ROWS, program.hidden) as u64;
        let reading = threads as u64 * programs().map(widest_band).max().unwrap_or(0);
        let head = |program: &Program| working_bytes(engine, program, rows, threads);
        let largest = |variant: &&Variant| largest_phase(variant, batches, engine, threads);
        let phases = variants.iter().map(largest).collect::<Result<Vec<u64>, _>>()?;
        let largest = phases.into_iter().max().unwrap_or(0);
        Ok(Self {
            tokens: (batches.tokens() * size_of::<u32>()) as u64,
            hidden: widest * batches.tokens() as u64,
            slot: widest * rows as u64,
            phase: reading + largest,
            head_slice: programs().map(slice).sum(),
            head_rest: reading + programs().map(head).sum::<u64>(),
            slices: programs().map(|p| slices(p.vocabulary).count()).max().unwrap_or(0),
        })
    }

    /// With hidden states in a file and one slice of each head.
    fn spilled_floor(&self) -> u64 {
        self.slot + self.phase.max(self.head_rest + self.head_slice)
    }
}

fn largest_phase(
    variant: &Variant,
    batches: &Batches,
    engine: &Engine,
    threads: usize,
) -> Result<u64, Error> {
    let program = variant.program();
    let batch = batches.shape_of(batches.largest());
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let mut largest = 0;
    for phase in phases.chain(std::iter::once(&program.head.norm)) {
        largest = largest.max(phase_bytes(variant, phase, &batch, engine, &[], threads)?);
    }
    Ok(largest)
}

/// What a phase takes with its weights, while the taps `watched` are observed.
pub fn phase_bytes(
    variant: &Variant,
    phase: &Phase,
    batch: &Batch,
    engine: &Engine,
    watched: &[Tap],
    threads: usize,
) -> Result<u64, Error> {
    let working = engine.observing_bytes(variant.program(), phase, batch, watched, threads);
    Ok(weight_bytes(phase, engine) + working.map_err(|error| variant.failed(error))?)
}

/// What reading a band of the model's widest matrix takes.
pub fn widest_band(program: &Program) -> u64 {
    let phases = program.blocks.iter().flat_map(|block| &block.phases);
    let columns =
        phases.flat_map(|phase| &phase.operations).filter_map(|operation| match operation {
            Operation::Linear(linear) => Some(linear.columns),
            _ => None,
        });
    columns.chain([program.hidden]).map(band_bytes).max().unwrap_or(0)
}

/// What the weights of a phase take, packed.
fn weight_bytes(phase: &Phase, engine: &Engine) -> u64 {
    let bytes = |operation: &Operation| match operation {
        Operation::Linear(linear) => engine.gemm().packed_bytes(linear.rows, linear.columns) as u64,
        _ => 0,
    };
    phase.operations.iter().map(bytes).sum()
}
