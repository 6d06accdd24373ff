//! The logits of every token as a safetensors file, for whoever wants to compare them with another
//! runtime's.

use llmopt_checkpoint::{Header, LoneFile};
use llmopt_forward::Matrix;
use llmopt_run::Error;
use llmopt_sweep::Batches;
use llmopt_tensor::{Dtype, TensorMeta, encode};
use std::collections::BTreeMap;
use std::path::Path;

/// A file of one tensor `logits`, F32, `[tokens, vocabulary]`: a row for every token of every
/// sequence, in order.
pub(super) struct LogitFile {
    file: LoneFile,
    header_bytes: u64,
    vocabulary: usize,
    /// The first row of each batch.
    first_rows: Vec<usize>,
}

impl LogitFile {
    /// Bytes of the file's data.
    pub(super) fn data_bytes(batches: &Batches, vocabulary: usize) -> u64 {
        (batches.tokens() * vocabulary * size_of::<f32>()) as u64
    }

    /// Creates the file at its full length.
    pub(super) fn create(path: &Path, batches: &Batches, vocabulary: usize) -> Result<Self, Error> {
        let meta = TensorMeta::new(Dtype::F32, [batches.tokens(), vocabulary])
            .map_err(|error| Error::Refused(format!("logits of so many tokens: {error}")))?;
        let entries = [("logits".to_owned(), meta)];
        let (header, _) = Header::encode(&BTreeMap::new(), &entries)
            .map_err(|error| Error::Refused(format!("logits of so many tokens: {error}")))?;
        let header_bytes = header.len() as u64;
        let file = LoneFile::create(path, header_bytes + Self::data_bytes(batches, vocabulary))?;
        file.write_at(0, &header)?;
        let first_rows = (0..batches.len()).scan(0, |rows, batch| {
            let first = *rows;
            *rows += batches.rows_of(batch);
            Some(first)
        });
        Ok(Self { file, header_bytes, vocabulary, first_rows: first_rows.collect() })
    }

    /// Writes a slice of the logits of every row of a batch.
    pub(super) fn write(&self, batch: usize, first: usize, logits: &Matrix) -> Result<(), Error> {
        let mut bytes = vec![0; logits.columns() * size_of::<f32>()];
        for row in 0..logits.rows() {
            encode(Dtype::F32, logits.row(row), &mut bytes)
                .map_err(|error| Error::Refused(error.to_string()))?;
            let number = (self.first_rows[batch] + row) * self.vocabulary + first;
            self.file.write_at(self.header_bytes + (number * size_of::<f32>()) as u64, &bytes)?;
        }
        Ok(())
    }

    /// Gives the file its name.
    pub(super) fn publish(self) -> Result<(), Error> {
        Ok(self.file.publish()?)
    }
}
