//! What an artifact lost, where an evaluation that lies in its folder says so.

use crate::difference::Evaluation;
use llmopt_eval::{Estimate, Metric};
use llmopt_model::Variant;
use llmopt_run::Error;
use serde::Serialize;
use serde_json::Value;

/// What the last evaluation of an artifact found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchedQuality {
    /// KL divergence from the reference, in nats.
    pub kld: Estimate,
    /// The name of the reference.
    pub reference: Option<String>,
    /// The name of the text; none where there were several.
    pub text: Option<String>,
    /// What products were computed in.
    pub dtype: Option<String>,
}

impl BenchedQuality {
    /// The one that lies beside a model, if there is one against a reference.
    pub(super) fn of(variant: &Variant, notes: &mut Vec<String>) -> Result<Option<Self>, Error> {
        let whose = format!("`{}`", variant.name());
        let evaluation = Evaluation::beside(variant.source(), &whose, notes)?;
        Ok(evaluation.and_then(|evaluation| Self::told(&evaluation)))
    }

    fn told(evaluation: &Evaluation) -> Option<Self> {
        let text = |pointer| evaluation.at(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kld: evaluation.estimate(Metric::Kld)?,
            reference: text("/reference/name"),
            text: text("/protocol/text/name"),
            dtype: text("/protocol/dtype"),
        })
    }
}
