//! How much of a run is done, and how much time is left.

use llmopt_pipeline::{StageEstimate, TimeEstimate};
use std::time::Duration;

/// A run as a sequence of stages, each of which counts by the time that it was estimated to take.
pub(super) struct Whole {
    stages: Vec<StageEstimate>,
    /// The number of the stage that runs, or of the one that is next.
    at: usize,
    /// Whether it runs.
    runs: bool,
    stage: Stage,
    /// Estimated seconds of what was not done by this run: stages left out, and what was there.
    passed: f64,
}

/// The stage that runs.
#[derive(Clone, Copy, Default)]
struct Stage {
    bytes: u64,
    done: u64,
    /// The share that is told of in steps of work, where it is.
    worked: Option<f64>,
    /// The share that was there.
    passed: f64,
}

impl Stage {
    fn share(&self) -> f64 {
        let bytes = if self.bytes > 0 { self.done as f64 / self.bytes as f64 } else { 0.0 };
        (self.passed + self.worked.unwrap_or(bytes)).clamp(0.0, 1.0)
    }
}

impl Whole {
    /// Nothing is done. Without an estimate, each stage is a whole.
    pub(super) fn new(estimate: Option<&TimeEstimate>) -> Self {
        let stages = estimate.map(|estimate| estimate.stages.clone()).unwrap_or_default();
        Self { stages, at: 0, runs: false, stage: Stage::default(), passed: 0.0 }
    }

    pub(super) fn started(&mut self, stage: &str, bytes: u64) {
        if self.runs {
            self.finished();
        }
        let next = |from: &[StageEstimate]| from.iter().position(|next| next.stage == stage);
        if let Some(skipped) = next(&self.stages[self.at.min(self.stages.len())..]) {
            let left_out = &self.stages[self.at..self.at + skipped];
            self.passed += left_out.iter().map(|stage| stage.seconds).sum::<f64>();
            self.at += skipped;
        } else if let Some(first) = next(&self.stages) {
            // A run that starts over.
            (self.at, self.passed) = (first, 0.0);
        }
        (self.stage, self.runs) = (Stage { bytes, ..Stage::default() }, true);
    }

    pub(super) fn finished(&mut self) {
        if self.runs {
            (self.at, self.runs) = (self.at + 1, false);
        }
    }

    pub(super) fn advanced(&mut self, bytes: u64) {
        self.stage.done += bytes;
    }

    pub(super) fn worked(&mut self, share: f64) {
        self.stage.worked = Some(self.stage.worked.unwrap_or(0.0) + share);
    }

    pub(super) fn passed_over(&mut self, share: f64) {
        let share = share.clamp(0.0, 1.0 - self.stage.passed);
        self.stage.passed += share;
        self.passed += share * self.seconds_of_stage();
    }

    /// Whether it is known how long stages take.
    pub(super) fn is_estimated(&self) -> bool {
        self.seconds() > 0.0
    }

    /// Bytes that the stage has gone through, and those that it goes through in all.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.stage.done, self.stage.bytes)
    }

    /// The share of the run that is done; without an estimate, that of the stage.
    pub(super) fn share(&self) -> f64 {
        let whole = self.seconds();
        if whole > 0.0 { (self.done() / whole).clamp(0.0, 1.0) } else { self.stage.share() }
    }

    /// What is left after `elapsed`. The estimate counts as if a tenth of the run had been observed to go
    /// by it: it rules at first, is soon corrected, and does not jump meanwhile.
    pub(super) fn left(&self, elapsed: Duration) -> Option<Duration> {
        let whole = self.seconds();
        if whole <= 0.0 {
            return None;
        }
        let prior = (whole * PRIOR_SHARE).max(PRIOR_SECONDS);
        let done = self.done();
        let pace = (elapsed.as_secs_f64() + prior) / ((done - self.passed).max(0.0) + prior);
        Duration::try_from_secs_f64(((whole - done) * pace).max(0.0)).ok()
    }

    /// Estimated seconds of what is done.
    fn done(&self) -> f64 {
        let before = self.stages.iter().take(self.at).map(|stage| stage.seconds).sum::<f64>();
        let share = if self.runs { self.stage.share() } else { 0.0 };
        before + share * self.seconds_of_stage()
    }

    fn seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.seconds).sum()
    }

    fn seconds_of_stage(&self) -> f64 {
        self.stages.get(self.at).map_or(0.0, |stage| stage.seconds)
    }
}

