//! Why a run did not happen or did not finish.

use crate::fault::Fault;
use crate::nonfinite::NonFinite;
use llmopt_arch::BindError;
pub use llmopt_checkpoint::Blame;
use std::collections::BTreeMap;

/// A refusal or a failure. What it says is for people; [`Error::blame`] is for programs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written or understood.
    #[error(transparent)]
    Checkpoint(#[from] llmopt_checkpoint::Error),
    /// The tensors are not the model that the config describes.
    #[error("{error}{}", file.as_deref().map(|file| format!("\n  in `{file}`")).unwrap_or_default())]
    Bind {
        /// What disagrees.
        error: Box<BindError>,
        /// The file that holds the tensor.
        file: Option<String>,
    },
    /// The request cannot be carried out on this model.
    #[error("{0}")]
    Refused(String),
    /// As [`Error::Refused`], with what to do instead.
    #[error("{what}")]
    RefusedWithHint {
        /// What was asked for and why it cannot be.
        what: String,
        /// What can be.
        hint: String,
    },
    /// The input is not what it should be.
    #[error("{what}")]
    Input {
        /// What is wrong with which file or tensor.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor `{}` holds {found}, expected a finite number\n  in `{file}`", found.tensor)]
    NotFinite {
        /// Which, where, and what.
        found: NonFinite,
        /// The file that holds it.
        file: String,
        /// Whether the run could keep the tensor as it is.
        may_be_kept: bool,
    },
    /// Matrices are so small that their scales cannot be stored: a run starts over without them.
    #[error("{}", .0.iter().map(|(tensor, why)| format!("tensor `{tensor}` {why}")).collect::<Vec<_>>().join("\n"))]
    TooSmall(BTreeMap<String, String>),
    /// The bound on memory is below what one worker needs.
    #[error("{given} bytes of memory are not enough, expected at least {smallest}")]
    Budget {
        /// The bound asked for.
        given: u64,
        /// The smallest bound that works.
        smallest: u64,
    },
    /// The user asked to stop. Nothing is kept.
    #[error("interrupted")]
    Interrupted,
    /// The user asked to stop, and what was done is kept.
    #[error("interrupted")]
    Paused,
    /// The new artifact is not what it should be; it did not get its name.
    #[error("the artifact that was written is not sound:\n{}", lines(.0))]
    Unsound(Vec<Fault>),
}

impl Error {
    /// Who can do something about it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Checkpoint(error) => error.blame(),
            Self::Bind { error, .. } => match **error {
                BindError::Refused { .. }
                | BindError::Transposed { .. }
                | BindError::Stacked { .. } => Blame::Request,
                _ => Blame::Input,
            },
            Self::Input { .. } | Self::NotFinite { .. } | Self::TooSmall(_) => Blame::Input,
            Self::Refused(_) | Self::RefusedWithHint { .. } | Self::Budget { .. } => Blame::Request,
            Self::Interrupted | Self::Paused | Self::Unsound(_) => Blame::System,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Checkpoint(error) => error.hint().map(str::to_owned),
            Self::Bind { error, .. } => error.hint().map(str::to_owned),
            Self::RefusedWithHint { hint, .. } => Some(hint.clone()),
            Self::Input { hint, .. } => hint.clone(),
            Self::NotFinite { may_be_kept, .. } => Some(match may_be_kept {
                true => format!("{DAMAGED}; `--allow-nonfinite` keeps such tensors as they are"),
                false => format!("{DAMAGED}: start from a sound one"),
            }),
            Self::TooSmall(_) => Some("`--exclude` leaves them as they are".to_owned()),
            Self::Budget { smallest, .. } => Some(format!("`--memory {smallest}` works")),
            Self::Interrupted => Some("the same command starts over".to_owned()),
            Self::Paused => Some("the same command goes on where this one stopped".to_owned()),
            Self::Unsound(_) => {
                Some("please report this: it is a bug, or a failing disk".to_owned())
            }
            Self::Refused(_) => None,
        }
    }

    /// Whether the work done so far is worth keeping for the next attempt.
    pub fn is_resumable(&self) -> bool {
        !matches!(self, Self::Unsound(_)) && self.blame() == Blame::System
    }
}

const DAMAGED: &str = "the checkpoint is damaged, or was saved while training diverged";

fn lines(faults: &[Fault]) -> String {
    let line = |fault: &Fault| format!("  {}: {}", fault.subject, fault.message);
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}
