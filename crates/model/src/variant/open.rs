//! Opening a model to run it: everything that a loader would stumble over is said here.

use crate::bound::quantization_method;
use crate::checkpoint::Checkpoint;
use crate::opened::{Opened, OpenedMatrix, opened_soundly};
use crate::tied::refuse_differing;
use crate::variant::{Stored, Variant};
use llmopt_arch::{BindError, Model, Program};
use llmopt_checkpoint::Source;
use llmopt_codec::ConfigGroup;
use llmopt_run::Error;
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
        let source = Arc::new(Source::open(path)?);
        if source.config().is_none() {
            return Err(without_config(path));
        }
        match quantization_method(&source).as_deref() {
            None | Some("fp8") => Self::of(&Checkpoint::of(source)?),
            Some("compressed-tensors") => {
                let Opened { source, model, matrices } = opened_soundly(source)?;
                refuse_differing(&source, &model)?;
                Self::new(source, Arc::new(model), matrices, Activations::None)
            }
            Some(method) => Err(Error::RefusedWithHint {
                what: format!("`{method}` quantization cannot be run"),
                hint: "compressed-tensors artifacts and dense checkpoints can".to_owned(),
            }),
        }
    }

    /// An opened checkpoint, to be run. The runtimes of one whose weights are fp8 with block scales
    /// quantize a linear's inputs, too, in groups as wide as a block.
    ///
    /// # Errors
    /// If nothing tells how it is built, or its modules are not what a loader expects.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Checkpoint { source, model } = checkpoint.clone();
        if source.config().is_none() {
            return Err(without_config(source.path()));
        }
        let Some((weight, block)) = model.block_scales().iter().next() else {
            let Opened { matrices, .. } = opened_soundly(source.clone())?;
            return Self::new(source, model, matrices, Activations::None);
        };
        let columns = model.get(weight).and_then(|weight| weight.meta.shape().last().copied());
        let activations = match columns == Some(block.columns) {
            true => Activations::Fp8Token,
            false => Activations::Fp8Group(block.columns),
        };
        Self::new(source, model, Vec::new(), activations)
    }

    fn new(
        source: Arc<Source>,
        model: Arc<Model>,
        matrices: Vec<(String, OpenedMatrix)>,
        dense_activations: Activations,
    ) -> Result<Self, Error> {
        let program = Arc::new(program(&model)?);
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
        Ok(Self {
            source,
            model,
            program,
            matrices: Arc::new(stored),
            dense_activations,
            smoothing: None,
            borrowed: Arc::default(),
        })
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
