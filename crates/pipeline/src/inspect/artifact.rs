//! An artifact as what it stands for: how each kind of matrix is stored, what a weight takes, and what
//! the report beside it tells of how it was made.

use crate::inspect::Looked;
use crate::record::{Record, RecordFacts, Recorded};
use llmopt_arch::{BoundTensor, Model, Role};
use llmopt_checkpoint::Source;
use llmopt_model::{OpenedMatrix, kind_label, kind_pattern, opened};
use llmopt_run::{Error, Fault};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an artifact stores, and how it was made.
#[derive(Clone, Debug, Serialize)]
pub struct ArtifactFacts {
    /// The layouts of its quantized matrices, as the format calls them: `pack-quantized`, ...
    pub formats: Vec<&'static str>,
    /// The matrices that are quantized.
    pub quantized: Stored,
    /// The linear layers' matrices, quantized or not.
    pub linears: Stored,
    /// All tensors.
    pub all: Stored,
    /// Its matrices by kind and by how they are stored, in the order of execution.
    pub matrices: Vec<MatrixKind>,
    /// What the report beside it tells; none, if there is no report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordFacts>,
    /// Why what lies where the report would be is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_unreadable: Option<String>,
    /// What keeps loaders from reading it as it is meant. Where there is anything, figures are those of
    /// the tensors in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// What some tensors take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stored {
    /// How many tensors of the dense model.
    pub tensors: usize,
    /// Weights.
    pub parameters: u64,
    /// Bytes that hold them: codes, scales, zero points and shapes; of all tensors, the weight files.
    pub bytes: u64,
    /// Bits of these per weight.
    pub bits_per_weight: f64,
}

/// Matrices of the same kind that are stored alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatrixKind {
    /// The end of their names: `self_attn.q_proj`.
    pub kind: String,
    /// The scheme; an element type for dense ones.
    pub scheme: String,
    /// Whether they are quantized.
    pub is_quantized: bool,
    /// What they take.
    #[serde(flatten)]
    pub stored: Stored,
    /// How their codes were chosen, by how many: of those whose inputs were observed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, usize>,
    /// What was done to them, if they are dense, but not as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// Why they got something else than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

impl Looked {
    /// Opens what compressed-tensors wrote as a loader does.
    ///
    /// # Errors
    /// What keeps the files from being read.
    pub(super) fn at_artifact(source: Arc<Source>) -> Result<Self, Error> {
        Ok(match opened(source.clone())? {
            Ok(opened) => {
                let named = |(module, matrix)| (format!("{module}.weight"), matrix);
                let matrices = opened.matrices.into_iter().map(named).collect();
                Self { matrices, ..Self::dense(source, Some(opened.model)) }
            }
            Err(faults) => Self { faults, ..Self::dense(source, None) },
        })
    }

    /// What there is to say of an artifact: of one that is quantized, or that has a report.
    pub(super) fn artifact(&self, is_quantized: bool) -> Result<Option<ArtifactFacts>, Error> {
        let (record, unreadable) = match Record::beside(&self.source)? {
            Recorded::Nothing if !is_quantized => return Ok(None),
            Recorded::Nothing => (None, None),
            Recorded::Unreadable(why) => (None, Some(why)),
            Recorded::Found(record) => (Some(record), None),
        };
        let tensors = || self.model.iter().flat_map(Model::tensors);
        let stored = |is_it: &dyn Fn(&BoundTensor) -> bool| {
            Stored::of(tensors().filter(|tensor| is_it(tensor)).map(|tensor| self.amount(tensor)))
        };
        let mut formats: Vec<_> = self.matrices.values().map(|m| m.group.format).collect();
        formats.sort_unstable();
        formats.dedup();
        Ok(Some(ArtifactFacts {
            formats,
            quantized: stored(&|tensor| self.matrices.contains_key(&tensor.name)),
            linears: stored(&|tensor| tensor.role == Role::Linear),
            all: stored(&|_| true).in_files(&self.source),
            matrices: self.kinds(record.as_deref()),
            record: record.map(|record| record.facts(&self.source)),
            record_unreadable: unreadable,
            faults: self.faults.clone(),
        }))
    }

