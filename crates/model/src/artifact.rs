//! An artifact as its headers and its config show it, before anything in them is believed.

use crate::bound::QUANTIZATION_CONFIG;
use crate::findings::Findings;
use llmopt_checkpoint::{HeaderEntry, Location, Shard, Source};
use llmopt_codec::{QuantizationConfig, lint};
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An opened artifact.
#[derive(Debug)]
pub struct Artifact {
    /// Its files.
    pub source: Arc<Source>,
    /// `config.json` without its quantization config: what describes the model.
    pub config: Option<Map<String, Value>>,
    /// What its config says about quantization.
    pub quantization: Quantization,
    /// Modules by name, with what is stored of their weights.
    pub modules: BTreeMap<String, Module>,
}

/// What the config says about quantization.
#[derive(Debug)]
pub enum Quantization {
    /// Nothing: every weight is dense.
    None,
    /// Something that we do not understand; it is among the faults.
    Unknown,
    /// The format of compressed-tensors.
    Known(QuantizationConfig),
}

/// What is stored of a module's weight: each tensor by the end of its name, `weight_packed`, ..., and
/// where it is. There are as many of these as tensors, hence the short list.
#[derive(Clone, Debug, Default)]
pub struct Module {
    parts: Vec<(&'static str, Location)>,
    is_quantized: bool,
}

impl Artifact {
    /// Looks at headers and config. What is wrong with the config is among the findings.
    pub fn new(source: Arc<Source>, findings: &mut Findings) -> Self {
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
    pub fn is_quantized(&self) -> bool {
        !matches!(self.quantization, Quantization::None)
    }

    /// The quantization config, if it is understood.
    pub fn scheme(&self) -> Option<&QuantizationConfig> {
        match &self.quantization {
            Quantization::Known(config) => Some(config),
            Quantization::None | Quantization::Unknown => None,
        }
    }

    /// The parts of a module.
    pub fn parts(&self, module: &Module) -> Parts<'_> {
        let meta = |&(suffix, Location { shard, entry }): &(&'static str, Location)| {
            let entry = self.source.shards().get(shard)?.header.tensors().get(entry)?;
            Some((suffix, &entry.meta))
        };
        Parts(module.parts.iter().filter_map(meta).collect())
    }

    /// Whether something other than an ordinary weight is stored of `module`.
    pub fn is_quantized_module(&self, module: &str) -> bool {
        self.modules.get(module).is_some_and(|module| module.is_quantized)
    }

    /// Where a tensor is.
    pub fn entry(&self, tensor: &str) -> Option<(&Shard, &HeaderEntry)> {
        self.source.entry(tensor)
    }
}

/// The parts of one module, with type and shape.
#[derive(Debug)]
pub struct Parts<'a>(pub Vec<(&'static str, &'a TensorMeta)>);

impl<'a> Parts<'a> {
    /// Type and shape of the part with this suffix, if it is stored.
    pub fn get(&self, suffix: &str) -> Option<&'a TensorMeta> {
        self.0.iter().find(|(found, _)| *found == suffix).map(|(_, meta)| *meta)
    }
}

impl Module {
    /// Whether what is stored is more, or something else, than an ordinary weight.
    pub fn is_quantized(&self) -> bool {
        self.is_quantized
    }

    fn add(&mut self, suffix: &'static str, meta: &TensorMeta, location: Location) {
        self.parts.push((suffix, location));
        let is_dense =
            meta.dtype().is_plain_float() || meta.dtype() == Dtype::F64 || meta.shape().len() != 2;
        self.is_quantized |= suffix != WEIGHT || !is_dense;
    }
}

/// The module and the suffix of a tensor that holds a weight or a part of one.
pub fn part_of(tensor: &str) -> Option<(&str, &'static str)> {
    let (module, suffix) = tensor.rsplit_once('.')?;
    let suffix = PARTS.iter().find(|part| **part == suffix)?;
    Some((module, suffix))
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
    for (name, location) in source.tensors() {
        let (Some((module, suffix)), Some(meta)) = (part_of(name), source.meta(name)) else {
            continue;
        };
        match modules.get_mut(module) {
            Some(known) => known.add(suffix, meta, location),
            None => modules.entry(module.to_owned()).or_default().add(suffix, meta, location),
        }
    }
    modules
}

/// The suffix of an ordinary weight.
pub const WEIGHT: &str = "weight";

/// A weight, and what compressed-tensors, today and formerly, stores of a quantized one.
const PARTS: &[&str] = &[
    WEIGHT,
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
