//! Rows of a dense matrix as f32, whatever type they are stored in.

use llmopt_arch::BlockScale;
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_run::Error;
use llmopt_tensor::decode;
use std::ops::Range;

/// Some rows of a matrix of `source`.
pub struct Rows<'a> {
    /// The files, in which block scales are looked up.
    pub source: &'a Source,
    /// The file that holds the matrix.
    pub shard: &'a Shard,
    /// The matrix.
    pub entry: &'a HeaderEntry,
    /// Block scales of an F8_E4M3 matrix.
    pub block_scale: Option<&'a BlockScale>,
    /// Its columns.
    pub columns: usize,
    /// Which of its rows.
    pub rows: Range<usize>,
}

impl Rows<'_> {
    /// The rows that `bytes` hold, `[rows, columns]`; block scales are multiplied in.
    pub fn weights(&self, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let mut weights = Vec::new();
        self.weights_into(bytes, &mut weights)?;
        Ok(weights)
    }

    /// As [`Rows::weights`], in a buffer that was used before.
    pub fn weights_into(&self, bytes: &[u8], weights: &mut Vec<f32>) -> Result<(), Error> {
        weights.resize(self.rows.len() * self.columns, 0.0);
        decode(self.entry.meta.dtype(), bytes, weights).map_err(|error| Error::Input {
            what: format!("tensor `{}`: {error}\n  in `{}`", self.entry.name, self.shard.name),
            hint: None,
        })?;
        if let Some(block) = self.block_scale {
            let across = self.columns.div_ceil(block.columns);
            let first = self.rows.start / block.rows;
            let scales = self.block_scales(&block.tensor, first, across, block.rows)?;
            for (row, weights) in self.rows.clone().zip(weights.chunks_mut(self.columns)) {
                let scales = &scales[(row / block.rows - first) * across..][..across];
                for (weights, scale) in weights.chunks_mut(block.columns).zip(scales) {
                    weights.iter_mut().for_each(|weight| *weight *= scale);
                }
            }
        }
        Ok(())
    }

    /// The block scales of these rows, from row `first` of blocks on, `[blocks, across]`.
    fn block_scales(
        &self,
        tensor: &str,
        first: usize,
        across: usize,
        block_rows: usize,
    ) -> Result<Vec<f32>, Error> {
        let missing = || Error::Input {
            what: format!("tensor `{tensor}` is missing, which `{}` needs", self.entry.name),
            hint: None,
        };
        let (shard, entry) = self.source.entry(tensor).ok_or_else(missing)?;
        let element_bytes = entry.meta.dtype().bits() / 8;
        let begin = first * across * element_bytes;
        let end = self.rows.end.div_ceil(block_rows) * across * element_bytes;
        let mut bytes = vec![0; end - begin];
        shard.read_tensor(entry, begin as u64..end as u64, &mut bytes)?;
        let mut scales = vec![0.0; bytes.len() / element_bytes];
        decode(entry.meta.dtype(), &bytes, &mut scales).map_err(|_| missing())?;
        Ok(scales)
    }
}