    fn kinds(&self, record: Option<&Record>) -> Vec<MatrixKind> {
        let Some(model) = &self.model else { return Vec::new() };
        let (recorded, fallbacks) = match record {
            Some(record) => (record.tensors(), record.fallbacks()),
            None => (BTreeMap::new(), BTreeMap::new()),
        };
        let mut kinds: Vec<MatrixKind> = Vec::new();
        for tensor in in_order(model).into_iter().filter(|tensor| self.is_shown(tensor)) {
            let told = recorded.get(tensor.name.as_str());
            let done = told.map(|told| told.what.clone());
            let kind = MatrixKind {
                done: done.filter(|what| self.is_dense(tensor) && what != "kept"),
                fallback: fallbacks.get(tensor.name.as_str()).map(|why| (*why).to_owned()),
                ..self.kind(tensor)
            };
            let place = kinds.iter().position(|known| known.is_same(&kind));
            let place = place.unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            kinds[place].add(self.amount(tensor), told.and_then(|told| told.method()));
        }
        kinds
    }

    /// A kind without members, such as `tensor` is of.
    fn kind(&self, tensor: &BoundTensor) -> MatrixKind {
        let matrix = self.matrices.get(&tensor.name);
        MatrixKind {
            kind: kind_label(&kind_pattern(&tensor.name)).to_owned(),
            scheme: matrix.map_or_else(|| tensor.meta.dtype().to_string(), OpenedMatrix::scheme),
            is_quantized: matrix.is_some(),
            stored: Stored::default(),
            methods: BTreeMap::new(),
            done: None,
            fallback: None,
        }
    }

    /// Whether it is a matrix that one may ask about: whatever is quantized, and what could be.
    fn is_shown(&self, tensor: &BoundTensor) -> bool {
        let roles = [Role::Linear, Role::Head, Role::Embedding, Role::Router, Role::Experts];
        let is_matrix = tensor.meta.shape().len() >= 2 && roles.contains(&tensor.role);
        is_matrix || !self.is_dense(tensor)
    }

    fn is_dense(&self, tensor: &BoundTensor) -> bool {
        !self.matrices.contains_key(&tensor.name)
    }
}

impl Stored {
    /// The sum of weights and bytes.
    fn of(amounts: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut sum = Self::default();
        amounts.for_each(|amount| sum.add(amount));
        sum
    }

    fn add(&mut self, (parameters, bytes): (u64, u64)) {
        self.tensors += 1;
        self.parameters = self.parameters.saturating_add(parameters);
        self.bytes = self.bytes.saturating_add(bytes);
        self.bits_per_weight = self.bits();
    }

    /// The same with whole weight files, headers included: the artifact's size, as everywhere.
    fn in_files(self, source: &Source) -> Self {
        let bytes = source.shards().iter().map(|shard| shard.bytes).sum();
        let whole = Self { bytes, ..self };
        Self { bits_per_weight: whole.bits(), ..whole }
    }

    fn bits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.parameters.max(1) as f64
    }
}

impl MatrixKind {
    fn is_same(&self, other: &Self) -> bool {
        let notes = |kind: &Self| (kind.done.clone(), kind.fallback.clone());
        self.kind == other.kind && self.scheme == other.scheme && notes(self) == notes(other)
    }

    fn add(&mut self, amount: (u64, u64), method: Option<&str>) {
        self.stored.add(amount);
        if let Some(method) = method {
            *self.methods.entry(method.to_owned()).or_default() += 1;
        }
    }
}

/// The sites in the order of execution, then all else by name.
fn in_order(model: &Model) -> Vec<&BoundTensor> {
    let sites = model.linear_weights().iter().filter_map(|site| model.get(&site.tensor));
    let named: BTreeMap<&str, ()> =
        model.linear_weights().iter().map(|site| (site.tensor.as_str(), ())).collect();
    let rest = model.tensors().iter().filter(|tensor| !named.contains_key(tensor.name.as_str()));
    sites.chain(rest).collect()
}
