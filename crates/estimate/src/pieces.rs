//! Pieces that stages of several commands are made of.

use llmopt_sweep::{Kind, Work};

/// Looking for what is not finite.
pub fn looked_at(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64)
}

/// Bytes that are copied as they are.
pub fn copied(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64) + Work::of(Kind::Written, bytes as f64)
}

/// Reading what was written.
pub fn read_back(bytes: u64) -> Work {
    Work::of(Kind::Read, bytes as f64) + Work::of(Kind::Hashed, bytes as f64)
}

/// Multiply-adds of an optimal brain surgeon.
pub fn choosing(rows: usize, columns: usize, kept: usize) -> Work {
    let (rows, columns, gone) = (rows as f64, columns as f64, (columns - kept) as f64);
    // The inverse and the weights that go with it, then what each column that goes changes of both.
    let all = columns * columns * (columns + rows);
    Work::of(Kind::Pruned, all + gone * columns * (columns + 2.0 * rows))
}

/// Multiply-adds of least squares.
pub fn refitting(rows: usize, columns: usize, kept: usize) -> Work {
    let (rows, gone, kept) = (rows as f64, (columns - kept) as f64, kept as f64);
    Work::of(Kind::Pruned, kept.powi(3) / 3.0 + rows * kept * (kept + gone))
}
