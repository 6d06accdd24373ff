//! Pieces that stages of several commands are made of.

use super::Stages;
use super::forward::read;
use super::work::{Kind, Work};
use crate::calibration::{Own, SWEEPS};
use crate::decision::judging;
use llmopt_arch::Program;

/// Drawing windows from the model itself, sweep after sweep: as many of `windows` as are its `own` of so
/// many in `all`.
pub(crate) fn drawn(
    program: &Program,
    own: Option<&Own>,
    all: usize,
    windows: &[Vec<u32>],
) -> Stages {
    let Some(own) = own else { return Stages::new() };
    let share = own.windows as f64 / all.max(1) as f64;
    let drawn = ((windows.len() as f64 * share).round() as usize).min(windows.len());
    let batches = judging(&windows[..drawn]);
    // Noise for every logit costs more than looking at it.
    let noise = Work::of(Kind::Logits, 4.0 * (batches.tokens() * program.vocabulary) as f64);
    vec![("draw", read(program, &batches) + noise); SWEEPS as usize]
}

/// Looking for what is not finite.
pub(crate) fn looked_at(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64)
}

/// Bytes that are copied as they are.
pub(crate) fn copied(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64) + Work::of(Kind::Written, bytes as f64)
}

/// Reading what was written.
pub(crate) fn read_back(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64) + Work::of(Kind::Hashed, bytes as f64)
}

/// Multiply-adds of an optimal brain surgeon.
pub(crate) fn choosing(rows: usize, columns: usize, kept: usize) -> Work {
    let (rows, columns, gone) = (rows as f64, columns as f64, (columns - kept) as f64);
    // The inverse and the weights that go with it, then what each column that goes changes of both.
    let all = columns * columns * (columns + rows);
    Work::of(Kind::Pruned, all + gone * columns * (columns + 2.0 * rows))
}

/// Multiply-adds of least squares.
pub(crate) fn refitting(rows: usize, columns: usize, kept: usize) -> Work {
    let (rows, gone, kept) = (rows as f64, (columns - kept) as f64, kept as f64);
    Work::of(Kind::Pruned, kept.powi(3) / 3.0 + rows * kept * (kept + gone))
}
