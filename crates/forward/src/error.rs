//! Why a phase cannot run.

use llmopt_arch::program::Phase;

/// What is wrong, by the name of the phase.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForwardError {
    /// The program contradicts itself, or asks for what there is not.
    #[error("`{phase}`: {what}")]
    Program {
        /// The phase.
        phase: String,
        /// Operation, tap, expected and found.
        what: String,
    },
    /// A tensor of the program is not among the weights.
    #[error("`{phase}`: no weight `{tensor}` was given")]
    Missing {
        /// The phase.
        phase: String,
        /// Its name.
        tensor: String,
    },
    /// A tensor is not as large as the program says.
    #[error("`{phase}`: `{tensor}` is {found}, but the program expects {expected}")]
    Size {
        /// The phase.
        phase: String,
        /// Its name.
        tensor: String,
        /// Rows and columns, or elements.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A tap that the phase begins with has other rows or columns than batch and program say.
    #[error("`{phase}`: `{tap}` is {found}, but the batch and the program expect {expected}")]
    Tap {
        /// The phase.
        phase: String,
        /// The tap's name.
        tap: String,
        /// Rows and columns.
        expected: String,
        /// Rows and columns, or that there is none.
        found: String,
    },
    /// The state is not that of the batch's sequences.
    #[error("`{phase}`: {what}")]
    State {
        /// The phase.
        phase: String,
        /// Which sequence, expected and found.
        what: String,
    },
    /// The weights or the hidden state are beyond what numbers can hold.
    #[error("`{phase}` made a value of `{tap}` that is not finite, in row {row} of the batch")]
    NotFinite {
        /// The phase.
        phase: String,
        /// The tap's name.
        tap: String,
        /// The first row with one.
        row: usize,
    },
}

impl ForwardError {
    pub(crate) fn program(phase: &Phase, what: impl Into<String>) -> Self {
        Self::Program { phase: phase.name.clone(), what: what.into() }
    }
}
