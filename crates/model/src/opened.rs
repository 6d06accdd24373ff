//! An artifact opened as a loader does: names, shapes and config, no data.

use crate::artifact::Artifact;
use crate::findings::Findings;
use crate::matrix::Matrix;
use crate::{binding, modules};
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_codec::ConfigGroup;
use llmopt_run::{Error, Fault};
use llmopt_tensor::Dtype;
use std::sync::Arc;

/// An artifact that a loader can decode.
pub struct Opened {
    /// Its files.
    pub source: Arc<Source>,
    /// Quantized matrices stand in it as the dense ones that they stand for.
    pub model: Model,
    /// The quantized modules by name.
    pub matrices: Vec<(String, OpenedMatrix)>,
}

/// What is stored of a quantized module.
pub struct OpenedMatrix {
    /// The group of the config that it is in.
    pub group: ConfigGroup,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// The type of its scales.
    pub scale_dtype: Dtype,
}

impl OpenedMatrix {
    /// How its weights are quantized.
    pub fn scheme(&self) -> String {
        self.group.scheme.to_string()
    }

    /// Bytes of all its parts.
    pub fn bytes(&self) -> u64 {
        let &Self { ref group, rows, columns, scale_dtype } = self;
        Matrix { module: "", group, rows, columns, scale_dtype }.bytes()
    }
}

/// Opens an artifact as a loader does: names, shapes and config, no data. The inner error is what is
/// wrong with it.
pub fn opened(source: Arc<Source>) -> Result<Result<Opened, Vec<Fault>>, Error> {
    let mut findings = Findings::default();
    let artifact = Artifact::new(source, &mut findings);
    let matrices = modules::check(&artifact, &mut findings)?;
    let model = binding::check(&artifact, &matrices, &mut findings);
    let owned = |matrix: &Matrix<'_>| {
        let &Matrix { group, rows, columns, scale_dtype, .. } = matrix;
        let group = group.clone();
        (matrix.module.to_owned(), OpenedMatrix { group, rows, columns, scale_dtype })
    };
    let matrices: Vec<_> = matrices.sound.iter().map(owned).collect();
    let faults = findings.finish().0;
    Ok(match model {
        Some(model) if faults.is_empty() => Ok(Opened { source: artifact.source, model, matrices }),
        _ => Err(faults),
    })
}

/// Opens an artifact as a loader does, and refuses one that it would not take.
///
/// # Errors
/// If it cannot be read, or the first things that are wrong with it.
pub fn opened_soundly(source: Arc<Source>) -> Result<Opened, Error> {
    opened(source)?.map_err(unsound)
}

/// The first faults of an artifact, as one error.
fn unsound(faults: Vec<Fault>) -> Error {
    let line = |fault: &Fault| format!("  {}: {}", fault.subject, fault.message);
    let shown: Vec<String> = faults.iter().take(SHOWN_FAULTS).map(line).collect();
    let more = match faults.len().saturating_sub(SHOWN_FAULTS) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    Error::Input {
        what: format!("the artifact is not what a loader expects:\n{}{more}", shown.join("\n")),
        hint: Some("`llmopt verify` lists everything".to_owned()),
    }
}

const SHOWN_FAULTS: usize = 3;
