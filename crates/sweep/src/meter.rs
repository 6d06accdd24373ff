//! How much of a stage is done, by the work that it is made of.

use crate::work::Work;
use llmopt_run::Events;

/// Tells of work as shares of a stage.
pub struct Meter<'a> {
    events: &'a dyn Events,
    /// The weight of the whole stage.
    whole: f64,
}

impl<'a> Meter<'a> {
    /// For a stage of so much work.
    pub fn new(events: &'a dyn Events, whole: Work) -> Self {
        Self { events, whole: whole.weight() }
    }

    /// So much more is done.
    pub fn did(&self, work: Work) {
        if self.whole > 0.0 {
            self.events.worked(work.weight() / self.whole);
        }
    }

    /// So much was done before, by an earlier run or another stage.
    pub fn passed_over(&self, work: Work) {
        if self.whole > 0.0 {
            self.events.passed_over(work.weight() / self.whole);
        }
    }
}
