//! The stages of quantizing.

use crate::method::Method;
use crate::plan::Plan;
use llmopt_checkpoint::HeaderEntry;
use llmopt_data::{drawn, judges};
use llmopt_estimate::{Speed, Stages, TimeEstimate, Windows, looked_at, read_back};
use llmopt_rewrite::{OutputTensor, Treatment};
use llmopt_run::Error;
use llmopt_sweep::count::read;
use llmopt_sweep::{Kind, Work, judging};

impl Plan {
    /// How long carrying it out will take; with other windows than its own, if some are given.
    ///
    /// # Errors
    /// If the blocks' sites cannot be found.
    pub fn estimate(&self, speed: &Speed, other: Option<Windows>) -> Result<TimeEstimate, Error> {
        Ok(TimeEstimate::of(&self.stages(other)?, speed))
    }

    /// The windows that the model is observed on; none, if it is not.
    pub fn observed_windows(&self) -> Option<Windows> {
        let windows = self.calibration.as_ref()?.placeholders();
        Some(Windows { windows: windows.len(), window: windows.first()?.len() })
    }

    /// The speed of this machine at what this plan does.
    ///
    /// # Errors
    /// If a probe cannot be run.
    pub fn speed(&self) -> Result<Speed, Error> {
        let threads = match &self.calibration {
            Some(calibration) => calibration.resources.threads,
            None => self.memory.workers,
        };
        let typical = Speed::typical(threads);
        if self.estimate(&typical, None)?.seconds < Speed::WORTHWHILE {
            return Ok(typical);
        }
        typical.hashing().weights(self.recipe.method.quantizer(), self.recipe.scheme).calibrating(
            self.calibration.as_ref().map(|calibration| {
                let settings = calibration.methods().iter().find_map(|method| method.settings());
                (&calibration.engine, &calibration.variant, settings)
            }),
            self.recipe.scheme,
        )
    }

    fn stages(&self, other: Option<Windows>) -> Result<Stages, Error> {
        let mut stages = Stages::new();
        let windows = self.calibration.as_ref().map(|calibration| match other {
            Some(other) => other.placeholders(),
            None => calibration.placeholders(),
        });
        let source: u64 = self.source.shards().iter().map(|shard| shard.bytes).sum();
        if let (Some(calibration), Some(windows)) = (&self.calibration, &windows) {
            if !self.recipe.allow_nonfinite {
                stages.push(("look", looked_at(source)));
            }
            if let Some((own, all)) = calibration.self_generated() {
                let program = calibration.variant.program();
                stages.extend(drawn(program, Some(own), all, windows));
            }
        }
        if let (Some(smoothing), Some(calibration), Some(windows)) =
            (&self.smoothing, &self.calibration, &windows)
        {
            stages.push(("smooth", smoothing.work(calibration, windows)));
        }
        for plan in [self].into_iter().chain(&self.alternatives) {
            plan.add_written(&mut stages, windows.as_deref(), source)?;
        }
        if let (Some(_), Some(calibration), Some(windows)) =
            (&self.decision, &self.calibration, &windows)
        {
            let models = 2 + self.alternatives.len();
            let sweep = read(calibration.variant.program(), &judging(judges(windows)));
            stages.push(("decide", sweep * models as f64));
        }
        Ok(stages)
    }

    fn add_written(
        &self,
        stages: &mut Stages,
        windows: Option<&[Vec<u32>]>,
        source: u64,
    ) -> Result<(), Error> {
        if let (Some(calibration), Some(windows)) = (&self.calibration, windows) {
            let blocks = calibration.blocks_work(&calibration.batches(windows.to_vec()))?;
            let written = Work::of(Kind::Synced, blocks.len() as f64);
            stages.push(("calibrate", blocks.into_iter().sum::<Work>() + written));
        }
        let rewritten: Work = self.places().map(|placed| self.rewriting(placed)).sum();
        let output = self.artifact.bytes();
        let stored = Work::of(Kind::Read, source as f64)
            + Work::of(Kind::Hashed, source as f64)
            + Work::of(Kind::Written, output as f64)
            + Work::of(Kind::Synced, 2.0);
        stages.push(("rewrite", rewritten + stored));
        stages.push(("read back", read_back(output)));
        Ok(())
    }

    /// What the rewriting sweep does to a tensor.
    fn rewriting(&self, (entry, place): (&HeaderEntry, &OutputTensor)) -> Work {
        let calibrated = self.calibration.as_ref().is_some_and(|c| c.reaches(&entry.name));
        let values = entry.meta.elements() as f64;
        match &place.treatment {
            Treatment::Quantize(_) | Treatment::Dense(Some(_)) if !calibrated => {
                let kind = match self.recipe.method {
                    Method::Rtn => Kind::Nearest,
                    _ => Kind::Searched,
                };
                Work::of(kind, values) + Work::of(Kind::Decoded, values)
            }
            Treatment::Dense(None) | Treatment::Smooth => Work::of(Kind::Decoded, values),
            _ => Work::default(),
        }
    }
}
