//! A checkpoint that can be rewritten: its files, and what its tensors are.

use crate::bound::{bound, refuse_quantized};
use crate::tied::refuse_differing;
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_run::Error;
use std::path::Path;
use std::sync::Arc;

/// An opened checkpoint whose weights are dense, or dequantized as they are read. Clones share it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its files.
    pub source: Arc<Source>,
    /// What its tensors are.
    pub model: Arc<Model>,
}

impl Checkpoint {
    /// Opens a folder or a file.
    ///
    /// # Errors
    /// What keeps it from being read or understood; what it is quantized by already; and an output head
    /// that runtimes would disagree about.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let source = Source::open(path)?;
        refuse_quantized(&source)?;
        Self::of(Arc::new(source))
    }

    /// Of opened files that are not quantized, or in a way that is dequantized on the way.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn of(source: Arc<Source>) -> Result<Self, Error> {
        let model = bound(&source)?;
        refuse_differing(&source, &model)?;
        Ok(Self { source, model: Arc::new(model) })
    }
}
