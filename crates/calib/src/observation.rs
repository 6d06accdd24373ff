//! Sums over the tokens that a site has seen.

use llmopt_forward::Matrix;
use llmopt_linalg::{Cross, Gemm, Symmetric};

/// Which sums are asked for. Second moments always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `sum x x^T`.
    pub gram: bool,
    /// `sum (x_before - x) x^T`, against the stream of the stage before; also of what outputs are
    /// added to, where they are.
    pub cross: bool,
}

/// The sizes of what a site shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Input features.
    pub columns: usize,
    /// Width of the stream that outputs are added to, where they are.
    pub residual: Option<usize>,
}

/// A batch of tokens in the stream of the stage before: inputs, and what outputs are added to in the
/// two streams.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Inputs, `[tokens, columns]`.
    pub inputs: &'a Matrix,
    /// What outputs are added to: before, and now, `[tokens, residual]`.
    pub residual: Option<(&'a Matrix, &'a Matrix)>,
}

/// Sums over tokens of what stood at a site. Tokens are taken in the order in which they come, in
/// pieces of constant size, so that neither threads nor a budget show in a bit of it.
#[derive(Clone)]
pub struct Observation {
    pub(crate) tokens: u64,
    pub(crate) squares: Vec<f64>,
    pub(crate) gram: Option<Symmetric>,
    cross: Option<Cross>,
    residual: Option<Cross>,
}

impl Needs {
    /// Whether one of the two asks.
    pub fn union(self, other: Self) -> Self {
        Self { gram: self.gram || other.gram, cross: self.cross || other.cross }
    }
}

impl Observation {
    /// Nothing seen yet.
    pub fn new(extent: Extent, needs: Needs) -> Self {
        let Extent { columns, residual } = extent;
        let width = residual.filter(|_| needs.cross);
        Self {
            tokens: 0,
            squares: vec![0.0; columns],
            gram: needs.gram.then(|| Symmetric::zeros(columns)),
            cross: needs.cross.then(|| Cross::zeros(columns)),
            residual: width.map(|width| Cross::rectangle(width, columns)),
        }
    }

    /// The memory that one takes.
    pub fn bytes(extent: Extent, needs: Needs) -> u64 {
        let Extent { columns, residual } = extent;
        let gram = if needs.gram { Symmetric::bytes(columns) } else { 0 };
        let rows = columns + residual.unwrap_or(0);
        let cross = if needs.cross { Cross::bytes(rows, columns) } else { 0 };
        (columns * size_of::<f64>()) as u64 + gram + cross
    }

    /// The memory that adding so many tokens takes meanwhile.
    pub fn adding_bytes(gemm: Gemm, extent: Extent, tokens: usize, threads: usize) -> u64 {
        let Extent { columns, residual } = extent;
        let rows = columns.max(residual.unwrap_or(0));
        let differences = tokens * rows * size_of::<f32>();
        let gram = Symmetric::add_products_bytes(gemm, columns, threads);
        (differences + gram.max(Cross::add_products_bytes(gemm, rows, columns, threads))) as u64
    }

    /// Adds tokens, `[tokens, columns]`.
    pub fn add(&mut self, gemm: Gemm, seen: &Matrix) {
        self.tokens += seen.rows() as u64;
        for row in seen.values().chunks_exact(self.squares.len()) {
            for (sum, &x) in self.squares.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        if let Some(gram) = &mut self.gram {
            gram.add_products(gemm, seen.values());
        }
    }

    /// Adds tokens with what the same tokens were in the stream of the stage before.
    pub fn add_beside(&mut self, gemm: Gemm, before: Before<'_>, seen: &Matrix) {
        self.add(gemm, seen);
        if let Some(cross) = &mut self.cross {
            cross.add_products(gemm, &differences(before.inputs, seen), seen.values());
        }
        if let (Some(sums), Some((before, now))) = (&mut self.residual, before.residual) {
            sums.add_products(gemm, &differences(before, now), seen.values());
        }
    }

    /// Adds what another observation of the same needs has seen.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, x)| *sum += x);
        if let (Some(gram), Some(other)) = (&mut self.gram, &other.gram) {
            gram.add(other);
        }
        if let (Some(cross), Some(other)) = (&mut self.cross, &other.cross) {
            cross.add(other);
        }
        if let (Some(residual), Some(other)) = (&mut self.residual, &other.residual) {
            residual.add(other);
        }
    }

    /// How many tokens were seen.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Sum of squares of each input feature.
    pub fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// `sum x x^T`, if it was asked for.
    pub fn gram(&self) -> Option<&Symmetric> {
        self.gram.as_ref()
    }

    /// `sum (x_before - x) x^T`, if it was asked for.
    pub fn cross(&self) -> Option<&Cross> {
        self.cross.as_ref()
    }

    /// `sum (s_before - s) x^T`, `[residual, columns]`, where outputs are added to `s` and it was asked
    /// for.
    pub fn residual(&self) -> Option<&Cross> {
        self.residual.as_ref()
    }
}

fn differences(before: &Matrix, now: &Matrix) -> Vec<f32> {
    before.values().iter().zip(now.values()).map(|(before, now)| before - now).collect()
}
