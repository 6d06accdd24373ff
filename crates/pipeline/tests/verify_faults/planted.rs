//! The faults: each is planted in an artifact that has no other.

mod against;
mod config;
mod data;
mod files;
mod ignored;
mod model;
mod modules;
mod record;

use crate::artifact::{Copy, Kind, Tensors};
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::json;

pub(crate) const FILES: &[Case] = files::CASES;
pub(crate) const CONFIGS: &[Case] = config::CASES;
pub(crate) const MODULES: &[Case] = modules::CASES;
pub(crate) const IGNORED: &[Case] = ignored::CASES;
pub(crate) const MODELS: &[Case] = model::CASES;
pub(crate) const DATA: &[Case] = data::CASES;
pub(crate) const RECORDS: &[Case] = record::CASES;
pub(crate) const AGAINST: &[Case] = against::CASES;

/// A fault and what is to be said about it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) kind: Kind,
    /// Whether the report stays beside the artifact.
    pub(crate) recorded: bool,
    /// Whether the artifact is held against its source.
    pub(crate) compared: bool,
    pub(crate) plant: fn(&mut Copy),
    /// Code and subject of every fault.
    pub(crate) expected: &'static [(&'static str, &'static str)],
}

const fn case(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: false, compared: false, plant, expected }
}

const fn recorded(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: true, compared: false, plant, expected }
}

const fn compared(
    what: &'static str,
    kind: Kind,
    expected: &'static [(&'static str, &'static str)],
    plant: fn(&mut Copy),
) -> Case {
    Case { what, kind, recorded: false, compared: true, plant, expected }
}

const INDEX: &str = "model.safetensors.index.json";
const GROUP: &str = "quantization_config.config_groups.group_0";

const Q: &str = "model.layers.1.self_attn.q_proj";
const DOWN: &str = "model.layers.0.mlp.down_proj";

fn meta(dtype: Dtype, shape: &[usize]) -> TensorMeta {
    TensorMeta::new(dtype, shape).expect("small")
}

fn retype(copy: &Copy, name: &str, dtype: Dtype) {
    change(copy, name, |old| meta(dtype, old.shape()));
}

fn reshape(copy: &Copy, name: &str, shape: &[usize]) {
    change(copy, name, |old| meta(old.dtype(), shape));
}

fn change(copy: &Copy, name: &str, change: impl Fn(&TensorMeta) -> TensorMeta) {
    copy.rewrite(|file: &mut Tensors| {
        let (old, bytes) = file.tensors[name].clone();
        file.insert(name, change(&old), bytes);
    });
}

/// Overwrites bytes of a tensor.
fn patch(copy: &Copy, name: &str, at: usize, bytes: &[u8]) {
    copy.rewrite(|file| file.bytes(name)[at..at + bytes.len()].copy_from_slice(bytes));
}

/// Changes what the report says of a tensor.
fn say(copy: &Copy, name: &str, key: &str, text: &str) {
    copy.edit_tensors(|tensors| {
        let tensor = tensors.iter_mut().find(|tensor| tensor["name"] == name);
        tensor.expect("the report has it")[key] = json!(text);
    });
}
