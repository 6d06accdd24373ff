//! One of two models: what it stores, and its weights as numbers.

use llmopt_arch::{BoundTensor, Model, Role};
use llmopt_checkpoint::{Config, Source};
use llmopt_model::{
    Matrix, OpenedMatrix, Rows, WEIGHT, bound, opened_soundly, quantization_method, report_file,
    source_name,
};
use llmopt_run::Error;
use llmopt_tensor::Dtype;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSide {
    /// The name of its folder or file.
    pub name: String,
    /// Its family; none when names and shapes decided.
    pub family: Option<String>,
    /// Layers.
    pub layers: usize,
    /// Weights, those that are quantized counted as what they stand for.
    pub parameters: u64,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// Bits of the weight files per weight.
    pub bits_per_weight: f64,
}

/// A tensor as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredTensor {
    /// The scheme of a quantized matrix, the element type of any other tensor.
    pub stored: String,
    /// Its shape; of a quantized matrix that of the weights that it stands for.
    pub shape: Vec<usize>,
    /// Bytes that hold it, scales included.
    pub bytes: u64,
}

/// An opened model.
pub(super) struct Side {
    source: Arc<Source>,
    model: Model,
    /// The quantized matrices, by the name that the dense weight would have.
    matrices: BTreeMap<String, OpenedMatrix>,
}

impl Side {
    /// Opens a dense model, one of block-wise fp8 weights, or a compressed-tensors artifact.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let source = Arc::new(Source::open(path)?);
        match quantization_method(&source).as_deref() {
            None | Some("fp8") => {
                let model = bound(&source)?;
                Ok(Self { source, model, matrices: BTreeMap::new() })
            }
            Some("compressed-tensors") => {
                let opened = opened_soundly(source)?;
                let matrices = opened.matrices.into_iter();
                let matrices =
                    matrices.map(|(module, found)| (format!("{module}.{WEIGHT}"), found));
                let (source, model) = (opened.source, opened.model);
                Ok(Self { matrices: matrices.collect(), source, model })
            }
            Some(method) => Err(Error::RefusedWithHint {
                what: format!(
                    "`{}` is quantized by `{method}`, whose weights cannot be decoded",
                    path.display()
                ),
                hint: "compressed-tensors artifacts and dense checkpoints can be compared"
                    .to_owned(),
            }),
        }
    }

    pub(super) fn facts(&self) -> ModelSide {
        let bytes: u64 = self.source.shards().iter().map(|shard| shard.bytes).sum();
        let parameters = self.tensors().map(|tensor| tensor.meta.elements());
        let parameters = parameters.fold(0, u64::saturating_add);
        ModelSide {
            name: source_name(&self.source),
            family: self.model.family().map(|family| family.name().to_owned()),
            layers: self.model.layers(),
            parameters,
            bytes,
            bits_per_weight: bytes as f64 * 8.0 / parameters.max(1) as f64,
        }
    }

    /// Every tensor, sorted by name; scales of blocks are part of what they scale.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &BoundTensor> {
        self.model.tensors().iter().filter(|tensor| tensor.role != Role::BlockScale)
    }

    pub(super) fn layers(&self) -> usize {
        self.model.layers()
    }

    pub(super) fn config(&self) -> Option<&Config> {
        self.source.config()
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Where the report of the run that wrote it lies, if it does.
    pub(super) fn report_path(&self) -> Option<PathBuf> {
        report_file::path(&self.source)
    }

    pub(super) fn stored(&self, tensor: &BoundTensor) -> StoredTensor {
        let shape = tensor.meta.shape().to_vec();
        if let Some(matrix) = self.matrices.get(&tensor.name) {
            return StoredTensor { stored: matrix.scheme(), shape, bytes: matrix.bytes() };
        }
        let scales = self.model.block_scale_of(&tensor.name);
        let scales = scales.and_then(|block| self.source.meta(&block.tensor));
        let bytes = tensor.meta.bytes() + scales.map_or(0, |meta| meta.bytes());
        let dtype = tensor.meta.dtype().to_string();
        let stored = if scales.is_some() { format!("{dtype} with block scales") } else { dtype };
        StoredTensor { stored, shape, bytes }
    }

    /// Whether a tensor holds numbers that can be decoded.
    pub(super) fn is_decodable(&self, tensor: &BoundTensor) -> bool {
        let dtype = tensor.meta.dtype();
        self.matrices.contains_key(&tensor.name)
            || dtype.is_plain_float()
            || matches!(dtype, Dtype::F64 | Dtype::F8E4M3)
    }

    /// Some rows of a tensor as f32, `[rows, columns]`, in buffers that were used before.
    pub(super) fn read(
        &self,
        tensor: &BoundTensor,
        rows: Range<usize>,
        columns: usize,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        match self.matrices.get(&tensor.name) {
            Some(matrix) => self.read_quantized(&tensor.name, matrix, rows, buffers),
            None => self.read_dense(&tensor.name, rows, columns, buffers),
        }
    }

    fn read_quantized(
        &self,
        name: &str,
        matrix: &OpenedMatrix,
        rows: Range<usize>,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        let &OpenedMatrix { ref group, rows: height, columns, scale_dtype } = matrix;
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let matrix = Matrix { module, group, rows: height, columns, scale_dtype };
        buffers.weights.resize(rows.len() * columns, 0.0);
        let (decoded, _) = matrix.read(&self.source, rows)?;
        let decoded = decoded.map_err(|error| Error::Input {
            what: format!("tensor `{name}`: {error}\n  in `{}`", source_name(&self.source)),
            hint: Some("`llmopt verify` lists everything that is wrong".to_owned()),
        })?;
        decoded.dequantize_into(&mut buffers.weights);
        Ok(())
    }

    fn read_dense(
        &self,
        name: &str,
        rows: Range<usize>,
        columns: usize,
        buffers: &mut Buffers,
    ) -> Result<(), Error> {
        let missing = || Error::Input {
            what: format!("tensor `{name}` is missing\n  in `{}`", source_name(&self.source)),
            hint: None,
        };
        let (shard, entry) = self.source.entry(name).ok_or_else(missing)?;
        let row_bytes = (columns * entry.meta.dtype().bits() / 8) as u64;
        let range = rows.start as u64 * row_bytes..rows.end as u64 * row_bytes;
        buffers.bytes.resize((range.end - range.start) as usize, 0);
        shard.read_tensor(entry, range, &mut buffers.bytes)?;
        let block_scale = self.model.block_scale_of(name);
        let rows = Rows { source: &self.source, shard, entry, block_scale, columns, rows };
        rows.weights_into(&buffers.bytes, &mut buffers.weights)
    }
}

/// Room to work in, used band after band.
#[derive(Default)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    /// What was read.
    pub(super) weights: Vec<f32>,
}
