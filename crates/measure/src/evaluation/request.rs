//! What is to be evaluated, and how.

use llmopt_eval::Gate;
use llmopt_linalg::{KernelChoice, Precision};
use llmopt_text::Date;
use std::path::PathBuf;

/// Everything that decides the numbers, and where things lie.
#[derive(Clone, Debug)]
pub struct EvaluationRequest {
    /// The model to evaluate: dense, or an artifact.
    pub artifact: PathBuf,
    /// The model that it is held against.
    pub against: Option<PathBuf>,
    /// `.txt`, `.jsonl` with `text` or `messages`, or `.safetensors` with token ids.
    pub text: Option<PathBuf>,
    /// Multiple-choice questions, JSONL.
    pub tasks: Option<PathBuf>,
    /// Tokens of a window; 2048, or the model's context where that is shorter, if there is none.
    pub window: Option<usize>,
    /// How many windows, from the first; all of them, if there is none.
    pub samples: Option<usize>,
    /// Whether windows begin with the beginning-of-sequence (BOS) token. Nothing else is ever added.
    pub bos: bool,
    /// The day that a chat template may ask for.
    pub date: Option<Date>,
    /// What products are computed in.
    pub precision: Precision,
    /// What computes them.
    pub kernel: KernelChoice,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// Where the logits of every token go.
    pub logits: Option<PathBuf>,
    /// A folder for what does not fit in memory.
    pub scratch: PathBuf,
}

impl EvaluationRequest {
    /// Of one model, in f32, whole windows of the usual length, with nothing to measure on and no gates.
    pub fn new(artifact: impl Into<PathBuf>) -> Self {
        Self {
            artifact: artifact.into(),
            against: None,
            text: None,
            tasks: None,
            window: None,
            samples: None,
            bos: false,
            date: None,
            precision: Precision::F32,
            kernel: KernelChoice::Auto,
            gates: Vec::new(),
            logits: None,
            scratch: PathBuf::from("."),
        }
    }
}
