//! How much memory a run needs, and how many workers fit a budget.

use crate::error::Error;
use crate::resources::Resources;
use serde::Serialize;

/// What a run will take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// A bound on resident memory with the workers planned.
    pub predicted_peak: u64,
    /// The bound asked for.
    pub budget: u64,
    /// The smallest bound that works.
    pub smallest: u64,
    /// Threads that fit.
    pub workers: usize,
}

impl Memory {
    /// Fits as many workers as threads and budget allow.
    ///
    /// # Errors
    /// [`Error::Budget`] if not even one fits.
    pub fn planned(
        tensors: usize,
        names_bytes: usize,
        worker_bytes: u64,
        resources: Resources,
    ) -> Result<Self, Error> {
        let base = base_bytes(tensors, names_bytes);
        let worker_bytes = worker_bytes + WORKER_BYTES;
        let fitting = resources.memory.saturating_sub(base) / worker_bytes;
        let smallest = base + worker_bytes;
        let given = resources.memory;
        let workers = (fitting.min(resources.threads as u64)) as usize;
        match workers {
            0 => Err(Error::Budget { given, smallest }),
            _ => Ok(Self {
                predicted_peak: base + workers as u64 * worker_bytes,
                budget: given,
                smallest,
                workers,
            }),
        }
    }
}

/// What the program takes for itself, and to know so many tensors by name.
pub fn base_bytes(tensors: usize, names_bytes: usize) -> u64 {
    BASE_BYTES + known_bytes(tensors, names_bytes)
}

/// What it takes to know so many tensors by name.
pub fn known_bytes(tensors: usize, names_bytes: usize) -> u64 {
    (tensors * TENSOR_BYTES + names_bytes * COPIES_OF_A_NAME) as u64
}

/// The program itself: code, of which a machine may map all, the allocator's slack, the main thread.
const BASE_BYTES: u64 = 32 << 20;
/// Per worker: stack, allocator arena, the pieces of a report in flight.
const WORKER_BYTES: u64 = 4 << 20;
/// Per tensor: its entries in headers, model, plan and report, names apart.
const TENSOR_BYTES: usize = 1700;
/// How often a name is held at the same time: in header, model, plan and report.
const COPIES_OF_A_NAME: usize = 12;