/// How much of a run the estimate counts for, and how many seconds at least.
const PRIOR_SHARE: f64 = 0.1;
const PRIOR_SECONDS: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn whole(stages: &[(&'static str, f64)]) -> Whole {
        let stages: Vec<StageEstimate> = stages
            .iter()
            .map(|&(stage, seconds)| StageEstimate { stage, seconds, operations: BTreeMap::new() })
            .collect();
        let seconds = stages.iter().map(|stage| stage.seconds).sum();
        Whole::new(Some(&TimeEstimate { seconds, stages }))
    }

    #[track_caller]
    fn check(whole: &Whole, share: f64) {
        assert!((whole.share() - share).abs() < 1e-9, "{} instead of {share}", whole.share());
    }

    #[test]
    fn shares_are_of_the_run_and_not_of_the_stage() {
        let mut run = whole(&[("calibrate", 90.0), ("rewrite", 8.0), ("read back", 2.0)]);
        run.started("calibrate", 100);
        run.worked(0.5);
        // Bytes come later than the work that they need, and do not count twice.
        run.advanced(10);
        check(&run, 0.45);
        run.finished();
        check(&run, 0.9);
        run.started("rewrite", 100);
        run.advanced(50);
        check(&run, 0.94);
        run.started("read back", 100);
        check(&run, 0.98);
        run.finished();
        check(&run, 1.0);
    }

    #[test]
    fn a_stage_that_is_left_out_is_done() {
        let mut run = whole(&[("find layers", 50.0), ("prune", 30.0), ("read back", 20.0)]);
        run.started("prune", 10);
        check(&run, 0.5);
        // It took no time, and so says nothing of how fast the rest goes.
        assert_eq!(run.left(Duration::ZERO), Some(Duration::from_secs(50)));
    }

    #[test]
    fn stages_of_one_name_follow_one_another() {
        let mut run = whole(&[("draw", 10.0), ("draw", 10.0), ("rewrite", 20.0)]);
        for share in [0.0, 0.25] {
            run.started("draw", 1);
            check(&run, share);
            run.finished();
        }
        // A run that starts over.
        run.started("rewrite", 1);
        run.finished();
        run.started("draw", 1);
        check(&run, 0.0);
    }

    #[test]
    fn what_was_there_is_done_and_says_nothing_of_speed() {
        let mut run = whole(&[("calibrate", 100.0)]);
        run.started("calibrate", 1);
        run.passed_over(0.5);
        check(&run, 0.5);
        assert_eq!(run.left(Duration::ZERO), Some(Duration::from_secs(50)));
        // Twice as slow as estimated.
        run.worked(0.1);
        let left = run.left(Duration::from_secs(20)).unwrap().as_secs_f64();
        assert!((left - 40.0 * 1.5).abs() < 1e-6, "{left}");
    }

    #[test]
    fn time_left_moves_slowly_from_the_estimate_to_what_is_observed() {
        let mut run = whole(&[("evaluate", 3600.0)]);
        run.started("evaluate", 1);
        let mut before = run.left(Duration::ZERO).unwrap().as_secs_f64();
        for step in 1..=100 {
            run.worked(0.01);
            // Four times as slow, with an outlier in the first minutes.
            let late = if step == 2 { 60.0 } else { 0.0 };
            let elapsed = Duration::from_secs_f64(f64::from(step) * 144.0 + late);
            let left = run.left(elapsed).unwrap().as_secs_f64();
            assert!(left < 1.4 * before && left > 0.5 * before - 150.0, "{before} then {left}");
            before = left;
        }
        assert!(before < 1e-3, "{before}");
    }

    #[test]
    fn without_an_estimate_the_stage_is_the_whole() {
        let mut run = Whole::new(None);
        run.started("compare", 200);
        run.advanced(50);
        check(&run, 0.25);
        assert_eq!(run.left(Duration::from_secs(1)), None);
    }
}
