//! An artifact as its headers and its config show it, before anything in them is believed.

use super::findings::Findings;
use crate::config::QUANTIZATION_CONFIG;
use llmopt_checkpoint::{HeaderEntry, Shard, Source};
use llmopt_codec::{QuantizationConfig, lint};
use llmopt_tensor::TensorMeta;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An opened artifact.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) source: Source,
    /// `config.json` without its quantization config: what describes the model.
    pub(super) config: Option<Map<String, Value>>,
    pub(super) quantization: Quantization,
    /// Modules by name, with what is stored of their weights.
    pub(super) modules: BTreeMap<String, Module>,
}

/// What the config says about quantization.
#[derive(Debug)]
pub(super) enum Quantization {
    /// Nothing: every weight is dense.
    None,
    /// Something that we do not understand; it is among the faults.
    Unknown,
    Known(QuantizationConfig),
}

/// What is stored of a module's weight, by the end of the tensor's name: `weight_packed`, ...
#[derive(Clone, Debug, Default)]
pub(super) struct Module {
    pub(super) parts: BTreeMap<String, TensorMeta>,
}

impl Artifact {
    pub(super) fn new(source: Source, findings: &mut Findings) -> Self {
        let value = quantization_value(&source);
        let quantization = value.as_ref().map_or(Quantization::None, |v| understood(v, findings));
        let of_its_own = source.config().is_none() || is_in_metadata(&source);
        let config = source.config().filter(|_| !of_its_own).map(|config| {
            let mut map = config.as_map().clone();
            map.shift_remove(QUANTIZATION_CONFIG);
            map
        });
        Self { modules: modules(&source), config, quantization, source }
    }

    /// Whether the config says anything about quantization.
    pub(super) fn is_quantized(&self) -> bool {
        !matches!(self.quantization, Quantization::None)
    }

    /// The quantization config, if it is understood.
    pub(super) fn scheme(&self) -> Option<&QuantizationConfig> {
        match &self.quantization {
            Quantization::Known(config) => Some(config),
            Quantization::None | Quantization::Unknown => None,
        }
    }

    /// Where a tensor is.
    pub(super) fn entry(&self, tensor: &str) -> Option<(&Shard, &HeaderEntry)> {
        self.source.entry(tensor)
    }
}

impl Module {
    /// Whether what is stored is more, or something else, than an ordinary weight.
    pub(super) fn is_quantized(&self) -> bool {
        let is_dense = |meta: &TensorMeta| meta.dtype().is_plain_float();
        let is_quantized = |(suffix, meta): (&String, &TensorMeta)| match suffix.as_str() {
            WEIGHT => !is_dense(meta) && meta.shape().len() == 2,
            _ => true,
        };
        self.parts.iter().any(is_quantized)
    }
}

/// The module and the suffix of a tensor that holds a weight or a part of one.
pub(super) fn part_of(tensor: &str) -> Option<(&str, &str)> {
    let (module, suffix) = tensor.rsplit_once('.')?;
    (suffix == WEIGHT || PARTS.contains(&suffix)).then_some((module, suffix))
}

/// The config's entry; in a file of its own, that of the file's metadata.
fn quantization_value(source: &Source) -> Option<Value> {
    if let Some(text) = metadata(source) {
        return Some(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str())));
    }
    let nested = format!("text_config.{QUANTIZATION_CONFIG}");
    let keys = [QUANTIZATION_CONFIG, "compression_config", &nested];
    let found = keys.iter().find_map(|key| source.config()?.get(key));
    found.filter(|value| !value.is_null()).cloned()
}

/// A file that carries its quantization config is complete in itself; a `config.json` that lies
/// beside it belongs to something else.
fn is_in_metadata(source: &Source) -> bool {
    metadata(source).is_some()
}

fn metadata(source: &Source) -> Option<&String> {
    match source.shards() {
        [shard] if !source.is_folder() => shard.header.metadata().get(QUANTIZATION_CONFIG),
        _ => None,
    }
}

fn understood(value: &Value, findings: &mut Findings) -> Quantization {
    let faults = lint(value);
    for fault in &faults {
        findings.fault("config", &fault.at, &fault.what);
    }
    findings.checked("quantization configs", 1);
    match QuantizationConfig::parse(value) {
        Ok(config) => Quantization::Known(config),
        Err(error) => {
            if faults.is_empty() {
                let message = format!("{error}: what is quantized here cannot be checked");
                findings.fault("config", QUANTIZATION_CONFIG, message);
            }
            Quantization::Unknown
        }
    }
}

fn modules(source: &Source) -> BTreeMap<String, Module> {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for entry in source.shards().iter().flat_map(|shard| shard.header.tensors()) {
        if let Some((module, suffix)) = part_of(&entry.name) {
            let module = modules.entry(module.to_owned()).or_default();
            module.parts.insert(suffix.to_owned(), entry.meta.clone());
        }
    }
    modules
}

pub(super) const WEIGHT: &str = "weight";

/// What compressed-tensors, today and formerly, stores of a quantized module.
const PARTS: &[&str] = &[
    "weight_packed",
    "weight_scale",
    "weight_zero_point",
    "weight_shape",
    "weight_g_idx",
    "weight_global_scale",
    "input_scale",
    "input_zero_point",
    "input_global_scale",
    "output_scale",
    "output_zero_point",
    "compressed",
    "bitmask",
];
