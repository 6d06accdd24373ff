//! Tensors that the model's family does not have: they pass through as they are, and loaders leave them
//! out or stop. What a command says of them is decided here, once for all of them.

use llmopt_arch::Model;
use llmopt_codec::{Runtime, stops_at_unknown};
use llmopt_run::Error;
use serde::Serialize;

/// What a model has that its family does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownTensors {
    /// How many tensors.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// The first of them.
    pub first: String,
    /// Which of the runtimes asked for stop at one of them; the others leave them out.
    pub stop: Vec<&'static str>,
}

impl UnknownTensors {
    /// Sums up; none, if the family has every tensor, or is not known itself.
    pub(crate) fn of(model: &Model, runtimes: &[Runtime]) -> Option<Self> {
        let first = model.unknown().next()?;
        let parameters = model.unknown().map(|tensor| tensor.meta.elements());
        Some(Self {
            tensors: model.unknown().count(),
            parameters: parameters.fold(0, u64::saturating_add),
            first: first.name.clone(),
            stop: stopping(model, runtimes).map(Runtime::name).collect(),
        })
    }

    /// Fails if no runtime asked for would load the model with these tensors.
    ///
    /// Where one does, it is no reason not to go on, even if another one stops: that runtime does not
    /// load the model as it is now either, and what is written loads wherever the model did.
    pub(crate) fn check(model: &Model, runtimes: &[Runtime]) -> Result<(), Error> {
        let stopping: Vec<Runtime> = stopping(model, runtimes).collect();
        match (stopping.first(), model.family(), Self::of(model, runtimes)) {
            (Some(runtime), Some(family), Some(unknown)) if stopping.len() == runtimes.len() => {
                let others = match unknown.tensors {
                    1 => String::new(),
                    several => format!(" (and {} more)", several - 1),
                };
                Err(Error::RefusedWithHint {
                    what: format!(
                        "tensor `{}`{others} is none of `{}`: {runtime} stops at it, and no other runtime \
                         is asked for",
                        unknown.first,
                        family.name()
                    ),
                    hint: "`--runtime transformers` leaves such tensors out; for the others, save the \
                           model without them"
                        .to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// The runtimes that stop at one of the tensors.
fn stopping(model: &Model, runtimes: &[Runtime]) -> impl Iterator<Item = Runtime> {
    runtimes
        .iter()
        .copied()
        .filter(|&runtime| model.unknown().any(|tensor| stops_at_unknown(runtime, &tensor.name)))
}
