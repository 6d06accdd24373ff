//! A forward pass as a family's file writes it: `program` in `families/*.json`.

use crate::expression::Expression;
use crate::family::LayerKind;
use crate::resolve::values::{Count, Flag, Limit, Named, Number};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What tokens go through, in order: embedding, blocks, head; before these, what they share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// Keys that change the forward pass, with the values under which this script describes it.
    pub(crate) assumes: BTreeMap<String, Vec<Value>>,
    /// The longest sequence that the model was made for.
    pub(crate) context: Count,
    pub(crate) norms: Norms,
    pub(crate) activation: Named,
    pub(crate) rope: Rotation,
    pub(crate) sliding: Option<Sliding>,
    /// Names and widths of taps; `hidden` is one without being listed.
    pub(crate) taps: BTreeMap<String, Expression>,
    pub(crate) embedding: Lookup,
    pub(crate) block: Vec<Stage>,
    pub(crate) head: Last,
}

/// What all norms have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Norms {
    pub(crate) epsilon: Number,
    #[serde(default)]
    pub(crate) from_one: bool,
}

/// Where the config tells how far heads are rotated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    pub(crate) theta: Number,
    /// Objects that may say more. The first that is there and not empty counts.
    pub(crate) scaling: Vec<String>,
    /// Whether all objects count, an earlier before a later.
    #[serde(default)]
    pub(crate) merged: bool,
    /// The key outside these objects for the length that the model was trained on first. It counts
    /// before one inside them.
    pub(crate) original: Option<Count>,
    /// The part of a head that is rotated, where that is not all of it.
    pub(crate) partial: Option<Number>,
    /// What types are called, if not all are known by their own names.
    #[serde(default)]
    pub(crate) types: BTreeMap<String, String>,
}

/// Which layers see a window only, and how wide it is. Without `types`, `start` and `period` all do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sliding {
    pub(crate) window: Limit<usize>,
    /// The key without which, or if false, there is no window.
    #[serde(rename = "if")]
    pub(crate) switch: Option<String>,
    /// The key of a list with a type for each layer. Without the list, `start` or `period` counts.
    pub(crate) types: Option<String>,
    /// The first layer with a window.
    pub(crate) start: Option<Start>,
    /// Of so many layers, the last sees everything.
    pub(crate) period: Option<Count>,
    /// How these layers are rotated, if otherwise than the rest.
    pub(crate) rope: Option<Rotation>,
}

/// The number of a layer, which may be zero.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    pub(crate) key: String,
    pub(crate) default: usize,
}

/// From token ids to hidden states.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    pub(crate) table: String,
    pub(crate) scale: Option<Number>,
}

/// From hidden states to logits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Last {
    pub(crate) norm: String,
    pub(crate) linear: String,
    pub(crate) scale: Option<Number>,
    pub(crate) cap: Option<Limit<f64>>,
}

/// A phase, or one per expert where its name has `{expert}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// A module of the block.
    pub(crate) phase: String,
    /// Only in layers of this kind.
    pub(crate) only: Option<LayerKind>,
    #[serde(rename = "do")]
    pub(crate) steps: Vec<Step>,
}

/// An operation, called by the first key. Modules are named below the block, taps by their names.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) enum Step {
    Norm(Norm),
    Linear(Linear),
    Split(Split),
    Rotate(Rotate),
    Attend(Attend),
    Gate(Gate),
    Add(Add),
    Route(Route),
    Gather(Gather),
    Scatter(Scatter),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Norm {
    pub(crate) norm: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The columns that are normalized together, if not all.
    pub(crate) per: Option<Expression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Linear {
    pub(crate) linear: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Split {
    pub(crate) split: String,
    pub(crate) to: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    pub(crate) rotate: Vec<String>,
    pub(crate) per: Expression,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attend {
    /// Queries, keys, values.
    pub(crate) attend: [String; 3],
    pub(crate) to: String,
    pub(crate) per: Expression,
    pub(crate) scale: Number,
    pub(crate) cap: Option<Limit<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    pub(crate) gate: String,
    pub(crate) times: String,
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Add {
    pub(crate) add: String,
    pub(crate) to: String,
    pub(crate) scale: Option<Number>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) route: String,
    pub(crate) to: String,
    pub(crate) top: Count,
    pub(crate) renormalize: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gather {
    pub(crate) gather: String,
    pub(crate) by: String,
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scatter {
    pub(crate) scatter: String,
    pub(crate) by: String,
    pub(crate) to: String,
}

impl Stage {
    pub(crate) fn is_per_expert(&self) -> bool {
        self.phase.contains("{expert}")
    }
}

// Not `untagged`: serde cannot carry numbers of any precision through one.
impl TryFrom<Map<String, Value>> for Step {
    type Error = String;

    fn try_from(step: Map<String, Value>) -> Result<Self, String> {
        let verb = step.keys().next().cloned().unwrap_or_default();
        let step = Value::Object(step);
        let parsed = match verb.as_str() {
            "norm" => Norm::deserialize(step).map(Self::Norm),
            "linear" => Linear::deserialize(step).map(Self::Linear),
            "split" => Split::deserialize(step).map(Self::Split),
            "rotate" => Rotate::deserialize(step).map(Self::Rotate),
            "attend" => Attend::deserialize(step).map(Self::Attend),
            "gate" => Gate::deserialize(step).map(Self::Gate),
            "add" => Add::deserialize(step).map(Self::Add),
            "route" => Route::deserialize(step).map(Self::Route),
            "gather" => Gather::deserialize(step).map(Self::Gather),
            "scatter" => Scatter::deserialize(step).map(Self::Scatter),
            _ => return Err(format!("`{verb}` is no operation")),
        };
        parsed.map_err(|error| format!("`{verb}`: {error}"))
    }
}
