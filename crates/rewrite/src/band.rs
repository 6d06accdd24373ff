//! A band: some rows of a tensor of the plan, as they are read and as they are stored.

use crate::artifact::{ArtifactPlan, Planned};
use crate::fingerprint::fingerprint;
use llmopt_checkpoint::OutFile;
use llmopt_run::Error;
use llmopt_scheme::SquaredError;
use std::borrow::Cow;
use std::ops::Range;

/// Some rows of a tensor.
#[derive(Clone, Debug)]
pub struct Band<'a> {
    /// The plan that it is of.
    pub plan: &'a ArtifactPlan,
    /// Its tensor.
    pub planned: Planned<'a>,
    /// Its rows.
    pub rows: Range<usize>,
}

/// A band as it will be stored: the bytes of each part, and what they lost.
pub struct Stored<'a> {
    /// In the order of [`OutputTensor::parts`](crate::OutputTensor::parts).
    pub parts: Vec<Cow<'a, [u8]>>,
    /// What they lost.
    pub error: SquaredError,
}

impl<'a> Stored<'a> {
    /// What lost nothing.
    pub fn lossless(parts: Vec<Cow<'a, [u8]>>) -> Self {
        Self { parts, error: SquaredError::default() }
    }
}

impl Band<'_> {
    /// How many bytes [`Band::read`] reads.
    pub fn source_bytes(&self) -> u64 {
        let range = self.planned.tensor.source_range(&self.rows, self.planned.named.meta);
        range.end - range.start
    }

    /// Reads the band's bytes into `bytes`, which is resized. Those of a tensor that is new are zero.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn read(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let range = self.planned.tensor.source_range(&self.rows, self.planned.named.meta);
        bytes.clear();
        bytes.resize((range.end - range.start) as usize, 0);
        match self.plan.source_entry(&self.planned) {
            Some(entry) => {
                Ok(self.plan.source_of(self.planned.shard).read_tensor(entry, range, bytes)?)
            }
            None => Ok(()),
        }
    }

    /// Writes what is stored of the band, and returns the fingerprint of each part.
    pub(crate) fn write(&self, band: &Stored<'_>, file: &OutFile) -> Result<Vec<u64>, Error> {
        let Planned { tensor, named, .. } = self.planned;
        let mut prints = Vec::with_capacity(band.parts.len());
        for (stored, bytes) in tensor.stored(named).zip(&band.parts) {
            let range = tensor.range(&stored, &self.rows);
            let bytes = if range.is_empty() { &[] } else { &**bytes };
            file.write_at(range.start, bytes)?;
            prints.push(fingerprint(range.start, bytes));
        }
        Ok(prints)
    }
}
