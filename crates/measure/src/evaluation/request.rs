//! What is to be evaluated, and how.

use crate::evaluation::named::NamedFile;
use llmopt_eval::{Gate, OnUnsure};
use llmopt_linalg::{InputCodes, KernelChoice, Precision};
use llmopt_text::Date;
use std::path::PathBuf;

/// Everything that decides the numbers, and where things lie.
#[derive(Clone, Debug)]
pub struct EvaluationRequest {
    /// The model to evaluate: dense, or an artifact.
    pub artifact: PathBuf,
    /// The model that it is held against.
    pub against: Option<PathBuf>,
    /// Texts, all in one reading sweep: `.txt`, `.jsonl` with `text` or `messages`, or `.safetensors`
    /// with token ids.
    pub texts: Vec<NamedFile>,
    /// Multiple-choice questions, JSONL, in the same sweep.
    pub tasks: Vec<NamedFile>,
    /// Tokens of a window; 2048, or the model's context where that is shorter, if there is none.
    pub window: Option<usize>,
    /// How many windows of each text, from the first; all of them, if there is none.
    pub samples: Option<usize>,
    /// How many windows of each text may be taken, in steps that double, while they leave a gate unsure;
    /// no more than `samples`, if there is none.
    pub max_samples: Option<usize>,
    /// Whether windows begin with the beginning-of-sequence (BOS) token. Nothing else is ever added.
    pub bos: bool,
    /// The day that a chat template may ask for.
    pub date: Option<Date>,
    /// What products are computed in.
    pub precision: Precision,
    /// What inputs are rounded to where a weight is integer codes, unless the scheme says so itself.
    pub code_inputs: InputCodes,
    /// What computes them.
    pub kernel: KernelChoice,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// The evaluation that relative gates are held against: JSON of `llmopt eval`, or an artifact's folder
    /// with `evaluation.json`.
    pub baseline: Option<PathBuf>,
    /// What gates count as that are unsure in the end.
    pub on_unsure: OnUnsure,
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
            texts: Vec::new(),
            tasks: Vec::new(),
            window: None,
            samples: None,
            max_samples: None,
            bos: false,
            date: None,
            precision: Precision::F32,
            code_inputs: InputCodes::Int16,
            kernel: KernelChoice::Auto,
            gates: Vec::new(),
            baseline: None,
            on_unsure: OnUnsure::Fail,
            logits: None,
            scratch: PathBuf::from("."),
        }
    }
}
