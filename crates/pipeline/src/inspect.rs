//! What is in a checkpoint, what can be shrunk, and what each scheme would weigh: from headers alone.

mod artifact;

pub use artifact::{ArtifactFacts, MatrixKind, Stored};

use crate::recipe::Recipe;
use crate::select::{Selection, selected};
use crate::stacked::StackedExperts;
use crate::unknown::UnknownTensors;
use llmopt_arch::{BoundTensor, Model, Role, scaled_weight};
use llmopt_checkpoint::Source;
use llmopt_codec::{Runtime, for_scheme};
use llmopt_model::tied::differing;
use llmopt_model::{OpenedMatrix, bound, notes, quantization_method};
use llmopt_run::{Error, Fault};
use llmopt_scheme::Scheme;
use llmopt_tensor::TensorMeta;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a look at the headers tells.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The input's path.
    pub path: String,
    /// Its family; `None` when names and shapes decide.
    pub family: Option<String>,
    /// `model_type` of the config.
    pub model_type: Option<String>,
    /// Layers.
    pub layers: usize,
    /// Weights, those that are quantized counted as what they stand for.
    pub parameters: u64,
    /// Bytes of all weight files.
    pub bytes: u64,
    /// The weight files.
    pub shards: Vec<ShardFacts>,
    /// What there is of each element type.
    pub dtypes: Vec<Amount>,
    /// What there is in each role.
    pub roles: Vec<Amount>,
    /// Embedding and head, when they are one.
    pub tied: Option<(String, String)>,
    /// Whether the file holds a head of its own all the same, with other values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tied_differ: bool,
    /// What a reader should know of its files.
    pub notes: Vec<String>,
    /// How the checkpoint is quantized already.
    pub quantization: Option<String>,
    /// What it stores and how it was made, if it is an artifact of compressed-tensors, or of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactFacts>,
    /// The matrices that are quantized unless told otherwise.
    pub quantizable: Amount,
    /// Experts that would stay dense because they are stacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacked_experts: Option<StackedExperts>,
    /// What the model has that its family does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tensors: Option<UnknownTensors>,
    /// What the artifact of each scheme would weigh; none for what is quantized already.
    pub schemes: Vec<SchemeWeight>,
}

/// A weight file.
#[derive(Clone, Debug, Serialize)]
pub struct ShardFacts {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Tensors in it.
    pub tensors: usize,
}

/// So many tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Of what: an element type, a role.
    pub what: String,
    /// How many tensors.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// What the artifact of a scheme would weigh.
#[derive(Clone, Debug, Serialize)]
pub struct SchemeWeight {
    /// The scheme.
    pub scheme: String,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// Of the checkpoint's bytes, the share that is left.
    pub share: f64,
    /// Bits stored per weight, over the whole model.
    pub bits_per_weight: f64,
    /// Why the default runtimes do not take it.
    pub refused: Option<String>,
}

/// Looks at a checkpoint's headers.
///
/// # Errors
/// The input is wrong, or its family cannot be quantized. What is wrong with an artifact is told, not an
/// error.
pub fn inspect(path: &Path) -> Result<Inspection, Error> {
    let source = Arc::new(Source::open(path)?);
    let quantization = quantization_method(&source);
    let looked = match quantization.as_deref() {
        None | Some("fp8") => {
            let model = bound(&source)?;
            Looked::dense(source, Some(model))
        }
        Some("compressed-tensors") => Looked::at_artifact(source)?,
        Some(_) => Looked::dense(source, None),
    };
    let Looked { source, model, .. } = &looked;
    let tied_differ = model.as_ref().map(|model| differing(source, model)).transpose()?.flatten();
    let tensors = || source.shards().iter().flat_map(|shard| shard.header.tensors());
    let facts = source.shards().iter().map(|shard| ShardFacts {
        name: shard.name.clone(),
        bytes: shard.bytes,
        tensors: shard.header.tensors().len(),
    });
    let by_dtype = tensors().map(|entry| (entry.meta.dtype().to_string(), raw(&entry.meta)));
    let roles = model.iter().flat_map(|model| model.tensors());
    let by_role = roles.map(|tensor| (tensor.role.name().to_owned(), looked.amount(tensor)));
    let usable = model.iter().filter(|_| looked.matrices.is_empty());
    let sites = usable.clone().flat_map(|model| model.linear_weights());
    let quantizable = sites.filter_map(|site| source.meta(&site.tensor));
    let model_type = source.config().and_then(|config| config.str_at("model_type").ok().flatten());
    Ok(Inspection {
        path: path.display().to_string(),
        family: model.as_ref().and_then(Model::family).map(|family| family.name().to_owned()),
        model_type: model_type.map(str::to_owned),
        layers: model.as_ref().map_or(0, Model::layers),
        parameters: looked.parameters(),
        bytes: source.shards().iter().map(|shard| shard.bytes).sum(),
        shards: facts.collect(),
        dtypes: amounts(by_dtype),
        roles: amounts(by_role),
        tied: model.as_ref().and_then(Model::tied).map(|(a, b)| (a.to_owned(), b.to_owned())),
        notes: match model {
            Some(model) => notes::of_model(source, model),
            None => source.notes().to_vec(),
        },
        tied_differ: tied_differ.is_some(),
        artifact: looked.artifact(quantization.as_deref() == Some("compressed-tensors"))?,
        quantization,
        quantizable: amounts(quantizable.map(|meta| ("quantizable".to_owned(), raw(meta))))
            .pop()
            .unwrap_or_default(),
        stacked_experts: model.as_ref().and_then(|model| StackedExperts::of(model.stacks().iter())),
        unknown_tensors: model
            .as_ref()
            .and_then(|model| UnknownTensors::of(model, &[Runtime::Transformers, Runtime::Vllm])),
        schemes: usable.flat_map(|model| weights(source, model)).collect(),
    })
}

