//! How long an evaluation takes.

use crate::evaluation::plan::EvaluationPlan;
use llmopt_estimate::{Speed, TimeEstimate, Windows};
use llmopt_model::Variant;
use llmopt_run::Error;
use llmopt_sweep::count::read;
use llmopt_sweep::{Batches, Work, alone_work, judging};

impl EvaluationPlan {
    /// How long carrying it out will take, where no gate is unsure; with other windows than its own, if some are given.
    pub fn estimate(&self, speed: &Speed, other: Option<Windows>) -> TimeEstimate {
        let work: Work = match other {
            Some(other) => {
                let batches = judging(&other.placeholders());
                self.of(&batches)
            }
            None => self.work(),
        };
        TimeEstimate::of(&[("evaluate", work)], speed)
    }

    /// The windows of the text; none, if there is not just one.
    pub fn text_windows(&self) -> Option<Windows> {
        let [text] = &self.first().set.texts[..] else { return None };
        let windows = &text.protocol.windows;
        Some(Windows { windows: windows.windows, window: windows.window })
    }

    /// The speed of this machine at what this plan does.
    ///
    /// # Errors
    /// If a probe cannot be run.
    pub fn speed(&self) -> Result<Speed, Error> {
        let typical = Speed::typical(self.resources.threads);
        match self.variants.last() {
            Some(variant) if self.estimate(&typical, None).seconds >= Speed::WORTHWHILE => {
                typical.running(&self.engine, variant)
            }
            _ => Ok(typical),
        }
    }

    fn work(&self) -> Work {
        self.of(&self.first().batches)
    }

    fn of(&self, batches: &Batches) -> Work {
        let of = |variant: &Variant| read(variant.program(), batches);
        self.variants.iter().map(of).sum::<Work>() + alone_work(&self.variants, batches)
    }
}
