//! An artifact that is complete but for its name: one of several that are to be judged.

use crate::plan::Plan;
use crate::report::Report;
use crate::run::{without_small, write_artifact};
use llmopt_checkpoint::Output as Staged;
use llmopt_run::{Cancel, Error, Events};

/// What was written, verified, and still lies in its staging folder.
pub(crate) struct Made {
    pub(crate) plan: Plan,
    pub(crate) staged: Staged,
    pub(crate) report: Report,
}

impl Made {
    /// Writes what is planned; an earlier attempt at the same is gone on with.
    ///
    /// # Errors
    /// As of [`crate::quantize`]. What was written stays where it is.
    pub(crate) fn new(plan: Plan, shown: (&dyn Events, &Cancel)) -> Result<Self, Error> {
        let (path, options) = plan.staging();
        let staged = Staged::begin(path, options)?;
        let (plan, report) = written(plan, &staged, shown)?;
        Ok(Self { plan, staged, report })
    }
}

/// Writes an artifact, without matrices that turn out to be too small.
fn written(
    plan: Plan,
    staged: &Staged,
    shown: (&dyn Events, &Cancel),
) -> Result<(Plan, Report), Error> {
    match write_artifact(&plan, std::slice::from_ref(staged), None, shown) {
        Ok((_, report)) => Ok((plan, report)),
        Err(Error::TooSmall(small)) => match without_small(&plan, small, shown.0)? {
            Some(smaller) => written(smaller, staged, shown),
            None => Err(Error::Refused(format!("`{}` was planned twice", plan.output.display()))),
        },
        Err(error) => Err(error),
    }
}
