//! The rows that go to one expert, there and back.

use crate::buffers::Buffers;
use crate::matrix::Matrix;
use crate::ops::add::add;
use rayon::prelude::*;

/// The rows of `input` whose weight for `expert` is not zero.
pub(crate) fn gather(buffers: &Buffers, input: &Matrix, routes: &Matrix, expert: usize) -> Matrix {
    let columns = input.columns();
    let picked = picked(routes, expert);
    let mut output = buffers.matrix(picked.len(), columns);
    let rows = output.values_mut().par_chunks_exact_mut(columns).zip(&picked).with_min_len(64);
    rows.for_each(|(out, &row)| out.copy_from_slice(input.row(row)));
    output
}

/// Adds each row of `input`, times its weight, to the row from which it was picked. Whether there
/// are as many rows as are picked is returned; if not, nothing is added.
pub(crate) fn scatter(input: &Matrix, routes: &Matrix, expert: usize, output: &mut Matrix) -> bool {
    let columns = input.columns();
    let picked = picked(routes, expert);
    if picked.len() != input.rows() {
        return false;
    }
    let parts = output.values_mut().par_chunks_mut(ROWS_PER_PART * columns).enumerate();
    parts.for_each(|(part, values)| {
        let first = part * ROWS_PER_PART;
        let from = picked.partition_point(|&row| row < first);
        let rows = picked[from..].iter().take_while(|&&row| row < first + ROWS_PER_PART);
        for (number, &row) in rows.enumerate() {
            let weight = routes.row(row)[expert];
            let out = &mut values[(row - first) * columns..][..columns];
            add(input.row(from + number), weight, out);
        }
    });
    true
}

fn picked(routes: &Matrix, expert: usize) -> Vec<usize> {
    let weights = routes.values().chunks_exact(routes.columns());
    let chosen = weights.enumerate().filter(|(_, weights)| weights[expert] != 0.0);
    chosen.map(|(row, _)| row).collect()
}

const ROWS_PER_PART: usize = 256;
