//! The result of an evaluation: the one structure from which every report is made.

use crate::evaluation::facts::{ClassSize, ModelFacts, TensorFacts};
use crate::evaluation::provenance::Provenance;
use llmopt_eval::{Accuracy, ChoiceComparison, Comparison, Estimate, Outcome};
use llmopt_text::WindowFacts;
use serde::Serialize;

/// What was measured, of what, and how. It holds no clock, no host name and no absolute path.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `llmopt`.
    pub tool: &'static str,
    /// The version that ran.
    pub version: &'static str,
    /// What was evaluated.
    pub artifact: ModelFacts,
    /// What it was held against.
    pub reference: Option<ModelFacts>,
    /// How it was measured.
    pub protocol: Protocol,
    /// The artifact's, of all texts together.
    pub perplexity: Option<Estimate>,
    /// Of all texts together, against the reference.
    pub comparison: Option<Comparison>,
    /// The hidden state after each layer against the reference's; empty without one, or where the
    /// numbers of layers differ.
    pub blocks: Vec<BlockLoss>,
    /// All multiple-choice questions, without a reference.
    pub accuracy: Option<Accuracy>,
    /// All multiple-choice questions, against the reference.
    pub choices: Option<ChoiceComparison>,
    /// Each text by itself; empty, where there is but one, without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextResult>,
    /// The questions of each file by themselves; empty, where there is but one, without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskResult>,
    /// Weights by what they are for, before and after; without a reference, after alone.
    pub classes: Vec<ClassSize>,
    /// Every matrix that is quantized, with what the artifact's own report says of it.
    pub tensors: Vec<TensorFacts>,
    /// How the artifact was made, by its own report.
    pub record: Option<Provenance>,
    /// Every gate, in the order asked for.
    pub gates: Vec<Outcome>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// How it was measured: enough to do it again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Protocol {
    /// What products are computed in: `f32`, `bf16`.
    pub dtype: String,
    /// What inputs of codes were rounded to, where that is not what the artifact promises: `int8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations: Option<String>,
    /// What computed them.
    pub kernel: String,
    /// Tokens that every block of the artifact was run on alone, the first ones; none without a
    /// reference.
    pub block_tokens: Option<usize>,
    /// The text; none, where there are several, each of which has its own.
    pub text: Option<TextProtocol>,
    /// The tasks; none, where there are several, each of which have their own.
    pub tasks: Option<TaskProtocol>,
}

/// What was measured on one text.
#[derive(Clone, Debug, Serialize)]
pub struct TextResult {
    /// The name that it was given.
    pub name: String,
    /// Which text, and how it was cut.
    pub protocol: TextProtocol,
    /// The artifact's perplexity.
    pub perplexity: Option<Estimate>,
    /// Against the reference.
    pub comparison: Option<Comparison>,
}

/// What was measured on the questions of one file.
#[derive(Clone, Debug, Serialize)]
pub struct TaskResult {
    /// The name that they were given.
    pub name: String,
    /// Which questions.
    pub protocol: TaskProtocol,
    /// Without a reference.
    pub accuracy: Option<Accuracy>,
    /// Against the reference.
    pub choices: Option<ChoiceComparison>,
}

/// The text that was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextProtocol {
    /// Its file name.
    pub name: String,
    /// The hash of the file.
    pub sha256: String,
    /// Windows, how they were cut, and what was left over.
    pub windows: WindowFacts,
    /// Tokens whose probability was asked for.
    pub scored: u64,
    /// The day that the chat template was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// The tasks that were used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskProtocol {
    /// The file name.
    pub name: String,
    /// The hash of the file.
    pub sha256: String,
    /// Questions.
    pub questions: usize,
    /// Questions whose beginning was cut off to fit the window.
    pub truncated: usize,
}

/// How far the hidden state after a layer is from the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BlockLoss {
    /// The layer.
    pub layer: usize,
    /// What the block alone adds: `|B'(x) - B(x)| / |B(x)|` with the artifact's block B', the
    /// reference's block B and the reference's hidden states x before it, root mean square over the
    /// protocol's `block_tokens`. Errors of earlier blocks have no part in it.
    pub added_error: f64,
    /// `|x - x_reference| / |x_reference|` over all tokens together. Tokens with massive activations,
    /// such as the first of a window, decide it.
    pub relative_error: f64,
    /// The same of each token, root mean square over tokens.
    pub per_token: f64,
    /// `|x - x_reference|^2` of a token, the mean over tokens.
    pub squared_distance: f64,
}

impl Evaluation {
    /// Whether every gate held.
    pub fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.passed)
    }
}
