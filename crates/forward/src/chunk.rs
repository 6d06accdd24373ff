//! Running a segment, some rows at a time.

use crate::buffers::Buffers;
use crate::matrix::Matrix;
use crate::ops::add::add;
use crate::ops::gate::gate;
use crate::ops::product::{self, product};
use crate::ops::quantize::quantize;
use crate::ops::route::route;
use crate::ops::split::split;
use crate::pool::Pool;
use crate::segment::{Bound, Ropes, Slot, Step};
use llmopt_linalg::Gemm;
use rayon::prelude::*;
use std::mem::take;
use std::ops::Range;

/// Rows of a chunk. A constant, so that no result depends on how many threads there are.
pub(crate) const ROWS: usize = 256;

/// Runs every step on all rows: chunk by chunk in parallel or, where there is only one chunk, with
/// each product shared among threads.
pub(crate) fn run(
    gemm: Gemm,
    buffers: &Buffers,
    bound: &Bound<'_>,
    ropes: &Ropes,
    rows: usize,
    reads: &[&Matrix],
    writes: &mut [Matrix],
) {
    let split = split_of(rows);
    let pool: Pool<Vec<Vec<f32>>> = Pool::new();
    let mut written: Vec<Vec<&mut [f32]>> = Vec::new();
    written.resize_with(rows.div_ceil(ROWS), Vec::new);
    for matrix in writes {
        let columns = matrix.columns();
        let parts = matrix.values_mut().chunks_mut(ROWS * columns);
        written.iter_mut().zip(parts).for_each(|(chunk, part)| chunk.push(part));
    }
    let longest = rows.min(ROWS);
    let chunks = written.into_par_iter().with_max_len(1).enumerate();
    chunks.for_each(|(number, written)| {
        let rows = number * ROWS..rows.min((number + 1) * ROWS);
        pool.with(|locals| {
            if locals.is_empty() {
                let longest = bound.locals.iter().map(|width| longest * width);
                locals.extend(longest.map(|length| buffers.take(length)));
            }
            let reads = reads.iter().map(|matrix| Values::Read(matrix.rows_of(rows.clone())));
            let written = written.into_iter().map(Values::Write);
            let locals = locals.iter_mut().zip(&bound.locals);
            let locals = locals.map(|(local, w)| Values::Write(&mut local[..rows.len() * w]));
            let slots = reads.chain(written).chain(locals).collect();
            let mut chunk = Chunk { gemm, split, ropes, rows, slots };
            bound.steps.iter().for_each(|step| chunk.step(step));
        });
    });
    pool.into_values().into_iter().flatten().for_each(|local| buffers.give(local));
}

/// How products of so many rows are shared. It depends on nothing else.
pub(crate) fn split_of(rows: usize) -> product::Split {
    if rows > ROWS { product::Split::Never } else { product::Split::Features }
}

struct Chunk<'a> {
    gemm: Gemm,
    split: product::Split,
    ropes: &'a Ropes,
    rows: Range<usize>,
    slots: Vec<Values<'a>>,
}

/// The rows of one slot.
enum Values<'a> {
    Read(&'a [f32]),
    Write(&'a mut [f32]),
}

impl<'a> Chunk<'a> {
    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Copy { input, output } => {
                self.write(*output, |chunk, out| out.copy_from_slice(chunk.read(*input)));
            }
            Step::Norm { input, output, norm } => {
                self.write(*output, |chunk, out| norm.run(chunk.read(*input), out));
            }
            Step::Quantize { input, output, columns, to } => {
                self.write(*output, |chunk, out| quantize(chunk.read(*input), *columns, *to, out));
            }
            Step::Linear { input, output, linear } => self.write(*output, |chunk, out| {
                product(chunk.gemm, chunk.split, chunk.read(*input), linear, out);
            }),
            Step::Split { input, outputs } => self.split(*input, outputs),
            Step::Rotate { slots, head_width, tables } => {
                let tables = self.ropes.tables(*tables);
                for &slot in slots {
                    self.write(slot, |chunk, out| {
                        tables.rotate(out, *head_width, chunk.rows.clone());
                    });
                }
            }
            Step::Gate { gate: gated, up, output, activation } => {
                self.write(*output, |chunk, out| {
                    gate(*activation, chunk.read(*gated), chunk.read(*up), out);
                });
            }
            Step::Add { input, output, scale } => {
                self.write(*output, |chunk, out| add(chunk.read(*input), *scale, out));
            }
            Step::Route { input, output, experts, top, renormalize } => {
                self.write(*output, |chunk, out| {
                    route(chunk.read(*input), *experts, *top, *renormalize, out);
                });
            }
        }
    }

    fn split(&mut self, input: Slot, outputs: &[(usize, Slot)]) {
        let mut taken: Vec<(usize, &'a mut [f32])> =
            outputs.iter().map(|&(width, slot)| (width, self.take(slot))).collect();
        split(self.read(input), &mut taken);
        for (&(_, slot), (_, values)) in outputs.iter().zip(taken) {
            self.slots[slot] = Values::Write(values);
        }
    }

    fn read(&self, slot: Slot) -> &[f32] {
        match &self.slots[slot] {
            Values::Read(values) => values,
            Values::Write(values) => values,
        }
    }

    /// Lends out the output of a step, while its inputs are read.
    fn write(&mut self, slot: Slot, step: impl FnOnce(&Self, &mut [f32])) {
        let values = self.take(slot);
        step(self, values);
        self.slots[slot] = Values::Write(values);
    }

    fn take(&mut self, slot: Slot) -> &'a mut [f32] {
        match &mut self.slots[slot] {
            Values::Write(values) => take(values),
            Values::Read(_) => unreachable!("a segment writes to no slot that it only reads"),
        }
    }
}