/// A checkpoint, and what its tensors are.
struct Looked {
    source: Arc<Source>,
    /// None, where they cannot be told. Quantized matrices stand in it as what they stand for.
    model: Option<Model>,
    /// The quantized matrices, by the name that the dense weight would have.
    matrices: BTreeMap<String, OpenedMatrix>,
    /// Why an artifact cannot be told.
    faults: Vec<Fault>,
}

impl Looked {
    fn dense(source: Arc<Source>, model: Option<Model>) -> Self {
        Self { source, model, matrices: BTreeMap::new(), faults: Vec::new() }
    }

    /// Weights of the model; elements of the file, where it cannot be told. Scales of blocks are none.
    fn parameters(&self) -> u64 {
        let raw = self.source.shards().iter().flat_map(|shard| shard.header.tensors());
        match &self.model {
            None => raw.map(|entry| entry.meta.elements()).fold(0, u64::saturating_add),
            Some(model) => {
                let by_role = model.parameters_by_role();
                let weights = by_role.iter().filter(|(role, _)| **role != Role::BlockScale);
                weights.fold(0, |sum, (_, parameters)| sum.saturating_add(*parameters))
            }
        }
    }

    /// Elements of a tensor, and the bytes that hold them.
    fn amount(&self, tensor: &BoundTensor) -> (u64, u64) {
        let matrix = self.matrices.get(&tensor.name);
        (tensor.meta.elements(), matrix.map_or(tensor.meta.bytes(), OpenedMatrix::bytes))
    }
}

fn raw(meta: &TensorMeta) -> (u64, u64) {
    (meta.elements(), meta.bytes())
}

/// Sums of elements and bytes per name, the largest first.
fn amounts(tensors: impl Iterator<Item = (String, (u64, u64))>) -> Vec<Amount> {
    let mut amounts: BTreeMap<String, Amount> = BTreeMap::new();
    for (what, (elements, bytes)) in tensors {
        let amount = amounts.entry(what.clone()).or_insert(Amount { what, ..Amount::default() });
        amount.tensors += 1;
        amount.parameters += elements;
        amount.bytes += bytes;
    }
    let mut amounts: Vec<_> = amounts.into_values().collect();
    amounts.sort_by_key(|amount| std::cmp::Reverse(amount.bytes));
    amounts
}

/// What each scheme would weigh, where it can be had at all.
fn weights(source: &Source, model: &Model) -> Vec<SchemeWeight> {
    let schemes = Scheme::NAMES.iter().filter_map(|name| Scheme::preset(name).ok());
    schemes.filter_map(|scheme| weight(source, model, scheme)).collect()
}

fn weight(source: &Source, model: &Model, scheme: Scheme) -> Option<SchemeWeight> {
    let recipe = Recipe::new(scheme);
    let anywhere = Recipe { runtimes: Vec::new(), ..recipe.clone() };
    let selection = selected(model, &anywhere, &BTreeMap::new()).ok()?;
    let refused = selected(model, &recipe, &BTreeMap::new()).err().map(|error| error.to_string());
    let (mut before, mut after, mut parameters) = (0, 0, 0);
    for entry in source.shards().iter().flat_map(|shard| shard.header.tensors()) {
        before += entry.meta.bytes();
        let absorbed = scaled_weight(&entry.name).and_then(|weight| model.block_scale_of(&weight));
        if absorbed.is_none() {
            after += stored_bytes(model, &selection, &entry.name, &entry.meta)?;
            parameters += entry.meta.elements();
        }
    }
    let granularity = selection.linears(model).next().map(|(_, scheme)| scheme.granularity)?;
    Some(SchemeWeight {
        scheme: Scheme { granularity, ..scheme }.to_string(),
        bytes: after,
        share: after as f64 / f64::max(before as f64, 1.0),
        bits_per_weight: after as f64 * 8.0 / f64::max(parameters as f64, 1.0),
        refused,
    })
}

/// Bytes of a tensor in the artifact. Scales and dense weights that were E4M3 take two bytes.
fn stored_bytes(
    model: &Model,
    selection: &Selection,
    name: &str,
    meta: &TensorMeta,
) -> Option<u64> {
    let wide = match meta.dtype() {
        llmopt_tensor::Dtype::F64 => llmopt_tensor::Dtype::F32,
        dtype if dtype.is_plain_float() => dtype,
        _ => llmopt_tensor::Dtype::BF16,
    };
    match (selection.scheme_of(name), meta.shape()) {
        (Some(scheme), &[rows, columns]) => {
            let parts = for_scheme(&scheme).layout(&scheme, wide, rows, columns).ok()?;
            Some(parts.iter().map(|part| part.meta.bytes()).sum())
        }
        _ if model.block_scale_of(name).is_some() => Some(meta.elements() * 2),
        _ => Some(meta.bytes()),
    }
}
