//! How long a mixed artifact takes, stage after stage in the order in which they are told of.

use crate::mixed::plan::{MixedPlan, SIDE_BY_SIDE};
use llmopt_estimate::{Speed, StageEstimate, TimeEstimate, Windows};
use llmopt_run::Error;
use llmopt_sweep::count::read;
use llmopt_sweep::{Work, judging};
use std::collections::BTreeMap;

impl MixedPlan {
    /// How long it will take.
    ///
    /// # Errors
    /// If the speed of this machine cannot be found.
    pub fn estimate(&self) -> Result<TimeEstimate, Error> {
        let speed = self.bound.speed()?;
        let reading = speed.running(&self.engine, &self.variant)?;
        let solved = self.bound.estimate(&speed, None)?.stages;
        let mut stages = self.of_choices(&speed)?;
        stages.extend(self.probes(&reading));
        let uniform = !self.candidates.uniform.is_empty();
        if uniform {
            stages.extend(solved.clone());
        }
        stages.extend(SEARCHES.map(|models| self.read("search", models, &reading)));
        if uniform {
            stages.push(self.read("judge", TWO, &reading));
        }
        stages.extend(solved);
        stages.push(self.read("judge", TWO, &reading));
        Ok(TimeEstimate { seconds: stages.iter().map(|stage| stage.seconds).sum(), stages })
    }

    /// Observing the model once, and solving for every choice by what was seen.
    fn of_choices(&self, speed: &Speed) -> Result<Vec<StageEstimate>, Error> {
        let choices = self.candidates.choices.len();
        let Some(observed) = &self.observed else {
            let alone = self.bound.estimate(speed, None)?.stages;
            return Ok(repeated(&alone, choices));
        };
        let window = self.probing.first().map_or(1, Vec::len);
        let alone = observed.estimate(speed, Some(Windows { windows: 1, window }))?;
        let whole = observed.estimate(speed, None)?.seconds;
        let seconds = (whole - alone.seconds).max(0.0);
        let mut stages =
            vec![StageEstimate { stage: "observe", seconds, operations: BTreeMap::new() }];
        stages.extend(repeated(&alone.stages, choices));
        Ok(stages)
    }

    /// Probing every unit: from where it parts from the original, which is halfway on average, and the head.
    fn probes(&self, speed: &Speed) -> Vec<StageEstimate> {
        let run = read(self.variant.program(), &judging(&self.probing));
        let units = self.candidates.units.len();
        let of_sweep = |probed: usize| run * (1.0 + probed as f64 * PROBED_SHARE);
        let sweeps = (0..units).step_by(SIDE_BY_SIDE).map(|first| SIDE_BY_SIDE.min(units - first));
        let work: Vec<(&'static str, Work)> =
            sweeps.map(|probed| ("probe", of_sweep(probed))).collect();
        TimeEstimate::of(&work, speed).stages
    }

    /// A sweep over so many models on the windows that judge.
    fn read(&self, stage: &'static str, models: f64, speed: &Speed) -> StageEstimate {
        let run = read(self.variant.program(), &judging(&self.judges.windows));
        let mut stages = TimeEstimate::of(&[(stage, run * models)], speed).stages;
        stages.swap_remove(0)
    }
}

fn repeated(stages: &[StageEstimate], times: usize) -> Vec<StageEstimate> {
    (0..times).flat_map(|_| stages.to_vec()).collect()
}

/// Share of a run of the original that a probe takes.
const PROBED_SHARE: f64 = 0.6;
/// Models that the sweeps of a search read, as a rule.
const SEARCHES: [f64; 2] = [5.0, 5.0];
/// The original and an artifact.
const TWO: f64 = 2.0;
