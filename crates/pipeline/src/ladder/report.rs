//! What a ladder found.

use crate::ladder::judges::JudgedText;
use crate::ladder::plan::PlannedRung;
use llmopt_data::CalibrationFacts;
use llmopt_eval::{Comparison, Estimate};
use serde::Serialize;

/// Every rung with its size and what it lost. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct LadderReport {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// The model's name.
    pub model: String,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// What it was observed on; none, if weights alone decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationFacts>,
    /// What all rungs were judged on.
    pub judged_on: JudgedText,
    /// What computed the products of judging.
    pub kernel: &'static str,
    /// The rungs, the largest first.
    pub rungs: Vec<Rung>,
}

/// A size of the model.
#[derive(Clone, Debug, Serialize)]
pub struct Rung {
    /// What was known of it before.
    #[serde(flatten)]
    pub planned: PlannedRung,
    /// How its codes were chosen.
    pub method: String,
    /// Mean KL divergence from the original, in nats.
    pub kld: Estimate,
    /// The share of tokens with the original's most probable token.
    pub top1: Estimate,
    /// Its perplexity over the original's.
    pub perplexity_ratio: Estimate,
    /// Layers that got something else than was asked for.
    pub fallbacks: usize,
}

impl Rung {
    /// A rung that was made and judged.
    pub(super) fn new(
        planned: PlannedRung,
        (method, fallbacks): (String, usize),
        found: &Comparison,
    ) -> Self {
        let (kld, top1) = (found.kld.mean, found.top1);
        let perplexity_ratio = found.perplexity_ratio;
        Self { planned, method, kld, top1, perplexity_ratio, fallbacks }
    }
}
