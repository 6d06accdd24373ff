//! Opening a model to run it: everything that a loader would stumble over is said here.

use crate::bound::{bound, quantization_method};
use crate::opened::{Opened, opened};
use crate::tied::refuse_differing;
use crate::variant::{Stored, Variant};
use llmopt_arch::{BindError, Model, Program};
use llmopt_checkpoint::Source;
use llmopt_codec::ConfigGroup;
use llmopt_run::{Error, Fault};
use llmopt_scheme::Activations;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

impl Variant {
    /// Opens a dense folder, one of block-wise fp8 weights, or a compressed-tensors artifact.
    ///
    /// # Errors
    /// What keeps it from being read or understood, and whatever about an artifact would keep a
    /// loader from decoding what is meant.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let source = Source::open(path)?;
        if source.config().is_none() {
            return Err(without_config(path));
        }
        match quantization_method(&source).as_deref() {
            Some("fp8") => Self::of_blocks(source),
            None => {
                bound(&source)?;
                Self::of_artifact(source)
            }
            Some("compressed-tensors") => Self::of_artifact(source),
            Some(method) => Err(Error::RefusedWithHint {
                what: format!("`{method}` quantization cannot be run"),
                hint: "compressed-tensors artifacts and dense checkpoints can".to_owned(),
            }),
        }
    }

    /// A checkpoint whose weights are fp8 with block scales: its runtimes quantize a linear's inputs,
    /// too, in groups as wide as a block.
    fn of_blocks(source: Source) -> Result<Self, Error> {
        let model = bound(&source)?;
        refuse_differing(&source, &model)?;
        let dense_activations =
            model.block_scales().iter().next().map_or(Activations::None, |(weight, block)| {
                let columns =
                    model.get(weight).and_then(|weight| weight.meta.shape().last().copied());
                match columns == Some(block.columns) {
                    true => Activations::Fp8Token,
                    false => Activations::Fp8Group(block.columns),
                }
            });
        let program = program(&model)?;
        Ok(Self { source, model, program, matrices: BTreeMap::new(), dense_activations })
    }

    fn of_artifact(source: Source) -> Result<Self, Error> {
        let Opened { source, model, matrices } = opened(source)?.map_err(unsound)?;
        refuse_differing(&source, &model)?;
        let program = program(&model)?;
        let mut groups: Vec<Arc<ConfigGroup>> = Vec::new();
        let mut stored = BTreeMap::new();
        for (module, matrix) in matrices {
            let known = groups.iter().find(|known| ***known == matrix.group).cloned();
            let group = known.unwrap_or_else(|| Arc::new(matrix.group));
            if !groups.iter().any(|known| Arc::ptr_eq(known, &group)) {
                groups.push(group.clone());
            }
            let (rows, columns, scale_dtype) = (matrix.rows, matrix.columns, matrix.scale_dtype);
            stored.insert(format!("{module}.weight"), Stored { group, rows, columns, scale_dtype });
        }
        let dense_activations = Activations::None;
        Ok(Self { source, model, program, matrices: stored, dense_activations })
    }
}

fn program(model: &Model) -> Result<Program, Error> {
    match model.family() {
        Some(_) => model.program().map_err(unknown_forward),
        None => Err(Error::RefusedWithHint {
            what: "the model's family is unknown: it can be quantized, but not run".to_owned(),
            hint: "`model_type` in `config.json` names the family".to_owned(),
        }),
    }
}

fn unknown_forward(error: BindError) -> Error {
    Error::Bind { file: None, error: Box::new(error) }
}

fn without_config(path: &Path) -> Error {
    Error::RefusedWithHint {
        what: format!(
            "`{}` has no `config.json` beside it: its structure is unknown",
            path.display()
        ),
        hint: "give the folder that holds weights and config".to_owned(),
    }
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
