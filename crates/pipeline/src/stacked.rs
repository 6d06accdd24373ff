//! Experts that stay dense because each of their tensors stacks those of a whole layer.

use crate::recipe::Recipe;
use llmopt_arch::{Model, Stack};
use llmopt_run::Error;
use serde::Serialize;

/// What of a model stays dense for that reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackedExperts {
    /// How many tensors.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// The first of them.
    pub first: String,
    /// Why they stay.
    pub why: &'static str,
}

impl StackedExperts {
    /// Sums up `stacks`; none, if there are none.
    pub(crate) fn of<'a>(stacks: impl Iterator<Item = &'a Stack>) -> Option<Self> {
        stacks.fold(None, |sum: Option<Self>, stack| {
            let parameters = stack.parameters;
            Some(match sum {
                None => {
                    Self { tensors: 1, parameters, first: stack.tensor.clone(), why: NOT_QUANTIZED }
                }
                Some(sum) => Self {
                    tensors: sum.tensors + 1,
                    parameters: sum.parameters.saturating_add(parameters),
                    ..sum
                },
            })
        })
    }

    /// Fails where the recipe allows no fallback. What the recipe leaves out itself is none.
    pub(crate) fn check(
        model: &Model,
        recipe: &Recipe,
        is_requested: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let requested = model.stacks().iter().filter(|stack| is_requested(&stack.tensor));
        match Self::of(requested) {
            Some(Self { tensors, parameters, first, why }) if recipe.strict => {
                let others = match tensors {
                    1 => String::new(),
                    several => format!(" and {} others", several - 1),
                };
                Err(Error::Refused(format!(
                    "tensor `{first}`{others}: {parameters} parameters stay dense, because {why}, and \
                     `--strict` forbids it"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The end of a sentence.
const NOT_QUANTIZED: &str =
    "each tensor stacks the experts of a layer, and such stacks are not quantized yet";
